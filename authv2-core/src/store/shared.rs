//! The cache that all nodes share, in front of SQL and behind each node's own memory.
//!
//! It is a copy that may be lost at any time: whatever goes wrong with it is a miss, never an error, and nobody waits
//! for it longer than `redis.timeout_ms`. Nothing that it says is final either: a node checks every hit against the
//! revocations that it knows from the change feed.
//!
//! Without the crate feature `redis`, or without `redis.url`, every call is a miss and costs nothing.

use std::{io, sync::Arc, time::Duration};

#[cfg(feature = "redis")]
use super::redis::{Address, Redis};
use super::{AccessRecord, SessionRecord, UserRecord, breaker::BreakerHealth};
use crate::{
    clock::Timestamp,
    config::RedisConfig,
    id::{MemberId, OrgId, SessionId},
    master_key::MasterKey,
};

#[cfg(not(feature = "redis"))]
#[path = "redis/absent.rs"]
mod absent;
#[cfg(not(feature = "redis"))]
use absent::Redis;

/// How long after it was read from SQL an entry may be used.
pub const MAX_AGE: Duration = Duration::from_secs(60);
/// How long a tombstone or a mark stays: longer than anything that was read before it may be used.
pub const BURIED_FOR: Duration = Duration::from_secs(120);
/// How far from the future an entry may be: nodes measure the database's time to within less.
pub const MAX_AHEAD: Duration = Duration::from_secs(5);

/// The cache that all nodes share. A cheap clone; the connections end with the last one.
#[derive(Debug, Clone, Default)]
pub struct SharedCache {
    redis: Option<Arc<Redis>>,
}

/// An entry, and when the read from SQL that it comes from began, by the database's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared<T> {
    /// What was read.
    pub value: T,
    /// When the read began.
    pub read_at: Timestamp,
}

/// The shared cache cannot be used as it is configured. That a server is not there is no such error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// A setting does not make sense. Never tells what was set, which may be a password.
    #[error("{setting}: {reason}")]
    Address {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file of `redis.ca_file` cannot be used.
    #[error("redis.ca_file cannot be used")]
    CaFile(#[source] io::Error),
    /// `redis.url` is set, and nothing that could use it was compiled in.
    #[error("redis.url: needs the crate feature `redis`, which is not compiled in")]
    NotCompiledIn,
}

/// What the count of a rate limit is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LimitName {
    /// What decides the slot: names that share it are taken from in one step.
    pub(crate) tag: String,
    /// Which count.
    pub(crate) key: String,
}

/// Microseconds, and parts of one: the rate's number of requests makes one of them.
#[cfg(feature = "redis")]
pub(crate) type Parts = (u64, u32);

/// What is to be taken from a count.
#[cfg(feature = "redis")]
#[derive(Debug)]
pub(crate) struct LimitQuestion<'a> {
    pub(crate) name: &'a LimitName,
    pub(crate) requests: u32,
    /// How far ahead the moment may lie at which all is there again.
    pub(crate) tolerance: Parts,
    /// How much further ahead this moves it; none for what never fits.
    pub(crate) cost: Option<Parts>,
    /// How far instead, if this fits.
    pub(crate) lease: Option<(Parts, Parts)>,
}

/// What came of it.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitAnswer {
    pub(crate) granted: Granted,
    /// When all is there again.
    pub(crate) tat: Parts,
    /// Whether the count was there; one that is not is full.
    pub(crate) was_there: bool,
    /// The server's time.
    pub(crate) now: Timestamp,
}

/// How much a count has for a question. It is taken only if all of the questions are granted.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Granted {
    Refused,
    Alone,
    WithLease,
}

impl SharedCache {
    /// A cache that holds nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Begins to connect to the Redis of `config`, if it names one, and does not wait for it: a server that is not
    /// there now is found when it is. Must be called within a Tokio runtime.
    ///
    /// Entries are sealed under a key that is derived from `master_key`. Where TLS is asked for and the process has no
    /// default `rustls` provider, `aws-lc-rs` becomes it.
    ///
    /// # Errors
    /// [`RedisError`] for settings that can never work.
    #[cfg(feature = "redis")]
    pub async fn connect(config: &RedisConfig, master_key: &MasterKey) -> Result<Self, RedisError> {
        let Some(address) = Address::of(config)? else { return Ok(Self::none()) };
        if address.is_in_the_clear() {
            tracing::warn!(
                "redis.url leads over a network without TLS: whoever listens there learns the password. Use rediss://"
            );
        }
        Ok(Self { redis: Some(Arc::new(Redis::begin(address, config, master_key)?)) })
    }

    /// Without the crate feature `redis` there is nothing to connect to.
    ///
    /// # Errors
    /// [`RedisError::NotCompiledIn`] where `config` names a Redis.
    #[cfg(not(feature = "redis"))]
    pub async fn connect(config: &RedisConfig, _: &MasterKey) -> Result<Self, RedisError> {
        if config.url.is_some() { Err(RedisError::NotCompiledIn) } else { Ok(Self::none()) }
    }

