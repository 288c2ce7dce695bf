//! Second factors, the sign-ins that wait for one, and sessions that are proven again.

use super::{DeviceKind, PasswordHashText, Proof, SecondFactor, SessionRecord, Transport, UserRecord, stored_as_text};
use crate::{
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId, UserId},
    secret::SecretHash,
    store::StoreError,
};

/// Who in an organization needs a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MfaDemand {
    /// Nobody.
    Optional,
    /// Every member.
    Required,
    /// Whoever holds one of the roles named.
    Roles,
}

/// Names of roles, stored as a JSON array.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleNames(pub Vec<String>);

impl TryFrom<String> for RoleNames {
    type Error = StoreError;

    fn try_from(text: String) -> Result<Self, StoreError> {
        serde_json::from_str(&text).map(Self).map_err(|_| StoreError::corrupt("names of roles that cannot be read"))
    }
}

/// A user's time-based codes, as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct TotpRecord {
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// When the user showed that an authenticator has it; one that nobody confirmed asks for no code.
    pub confirmed_at: Option<Timestamp>,
    /// The last time step whose code was used.
    pub last_step: i64,
    /// How many recovery codes are left.
    pub recovery_codes: i64,
}

/// The first code of a secret that was enrolled.
#[derive(Debug, Clone)]
pub struct TotpConfirmation {
    /// Whose it is.
    pub user: UserId,
    /// The sealed secret that the code was judged by: another one is not confirmed by it.
    pub sealed: Vec<u8>,
    /// The step of the code, which is used up.
    pub step: i64,
    /// The hashes of the recovery codes that come with it.
    pub recovery_codes: Vec<SecretHash>,
}

/// A sign-in that waits for its second factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeRecord {
    /// The hash of its token.
    pub hash: SecretHash,
    /// Who signs in.
    pub user: UserId,
    /// How the session's secret will travel.
    pub transport: Transport,
    /// The organization chosen.
    pub organization: Option<OrgId>,
    /// The store chosen.
    pub store: Option<StoreId>,
    /// How the user proved who it is so far: RFC 8176 `amr` values, separated by spaces.
    pub amr: String,
    /// The thumbprint of the key that the session will be bound to, if it will be.
    pub key_thumbprint: Option<Vec<u8>>,
    /// What was unusual about that proof, as names separated by spaces.
    pub signs: String,
    /// How many codes were tried with it.
    pub tries: i64,
    /// Until when the second factor may be shown.
    pub expires_at: Timestamp,
}

/// A challenge to store, and what the first factor uses up.
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// The challenge.
    pub record: ChallengeRecord,
    /// The password hash that was verified: if it was replaced meanwhile, the sign-in is void.
    pub verified_hash: Option<PasswordHashText>,
    /// The same password under the present parameters, if they changed.
    pub rehashed: Option<PasswordHashText>,
    /// The token of a sign-in link, by its hash.
    pub link: Option<SecretHash>,
    /// The proof of the key that the session will be bound to.
    pub proof: Option<Proof>,
}

/// What became of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenged {
    /// It waits for its answer.
    New,
    /// The account was removed, disabled, lost its second factor, or got another password meanwhile.
    Void,
    /// The proof was used before.
    ProofUsed,
    /// The link was used before, or has ended.
    Spent,
}

/// A user that proves again, in a session, who it is.
#[derive(Debug, Clone)]
pub struct SteppingUp {
    /// Who.
    pub user: UserId,
    /// In which session.
    pub session: SessionId,
    /// How (RFC 8176).
    pub methods: Vec<&'static str>,
    /// The second factor, used up with it.
    pub factor: Option<SecondFactor>,
    /// The password hash that was verified, where a password was shown: still the account's.
    pub verified_hash: Option<PasswordHashText>,
    /// For a cookie session: the hash of the cookie that it came with, and of the one that takes its place.
    pub cookie: Option<(SecretHash, SecretHash)>,
    /// Where the session goes on from, if it was held and is held no longer.
    pub release: Option<Place>,
}

/// Where and on what a session is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The client's address.
    pub ip: Option<String>,
    /// The client's `User-Agent`, shortened.
    pub user_agent: Option<String>,
    /// What kind of a device that is.
    pub device: Option<DeviceKind>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and mostly the large one")]
pub enum SteppedUp {
    /// The session and its user, as they are now.
    Done(SessionRecord, UserRecord),
    /// The session has ended, its cookie was replaced, or the account has changed meanwhile.
    Ended,
    /// The second factor was used before.
    Spent,
}

stored_as_text!(MfaDemand { Optional = "optional", Required = "required", Roles = "roles" });
