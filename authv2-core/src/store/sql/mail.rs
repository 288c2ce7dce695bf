//! The outbox in SQL.

use super::{pool::execute, tx::Tx};
use crate::{
    mail::{NewMail, Recipient},
    store::StoreError,
};

const POST: &str = "INSERT INTO mails
    (mail_id, kind, recipient, user_id, address, language, details, salt, created_at, expires_at, attempts, due_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, $9)";

impl Tx {
    /// Writes a mail to the outbox.
    pub(super) async fn post(&mut self, mail: &NewMail) -> Result<(), StoreError> {
        let (recipient, user, address) = match &mail.to {
            Recipient::User(user) => ("user", Some(*user), None),
            Recipient::Owner(key) => ("owner", None, Some(key)),
            Recipient::Address(address) => ("address", None, Some(address)),
        };
        let details = serde_json::to_string(&mail.details).map_err(|_| StoreError::corrupt("details without text"))?;
        execute!(
            self,
            sqlx::query(POST)
                .bind(mail.id)
                .bind(mail.kind.as_str())
                .bind(recipient)
                .bind(user)
                .bind(address)
                .bind(&mail.language)
                .bind(details)
                .bind(mail.salt.as_slice())
                .bind(mail.at)
                .bind(mail.at + mail.kind.life())
        )
        .map(|_| ())
    }
}