    /// Whether there is one, reachable or not.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.redis.is_some()
    }

    /// A session and its user, in one round trip. The user comes **without its password hash**, which is never cached.
    ///
    /// Nothing for what is not there, was revoked, is older than [`MAX_AGE`] at `now` (the database's time), is from
    /// the future, or was not sealed by this deployment for this key.
    pub async fn session(&self, id: SessionId, now: Timestamp) -> Option<Shared<(SessionRecord, UserRecord)>> {
        self.redis.as_ref()?.session(id, now).await
    }

    /// Caches a session and its user, for what is left of [`MAX_AGE`] at `now`, unless it was revoked or a newer entry
    /// is there: by the user's version, then by the time of reading.
    pub async fn put_session(&self, id: SessionId, entry: &Shared<(SessionRecord, UserRecord)>, now: Timestamp) {
        if let Some(redis) = &self.redis {
            redis.put_session(id, entry, now).await;
        }
    }

    /// Notes that a session was revoked at `at`: for [`BURIED_FOR`] nobody gets it from here, nor puts it back.
    pub async fn bury_session(&self, id: SessionId, at: Timestamp) {
        if let Some(redis) = &self.redis {
            redis.bury_session(id, at).await;
        }
    }

    /// A member's roles, under the conditions of [`session`](Self::session).
    pub async fn member(&self, organization: OrgId, member: MemberId, now: Timestamp) -> Option<Shared<AccessRecord>> {
        self.redis.as_ref()?.member(organization, member, now).await
    }

    /// Caches a member's roles, unless something newer is there: by the organization's revision, then by the time of
    /// reading.
    pub async fn put_member(
        &self,
        organization: OrgId,
        member: MemberId,
        entry: &Shared<AccessRecord>,
        now: Timestamp,
    ) {
        if let Some(redis) = &self.redis {
            redis.put_member(organization, member, entry, now).await;
        }
    }

    /// Notes that a member's roles changed at `revision`: for [`BURIED_FOR`] nobody gets an older entry from here, nor
    /// puts one back.
    pub async fn forget_member(&self, organization: OrgId, member: MemberId, revision: i64) {
        if let Some(redis) = &self.redis {
            redis.forget_member(organization, member, revision).await;
        }
    }

    /// Takes from all of these counts, or from none: in one step where they are on one server and, in a Cluster, in one
    /// slot; else slot by slot, in the order of the questions, and what was taken is given back as soon as one refuses.
    /// Counts behind that one have no answer. Nothing where there is no server that answers.
    #[cfg(feature = "redis")]
    pub(crate) async fn take_limits(&self, questions: &[LimitQuestion<'_>]) -> Option<Vec<Option<LimitAnswer>>> {
        self.redis.as_ref()?.take_limits(questions).await
    }

    /// Wakes the other nodes, so that they look at the change feed at once. False if they could not be told: they find
    /// out when they next poll.
    pub async fn wake_others(&self) -> bool {
        match &self.redis {
            Some(redis) => redis.wake_others().await,
            None => false,
        }
    }

    /// Calls `wake`, which must be quick, whenever a node wakes the others, this one too, and once after each
    /// connection, since what was sent before it is lost. Goes on in the background, by a connection of its own, until
    /// the last clone of this cache is dropped; so `wake` must not hold one. Must be called within a Tokio runtime.
    pub fn on_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        if let Some(redis) = &self.redis {
            redis.on_wake(wake);
        }
    }

    /// The state of the breaker; of a Cluster the worst of its parts. Nothing where there is no shared cache.
    #[must_use]
    pub fn health(&self) -> Option<BreakerHealth> {
        self.redis.as_ref().map(|redis| redis.health())
    }

    /// Whether the server answers now; false at once while the breaker is open.
    pub async fn ping(&self) -> bool {
        match &self.redis {
            Some(redis) => redis.ping().await,
            None => false,
        }
    }
}

#[cfg(feature = "redis")]
impl From<super::redis::Fault> for RedisError {
    fn from(fault: super::redis::Fault) -> Self {
        Self::Address { setting: fault.setting, reason: fault.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_server_everything_is_a_miss() {
        let master_key = MasterKey::from_bytes(&[1; 32]);
        let cache = SharedCache::connect(&RedisConfig::default(), &master_key).await.unwrap();
        let now = Timestamp::from_seconds(1);
        assert!(!cache.is_there() && cache.health().is_none());
        assert_eq!(cache.session(SessionId::new(), now).await, None);
        assert_eq!(cache.member(OrgId::new(), MemberId::new(), now).await, None);
        assert!(!cache.wake_others().await && !cache.ping().await);
    }
}
