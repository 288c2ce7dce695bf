//! Second factors, and the sign-ins that wait for one.

use async_trait::async_trait;

use super::{
    ChallengeRecord, Challenged, NewChallenge, SecondFactor, SteppedUp, SteppingUp, StoreError, TotpConfirmation,
    TotpRecord,
};
use crate::{audit::Act, clock::Timestamp, id::UserId, secret::SecretHash};

/// Users' second factors, and what is proven with them.
#[async_trait]
pub trait MfaStore: Send + Sync {
    /// A user's codes, confirmed or not.
    async fn totp(&self, user: UserId) -> Result<Option<TotpRecord>, StoreError>;

    /// Keeps a sealed secret until it is confirmed, in place of one that was not. `false`, and nothing written, where
    /// one is confirmed, or there is no such user.
    async fn enrol_totp(&self, user: UserId, sealed: Vec<u8>, act: Act) -> Result<bool, StoreError>;

    /// Confirms a secret: from now on the user signs in with it. `false`, and nothing written, where it was replaced,
    /// confirmed or removed meanwhile.
    async fn confirm_totp(&self, confirmation: TotpConfirmation, act: Act) -> Result<bool, StoreError>;

    /// Uses a second factor up to remove it, with its recovery codes and all that waits for it. `false`, and nothing
    /// written, where it was used before.
    async fn remove_mfa(&self, user: UserId, factor: SecondFactor, act: Act) -> Result<bool, StoreError>;

    /// Uses a second factor up to replace the recovery codes. `false`, and nothing written, where it was used before.
    async fn replace_recovery_codes(
        &self,
        user: UserId,
        factor: SecondFactor,
        codes: Vec<SecretHash>,
        act: Act,
    ) -> Result<bool, StoreError>;

    /// Notes in a live session that its user has proven again who it is, and uses up what it was proven with.
    async fn step_up(&self, proven: SteppingUp, act: Act) -> Result<SteppedUp, StoreError>;
}

/// Sign-ins whose first factor was right, and that wait for the second.
#[async_trait]
pub trait ChallengeStore: Send + Sync {
    /// Has a sign-in wait, and uses up what its first factor was proven with.
    async fn open_challenge(&self, new: NewChallenge, act: Act) -> Result<Challenged, StoreError>;

    /// A challenge that was not answered and has not expired at `now`.
    async fn challenge(&self, token: SecretHash, now: Timestamp) -> Result<Option<ChallengeRecord>, StoreError>;

    /// Counts one more code that is to be looked at, whoever else tries one at the same time. `false`, and nothing
    /// counted, where `most` were tried before, or there is no such challenge at `now`.
    async fn count_try(&self, token: SecretHash, most: i64, now: Timestamp) -> Result<bool, StoreError>;
}
