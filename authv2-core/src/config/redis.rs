//! Settings of the Redis that nodes share.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, problem::Problems, setting::choice, visitor::Visitor};
use crate::secret::Secret;

/// How the servers of `redis.url` belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedisMode {
    /// One server.
    Single,
    /// Sentinels, which name the server.
    Sentinel,
    /// Nodes of a Redis Cluster.
    Cluster,
}

choice!(RedisMode, "one of `single`, `sentinel`, `cluster`");

/// The Redis or Valkey that nodes share: a cache and a way to wake each other, never the only holder of anything.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `redis://` or, for TLS, `rediss://`, with several Sentinels or Cluster nodes separated by commas. A secret,
    /// because it may hold a password. Without it nodes share nothing but the database.
    pub url: Option<Secret>,
    /// How the servers belong together; `Single` by default.
    pub mode: RedisMode,
    /// The name by which Sentinels know the server.
    pub sentinel_master: Option<String>,
    /// The ACL user, in place of the URL's.
    pub username: Option<String>,
    /// Its password, in place of the URL's.
    pub password: Option<Secret>,
    /// The ACL user at the Sentinels.
    pub sentinel_username: Option<String>,
    /// Its password.
    pub sentinel_password: Option<Secret>,
    /// What the names of all keys and channels begin with; `authv2` by default. Deployments that share a server need
    /// one each. ACLs are given by it.
    pub key_prefix: String,
    /// How long anybody waits for an answer; 100 ms by default. Afterwards the database is asked.
    pub timeout: Duration,
    /// The certificates (PEM) to trust instead of the system's, for a server with a certificate of one's own CA.
    pub ca_file: Option<PathBuf>,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            mode: RedisMode::Single,
            sentinel_master: None,
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            key_prefix: "authv2".to_owned(),
            timeout: Duration::from_millis(100),
            ca_file: None,
        }
    }
}

impl RedisConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("redis.url", "The Redis that nodes share: redis://… or rediss://…", &mut self.url);
        visitor.setting("redis.mode", "How the servers belong together.", &mut self.mode);
        visitor.setting("redis.sentinel_master", "The server's name at the Sentinels.", &mut self.sentinel_master);
        visitor.setting("redis.username", "The ACL user, in place of the URL's.", &mut self.username);
        visitor.setting("redis.password", "Its password, in place of the URL's.", &mut self.password);
        visitor.setting("redis.sentinel_username", "The ACL user at the Sentinels.", &mut self.sentinel_username);
        visitor.setting("redis.sentinel_password", "Its password there.", &mut self.sentinel_password);
        visitor.setting("redis.key_prefix", "What all names of keys begin with.", &mut self.key_prefix);
        // Whole seconds, as other durations have them, would be no time-out for a cache.
        let mut millis = u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX);
        visitor.number("redis.timeout_ms", 1..=10_000, "Milliseconds that anybody waits for an answer.", &mut millis);
        self.timeout = Duration::from_millis(millis.into());
        visitor.setting(
            "redis.ca_file",
            "The CA certificates (PEM) to trust instead of the system's.",
            &mut self.ca_file,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        // A brace would decide a Cluster's slots, `*` and its like would widen the patterns of ACLs.
        let is_prefix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
        if !(1..=64).contains(&self.key_prefix.len()) || !self.key_prefix.chars().all(is_prefix) {
            let expected = "1 to 64 letters, digits, `.`, `:`, `-` or `_`";
            problems.report("redis.key_prefix", Problem::Expected(expected));
        }
        if let Some(url) = &self.url {
            self.check_server(url, problems);
        }
    }

    #[cfg(feature = "redis")]
    fn check_server(&self, url: &Secret, problems: &mut Problems) {
        if let Err(fault) = crate::store::redis::Address::of(self) {
            problems.report(fault.setting, Problem::Refused(fault.reason));
        } else if self.ca_file.is_some() && !url.expose().starts_with("rediss://") {
            problems.report("redis.ca_file", Problem::Refused("redis.url asks for no TLS: write rediss://"));
        }
    }

    #[cfg(not(feature = "redis"))]
    fn check_server(&self, _: &Secret, problems: &mut Problems) {
        problems.report("redis.url", Problem::NeedsFeature("redis"));
    }
}
