//! The session service.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use super::{
    Session, analytics::Counted, cache::Sessions, context::kept_user_agent, device::Device, lookup, touch::Touches,
};
use crate::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    clock::Clock,
    config::SessionConfig,
    error::{Code, Error},
    id::{DeviceId, OrgId, SessionId, UserId},
    mail::NewMail,
    mfa::assurance,
    secret::{NoRandomness, Secret, SecretHash, random_token},
    store::{
        Bucket, NewDevice, NewSession, Opened, OpenedRecord, Proof, Redacted, Risk, SessionRecord, SharedStore, Spends,
        StoreError, Transport, UserRecord, shared::SharedCache,
    },
    telemetry,
    tenant::Tenant,
};

/// How many uses of sessions are written at a time.
const PORTION: usize = 500;

/// A sign-in whose proof was checked: what a session is opened from.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// The user.
    pub user: UserId,
    /// How the session's secret will travel.
    pub transport: Transport,
    /// How the user proved who it is (RFC 8176).
    pub amr: Vec<&'static str>,
    /// The tenant chosen.
    pub tenant: Option<Tenant>,
    /// The hash that the password was checked against.
    pub verified_hash: Option<Redacted>,
    /// The password hashed anew, where that was due.
    pub rehashed: Option<Redacted>,
    /// The network signed in from.
    pub network: Option<String>,
    /// What it is signed in on, as devices are compared.
    pub device: Option<String>,
    /// The browser that it is opened in, where it is one that a cookie may make known.
    pub browser: Option<NewDevice>,
    /// How risky the sign-in looks.
    pub risk: Risk,
    /// Whether it is held for what is unusual about it: then it makes nothing usual.
    pub is_held: bool,
    /// The counters that a completed sign-in clears.
    pub clear: Vec<Bucket>,
    /// The proof of the key that the session is bound to from its beginning; for the bearer transport alone.
    pub proof: Option<Proof>,
    /// What the sign-in uses up.
    pub spends: Spends,
    /// What its user is told of it.
    pub notices: Vec<NewMail>,
}

/// The secret of a session just opened: shown to the client once, stored as a hash.
#[derive(Debug, Clone)]
pub enum SessionSecret {
    /// The first refresh token.
    Refresh(Secret),
    /// The cookie's value.
    Cookie(Secret),
}

/// A session just opened.
#[derive(Debug, Clone)]
pub struct OpenedSession {
    /// The session.
    pub session: SessionRecord,
    /// Its user, as of the sign-in.
    pub user: UserRecord,
    /// Its secret.
    pub secret: SessionSecret,
    /// The browser that it was opened in.
    pub device: Option<DeviceId>,
}

/// Why the session service could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The user has as many sessions as allowed.
    #[error("too many sessions")]
    TooMany,
    /// The account changed between the proof and the opening.
    #[error("the account changed meanwhile")]
    Void,
    /// The proof of possession was used before.
    #[error("the proof of possession was used before")]
    ProofUsed,
    /// The link, the challenge or the second factor was used before, or has ended.
    #[error("what it rests on was used before")]
    Spent,
    /// The system gave no randomness.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::TooMany => Self::new(Code::TooManySessions, "log out elsewhere first"),
            SessionError::Void => Self::new(Code::InvalidCredentials, "sign in again"),
            SessionError::ProofUsed => Self::new(Code::InvalidDpopProof, "it was used before"),
            SessionError::Spent => Self::new(Code::InvalidToken, "it was used before, or has ended"),
            SessionError::NoRandomness(error) => error.into(),
            SessionError::Store(error) => error.into(),
        }
    }
}

/// Sessions and their secrets. Knows nothing of passwords or tokens' signatures. A cheap clone.
#[derive(Clone)]
pub struct SessionService(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: SharedStore,
    pub(super) shared: SharedCache,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: SessionConfig,
    /// Whether sessions of high risk do nothing but end.
    pub(super) holds_high_risk: bool,
    /// Derives the successors of refresh tokens.
    pub(super) refresh_key: Zeroizing<[u8; 32]>,
    pub(super) feed: Feed,
    pub(super) at_hand: Arc<Sessions>,
    pub(super) touches: Touches,
    pub(super) counted: Counted,
}

impl fmt::Debug for SessionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("config", &self.0.config).finish_non_exhaustive()
    }
}

impl SessionService {
    pub(crate) fn new(
        store: SharedStore,
        shared: SharedCache,
        feed: &Feed,
        clock: Arc<dyn Clock>,
        (config, holds_high_risk): (SessionConfig, bool),
        refresh_key: Zeroizing<[u8; 32]>,
    ) -> Self {
        let at_hand = Arc::new(Sessions::new(config.cache_bytes));
        feed.listen(Arc::clone(&at_hand) as _);
        Self(Arc::new(Inner {
            store,
            shared,
            clock,
            config,
            holds_high_risk,
            refresh_key,
            feed: feed.clone(),
            at_hand,
            touches: Touches::default(),
            counted: Counted::default(),
        }))
    }

