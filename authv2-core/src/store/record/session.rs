//! Sessions and refresh tokens.

use std::{collections::HashMap, time::Duration};

use super::{Bucket, NewDevice, PasswordHashText, Proof, UserRecord, stored_as_text};
use crate::{
    clock::Timestamp,
    id::{DeviceId, OrgId, SessionId, StoreId, UserId},
    secret::SecretHash,
    store::StoreError,
};

/// How a session's secret travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Access and refresh tokens in bodies and headers.
    Bearer,
    /// A cookie; no token is ever shown.
    Cookie,
}

/// How risky a session looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// Nothing unusual.
    Low,
    /// Something changed.
    Medium,
    /// Likely not the user.
    High,
}

/// The kind of a device.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// A desktop or laptop computer.
    Desktop,
    /// A phone.
    Mobile,
    /// A tablet.
    Tablet,
    /// A crawler, or a program that says so.
    Bot,
    /// Anything else: HTTP libraries, command lines, nothing sent.
    #[serde(rename = "unknown")]
    Other,
}

/// A session as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SessionRecord {
    /// Its id.
    #[sqlx(rename = "session_id")]
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// How its secret travels.
    #[sqlx(try_from = "String")]
    pub transport: Transport,
    /// The hash of its cookie, for the cookie transport.
    pub cookie_hash: Option<Vec<u8>>,
    /// When it was opened.
    #[sqlx(rename = "opened_at")]
    pub created_at: Timestamp,
    /// When the user last proved who it is.
    pub auth_time: Timestamp,
    /// When it was last used, as far as written down.
    pub last_seen_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// When it ends if it is not used.
    pub idle_expires_at: Timestamp,
    /// The client's address when it was opened.
    pub ip: Option<String>,
    /// The client's `User-Agent`, shortened.
    pub user_agent: Option<String>,
    /// How the user proved who it is: RFC 8176 `amr` values, separated by spaces.
    pub amr: String,
    /// The authentication context class reached.
    pub acr: String,
    /// The organization it acts in.
    #[sqlx(rename = "org_id")]
    pub organization: Option<OrgId>,
    /// The store it acts in.
    #[sqlx(rename = "store_id")]
    pub store: Option<StoreId>,
    /// How risky it looks.
    #[sqlx(try_from = "String")]
    pub risk: Risk,
    /// When it was ended, if it was: by itself, or with its generation, as of the reading.
    pub revoked_at: Option<Timestamp>,
    /// The deployment's counter when it was opened, or taken into its organization. The store gives it.
    pub generation: i64,
    /// What it was opened on.
    #[sqlx(try_from = "String")]
    pub device: DeviceKind,
    /// Whether it has been used from another network than it was opened from.
    pub network_changed: bool,
    /// Whether it has been used on another device than it was opened on.
    pub device_changed: bool,
    /// The thumbprint (RFC 7638) of the key that its tokens are bound to, if they are.
    pub key_thumbprint: Option<Vec<u8>>,
}

impl SessionRecord {
    /// Whether it can be used at `now`, as far as was known when it was read.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.ends_at()
    }

    /// Whether it can be used at `now`, given what has become of generations since it was read.
    #[must_use]
    pub fn is_live_above(&self, floors: &Floors, now: Timestamp) -> bool {
        self.is_live(now) && self.generation >= floors.of(self.organization)
    }

    /// When it ends if nobody uses it again.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.min(self.idle_expires_at)
    }
}

/// The least generations that live: what ends any number of sessions in one write.
///
/// Generations and floors are taken from one counter, which only rises: a session opened after a floor was raised
/// cannot fall under it, whatever the clocks say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floors {
    deployment: i64,
    organizations: HashMap<OrgId, i64>,
}

impl Floors {
    /// The deployment's floor, and those of the organizations that have one.
    #[must_use]
    pub fn new(deployment: i64, organizations: impl IntoIterator<Item = (OrgId, i64)>) -> Self {
        Self { deployment, organizations: organizations.into_iter().collect() }
    }

    /// Raises a floor: an organization's, or the deployment's. One that is higher already stays.
    pub fn raise(&mut self, organization: Option<OrgId>, generation: i64) {
        let floor = match organization {
            Some(organization) => self.organizations.entry(organization).or_default(),
            None => &mut self.deployment,
        };
        *floor = generation.max(*floor);
        // What lies under the deployment's floor says nothing more.
        let deployment = self.deployment;
        self.organizations.retain(|_, floor| *floor > deployment);
    }

    /// Raises every floor to where it is in `others`.
    pub fn raise_all(&mut self, others: &Self) {
        self.raise(None, others.deployment);
        for (organization, floor) in &others.organizations {
            self.raise(Some(*organization), *floor);
        }
    }

    /// The least generation that lives in an organization, or in none.
    #[must_use]
    pub fn of(&self, organization: Option<OrgId>) -> i64 {
        let own = organization.and_then(|organization| self.organizations.get(&organization)).copied();
        own.unwrap_or_default().max(self.deployment)
    }
}

/// How a request differs from the one that opened its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextChange {
    /// It comes from another network.
    pub network: bool,
    /// It comes from another device.
    pub device: bool,
}

/// Live sessions of one kind of device in one organization, or in none.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LiveSessions {
    /// On what they were opened.
    #[sqlx(try_from = "String")]
    pub device: DeviceKind,
    /// Where they act.
    #[sqlx(rename = "org_id")]
    pub organization: Option<OrgId>,
    /// How many.
    pub count: i64,
}

