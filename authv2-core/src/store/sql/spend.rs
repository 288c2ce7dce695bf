//! What an authentication uses up, in SQL: each of it once.

use super::{pool::execute, tx::Tx};
use crate::{
    clock::Timestamp,
    id::UserId,
    store::{SecondFactor, Spends, StoreError},
};

const LINK: &str =
    "DELETE FROM mail_tokens WHERE hash = $1 AND user_id = $2 AND purpose = 'sign_in' AND expires_at > $3";

const CHALLENGE: &str = "DELETE FROM mfa_challenges WHERE hash = $1 AND user_id = $2 AND expires_at > $3";

const STEP: &str = "UPDATE totp SET last_step = $2 WHERE user_id = $1 AND confirmed_at IS NOT NULL AND last_step < $2";

const RECOVERY_CODE: &str = "DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[LINK, CHALLENGE, STEP, RECOVERY_CODE];

impl Tx {
    /// Uses all of it up. `false` if something was used before, or has ended: the caller then undoes the rest.
    pub(super) async fn spend(&mut self, user: UserId, spends: &Spends, at: Timestamp) -> Result<bool, StoreError> {
        let Spends { link, challenge, factor } = spends;
        for (sql, hash) in [(LINK, link), (CHALLENGE, challenge)] {
            let Some(hash) = hash else { continue };
            if execute!(self, sqlx::query(sql).bind(hash.as_bytes().as_slice()).bind(user).bind(at))? == 0 {
                return Ok(false);
            }
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