    /// Opens a session for a sign-in whose proof was checked.
    ///
    /// # Errors
    /// [`SessionError::TooMany`] under the policy `reject`, [`SessionError::Void`] if the account was disabled,
    /// removed or given another password since the check, [`SessionError::ProofUsed`]; otherwise an outage.
    pub async fn open(&self, sign_in: SignIn, origin: &Origin) -> Result<OpenedSession, SessionError> {
        let Inner { store, clock, config, .. } = &*self.0;
        let now = clock.now();
        let expires_at = now + config.absolute_ttl;
        let id = SessionId::new();
        let is_cookie = sign_in.transport == Transport::Cookie;
        let (secret, hash) = if is_cookie {
            hashed(lookup::cookie(id)?, SessionSecret::Cookie)
        } else {
            hashed(random_token("avr_")?, SessionSecret::Refresh)
        };
        let record = SessionRecord {
            id,
            user_id: sign_in.user,
            transport: sign_in.transport,
            cookie_hash: is_cookie.then(|| hash.as_bytes().to_vec()),
            created_at: now,
            auth_time: now,
            last_seen_at: now,
            expires_at,
            idle_expires_at: (now + config.idle_ttl).min(expires_at),
            ip: origin.ip.map(|ip| ip.to_string()),
            user_agent: origin.user_agent.as_deref().map(kept_user_agent),
            amr: sign_in.amr.join(" "),
            acr: assurance(&sign_in.amr).to_owned(),
            organization: sign_in.tenant.map(|tenant| tenant.organization),
            store: sign_in.tenant.and_then(|tenant| tenant.store),
            risk: sign_in.risk,
            revoked_at: None,
            generation: 0,
            device: Device::of(origin.user_agent.as_deref().unwrap_or_default()).kind,
            network_changed: false,
            device_changed: false,
            key_thumbprint: sign_in.proof.map(|proof| proof.key.to_vec()),
        };
        let new = NewSession {
            record: record.clone(),
            refresh: (!is_cookie).then_some(hash),
            max_per_user: config.max_per_user,
            over_limit: config.over_limit,
            is_held: sign_in.is_held,
            network: sign_in.network,
            device: sign_in.device,
            browser: sign_in.browser,
            verified_hash: sign_in.verified_hash,
            rehashed: sign_in.rehashed,
            clear: sign_in.clear,
            proof: sign_in.proof,
            spends: sign_in.spends,
        };
        let act = Act::new("session.login", Actor::User(sign_in.user), now, origin).on(record.id);
        let act = act.telling(sign_in.notices);
        match store.open_session(new, act).await? {
            Opened::New(opened) => {
                let OpenedRecord { user, generation, device } = *opened;
                Ok(OpenedSession { session: SessionRecord { generation, ..record }, user, secret, device })
            }
            Opened::TooMany => Err(SessionError::TooMany),
            Opened::Void => Err(SessionError::Void),
            Opened::ProofUsed => Err(SessionError::ProofUsed),
            Opened::Spent => Err(SessionError::Spent),
        }
    }

    /// The user's live sessions, newest first.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, user: UserId, current: SessionId) -> Result<Vec<Session>, SessionError> {
        let sessions = self.0.store.sessions_of(user, self.0.clock.now()).await?;
        Ok(sessions
            .into_iter()
            .map(|mut record| {
                // As far as this node knows; the store is told of a use once a minute.
                if let Some(live) = self.0.at_hand.at_hand(record.id) {
                    record.last_seen_at = record.last_seen_at.max(live.last_seen_at());
                }
                Session::of(&record, record.id == current)
            })
            .collect())
    }

    /// Ends one live session of `user`, with all its tokens. `false` if it has no such session.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke(&self, user: UserId, session: SessionId, origin: &Origin) -> Result<bool, SessionError> {
        let act = Act::new("session.revoked", Actor::User(user), self.0.clock.now(), origin).on(session);
        Ok(self.0.store.revoke_session(user, session, act).await?)
    }

    /// Ends all live sessions of `user` but `keep`; how many.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_all(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        origin: &Origin,
    ) -> Result<u64, SessionError> {
        let act = Act::new("session.revoked_all", Actor::User(user), self.0.clock.now(), origin).on(user);
        Ok(self.0.store.revoke_sessions(user, keep, act).await?)
    }

    /// Ends every session that is in an organization at this moment, in one write however many there are. Later ones
    /// are not touched. `false` if there is no such organization.
    ///
    /// Whoever may do this is for the caller to judge.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_organization(
        &self,
        organization: OrgId,
        actor: Actor,
        origin: &Origin,
    ) -> Result<bool, SessionError> {
        let act = Act::new("session.revoked_organization", actor, self.0.clock.now(), origin);
        let act = act.within(organization).on(organization);
        Ok(self.0.store.revoke_generation(Some(organization), act).await?.is_some())
    }

    /// Ends every session of the deployment at this moment, in one write however many there are: after a theft of the
    /// database or the restore of an old one. Later ones are not touched.
    ///
    /// Whoever may do this is for the caller to judge.
    ///
    /// # Errors
    /// The store's.
    pub async fn revoke_everything(&self, actor: Actor, origin: &Origin) -> Result<(), SessionError> {
        let act = Act::new("session.revoked_everything", actor, self.0.clock.now(), origin);
        self.0.store.revoke_generation(None, act).await?;
        Ok(())
    }

    /// Writes the uses noted since the last time.
    ///
    /// # Errors
    /// The store's; what was noted is then lost, which costs precision of `last_seen_at` and nothing else.
    pub async fn write_behind(&self) -> Result<(), SessionError> {
        telemetry::add(telemetry::SESSION_LOOKUPS, "outcome", "miss", self.0.at_hand.take_read());
        // In portions: a write holds the rows of its sessions, which others end or refresh meanwhile, until it is done.
        for portion in self.0.touches.take().chunks(PORTION) {
            self.0.store.touch_sessions(portion.to_vec()).await?;
        }
        Ok(())
    }
}

fn hashed(secret: Secret, kind: fn(Secret) -> SessionSecret) -> (SessionSecret, SecretHash) {
    let hash = SecretHash::of(secret.expose().as_bytes());
    (kind(secret), hash)
}
