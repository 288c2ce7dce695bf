//! An API key that may be used now, as far as is known.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    audit::Actor,
    clock::Timestamp,
    id::UserId,
    limit::{Policy, Rate},
    metering::Meter,
    permission::{Pattern, Scope},
    secret::{SecretHash, equal_in_constant_time},
    store::{ApiKeyRecord, KeySecret, MemberKind, PresentedKey, StoreError, UserStatus},
};

/// A key with the member that bounds it: both were good when they were read.
pub struct LiveKey {
    record: ApiKeyRecord,
    secrets: Vec<KeySecret>,
    /// The bounding member's id as text.
    subject: String,
    member_kind: MemberKind,
    email: Option<String>,
    scope: Arc<Scope>,
    /// What it has used, and may use.
    meter: Arc<Meter>,
    limit: Option<Policy>,
    /// When a wrong secret last had it read again, in microseconds.
    read_again_at: AtomicI64,
}

/// A wrong secret has a key read again at most once in this time.
const READ_AGAIN_EVERY: Duration = Duration::from_secs(1);

impl fmt::Debug for LiveKey {
    /// Its id alone: what else there is tells of people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveKey").field("id", &self.record.id).finish_non_exhaustive()
    }
}

impl LiveKey {
    /// The key as it was read; `None` where the account that bounds it is not active.
    ///
    /// # Errors
    /// [`StoreError::corrupt`] for scopes or a rate limit that cannot be read: they bound what the key may do.
    pub(crate) fn new(presented: PresentedKey, meter: Arc<Meter>) -> Result<Option<Self>, StoreError> {
        let PresentedKey { key, secrets, member_kind, user } = presented;
        let email = match (member_kind, user) {
            (MemberKind::ServiceAccount, _) => None,
            (MemberKind::User, Some((UserStatus::Active, email))) => Some(email),
            (MemberKind::User, _) => return Ok(None),
        };
        let patterns: Result<Vec<Pattern>, _> = key.scopes.iter().map(|scope| scope.parse()).collect();
        let patterns = patterns.map_err(|_| StoreError::corrupt("a scope of an API key"))?;
        let scope = Arc::new(Scope::new(Actor::ApiKey(key.id), patterns));
        let limit = key.rate_limit.map(|limit| Rate::new(limit.requests, limit.per, limit.burst)).transpose();
        let limit = limit.map_err(|_| StoreError::corrupt("the rate limit of an API key"))?;
        let limit = limit.map(|rate| Policy::built_in("key", rate));
        Ok(Some(Self {
            subject: key.member.to_string(),
            record: key,
            secrets,
            member_kind,
            email,
            scope,
            meter,
            limit,
            read_again_at: AtomicI64::new(0),
        }))
    }

    /// The key as stored.
    #[must_use]
    pub fn record(&self) -> &ApiKeyRecord {
        &self.record
    }

    /// The user whose rights bound it; none where it is a service account's.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        (self.member_kind == MemberKind::User).then(|| UserId::from(self.record.member.as_uuid()))
    }

    /// Whether it is to be read again because what was presented is none of its secrets.
    pub(crate) fn may_be_read_again(&self, now: Timestamp) -> bool {
        let last = self.read_again_at.load(Ordering::Relaxed);
        // A clock that was set back must not shut out a new secret.
        let is_due = now.as_micros() < last || now.since(Timestamp::from_micros(last)) >= READ_AGAIN_EVERY;
        let claim =
            |last| self.read_again_at.compare_exchange(last, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed);
        is_due && claim(last).is_ok()
    }

    /// What it may do at most.
    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// Its meter on this node.
    pub(crate) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// How often it may be used, where that is limited for itself.
    pub(crate) fn limit(&self) -> Option<Policy> {
        self.limit
    }

    /// The e-mail of the user that bounds it.
    pub(crate) fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// The id of the member that bounds it, as text.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether what was presented is one of its secrets at `now`. Takes the same time wherever they differ.
    pub(crate) fn opens_with(&self, presented: &SecretHash, now: Timestamp) -> bool {
        let good = |secret: &&KeySecret| {
            equal_in_constant_time(secret.hash.as_bytes(), presented.as_bytes())
                && secret.expires_at.is_none_or(|end| now < end)
        };
        self.secrets.iter().any(|secret| good(&secret))
    }

    /// Whether it may be used from there. Where it is bound to networks, an address that is not known is in none.
    pub(crate) fn may_come_from(&self, ip: Option<IpAddr>) -> bool {
        let networks = &self.record.allowed_ips;
        networks.is_empty() || ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip.to_canonical())))
    }

    /// What it takes of the memory beside its own place.
    pub(crate) fn bytes(&self) -> usize {
        let Self { record, secrets, .. } = self;
        let texts = [&record.name, &record.environment, &self.subject].map(String::capacity);
        let scopes: usize = record.scopes.iter().map(|scope| 2 * (scope.capacity() + 48)).sum();
        let metadata: usize = record.metadata.iter().map(|(name, value)| name.len() + 64 + value_bytes(value)).sum();
        size_of::<Self>()
            + texts.iter().sum::<usize>()
            + scopes
            + metadata
            + size_of_val(secrets.as_slice())
            + size_of_val(record.allowed_ips.as_slice())
    }
}

fn value_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(|value| 32 + value_bytes(value)).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + 64 + value_bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
