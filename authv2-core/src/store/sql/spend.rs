//! What an authentication uses up, in SQL: each of it once.

use super::{pool::execute, tx::Tx};
use crate::{
    clock::Timestamp,
    id::UserId,
    mail::Purpose,
    store::{SecondFactor, Spends, StoreError},
};

const CHALLENGE: &str = "DELETE FROM mfa_challenges WHERE hash = $1 AND user_id = $2 AND expires_at > $3";

const STEP: &str = "UPDATE totp SET last_step = $2 WHERE user_id = $1 AND confirmed_at IS NOT NULL AND last_step < $2";

const RECOVERY_CODE: &str = "DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[CHALLENGE, STEP, RECOVERY_CODE];

impl Tx {
    /// Uses all of it up. `false` if something was used before, or has ended: the caller then undoes the rest.
    pub(super) async fn spend(&mut self, user: UserId, spends: &Spends, at: Timestamp) -> Result<bool, StoreError> {
        let Spends { link, challenge, factor } = spends;
        if let Some(link) = link
            && !self.use_token_of(user, link, Purpose::SignIn, at).await?
        {
            return Ok(false);
        }
        if let Some(hash) = challenge
            && execute!(self, sqlx::query(CHALLENGE).bind(hash.as_bytes().as_slice()).bind(user).bind(at))? == 0
        {
            return Ok(false);
        }
        let spent = match factor {
            None => return Ok(true),
            Some(SecondFactor::Totp { step }) => execute!(self, sqlx::query(STEP).bind(user).bind(step))?,
            Some(SecondFactor::RecoveryCode(hash)) => {
                execute!(self, sqlx::query(RECOVERY_CODE).bind(user).bind(hash.as_bytes().as_slice()))?
            }
        };
        Ok(spent == 1)
    }
}