/// The most live sessions at a time, counted once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct SessionPeak {
    /// The first minute of the span, since the epoch.
    pub start: i64,
    /// How many.
    pub active: i64,
}

/// What happens when a user opens more sessions than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// The oldest session ends.
    EvictOldest,
    /// The new sign-in is refused.
    Reject,
}

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The session.
    pub record: SessionRecord,
    /// The hash of its first refresh token, for the bearer transport.
    pub refresh: Option<SecretHash>,
    /// The most live sessions the user may have, this one included.
    pub max_per_user: u32,
    /// What to do over that.
    pub over_limit: OverLimit,
    /// Whether it is held until the user proves again who it is: then it makes no network and no device known, and does
    /// not count as the user's last sign-in.
    pub is_held: bool,
    /// The network signed in from: it is known from now on.
    pub network: Option<String>,
    /// What it is opened on, as devices are compared: it is known from now on.
    pub device: Option<String>,
    /// The browser that it is opened in, where it is one that a cookie may make known.
    pub browser: Option<NewDevice>,
    /// The password hash that was verified: if it was replaced meanwhile, the sign-in is void.
    pub verified_hash: Option<PasswordHashText>,
    /// The same password under the present parameters, if they changed.
    pub rehashed: Option<PasswordHashText>,
    /// Counters that a completed sign-in clears.
    pub clear: Vec<Bucket>,
    /// The proof of the key that the session is bound to: used up with the opening.
    pub proof: Option<Proof>,
    /// What else the sign-in uses up.
    pub spends: Spends,
}

/// What an authentication uses up: each of it once, whoever else tries at the same time, or nothing at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spends {
    /// The token of a sign-in link, by its hash.
    pub link: Option<SecretHash>,
    /// The challenge for a second factor that is answered, by the hash of its token.
    pub challenge: Option<SecretHash>,
    /// The second factor itself.
    pub factor: Option<SecondFactor>,
}

/// A second factor that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecondFactor {
    /// The code of a time step (RFC 6238): no code of it, nor of one before, is taken again.
    Totp {
        /// Which step.
        step: i64,
    },
    /// A recovery code, by its hash.
    RecoveryCode(SecretHash),
}

/// What became of an attempt to open a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is open.
    New(Box<OpenedRecord>),
    /// The user has as many sessions as allowed, and the policy is to refuse.
    TooMany,
    /// The account was removed, disabled, its password replaced since it was verified, or it has a second factor by now
    /// and none was shown.
    Void,
    /// The proof was used before.
    ProofUsed,
    /// The link, the challenge or the second factor was used before, or has ended.
    Spent,
}

/// What the store knows of a session that it has just opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedRecord {
    /// Its user, as it is now.
    pub user: UserRecord,
    /// The generation that it bears.
    pub generation: i64,
    /// The browser that it was opened in.
    pub device: Option<DeviceId>,
}

/// One use of a refresh token.
#[derive(Debug, Clone)]
pub struct Rotation {
    /// The hash of the token presented.
    pub presented: SecretHash,
    /// The salt its successor was derived with.
    pub salt: [u8; 16],
    /// The hash of that successor.
    pub successor: SecretHash,
    /// How long after its use a token may come again and get the same successor.
    pub grace: Duration,
    /// The idle time allowed, for the new idle deadline.
    pub idle_ttl: Duration,
    /// The proof of a key that came with it. One that the session did not ask for is used up and binds nothing.
    pub proof: Option<Proof>,
}

/// What became of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// The successor is stored.
    Fresh(SessionRecord, UserRecord),
    /// The token was used a moment ago, and its successor is unused: derive it again with this salt.
    Again(SessionRecord, UserRecord, [u8; 16]),
    /// Unknown, expired, of a dead session, or its successor is in use already. Nothing changed.
    Invalid,
    /// It was used long ago: the session has been revoked.
    Reused(SessionRecord),
    /// The session is bound to a key, and no proof of that key came. Nothing changed, whatever the token is worth.
    Unproven,
    /// The proof was used before. Nothing changed.
    ProofUsed,
}

/// One use of a session to write down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Which session.
    pub session: SessionId,
    /// When it was used.
    pub seen_at: Timestamp,
    /// How far its idle deadline reaches now, if it is to be extended.
    pub idle_expires_at: Option<Timestamp>,
}

stored_as_text!(Transport { Bearer = "bearer", Cookie = "cookie" });
stored_as_text!(Risk { Low = "low", Medium = "medium", High = "high" });
stored_as_text!(DeviceKind {
    Desktop = "desktop",
    Mobile = "mobile",
    Tablet = "tablet",
    Bot = "bot",
    Other = "unknown",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_rise_and_never_fall() {
        let (acme, other) = (OrgId::new(), OrgId::new());
        let mut floors = Floors::new(2, [(acme, 5)]);
        assert_eq!((floors.of(None), floors.of(Some(acme)), floors.of(Some(other))), (2, 5, 2));
        floors.raise(Some(acme), 4);
        floors.raise(None, 1);
        assert_eq!((floors.of(None), floors.of(Some(acme))), (2, 5), "news may come in any order");
        floors.raise(Some(other), 6);
        floors.raise_all(&Floors::new(5, [(acme, 1)]));
        assert_eq!((floors.of(None), floors.of(Some(acme)), floors.of(Some(other))), (5, 5, 6));
        assert_eq!(floors, Floors::new(5, [(other, 6)]), "what lies under the deployment's floor is forgotten");
    }
}
