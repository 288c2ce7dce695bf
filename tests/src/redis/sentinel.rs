//! A Redis with a replica, watched by a Sentinel that puts the one in the place of the other.

use super::{Program, Redis, cluster::eventually};
use crate::{
    error::{HarnessError, tell_skipped},
    port,
};

/// The name by which the Sentinel knows the master.
const NAME: &str = "main";

/// A master, its replica and their Sentinel, ended when this is dropped.
#[derive(Debug)]
pub struct Watched {
    /// The master at the start.
    pub master: Redis,
    /// Its replica.
    pub replica: Redis,
    sentinel: Redis,
}

impl Watched {
    /// All three, or loud words that the test is skipped where Redis is not installed.
    ///
    /// # Errors
    /// When it is installed and they do not find together.
    pub fn start_or_skip(test: &str) -> Result<Option<Self>, HarnessError> {
        match Self::start() {
            Err(missing @ HarnessError::Missing { .. }) => {
                tell_skipped(test, &missing);
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    fn start() -> Result<Self, HarnessError> {
        let master = Redis::start_own()?;
        let port = master.port()?.to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port])?;
        eventually("the replica to have what its master has", || {
            replica.cli(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
        })?;
        let config = format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds {NAME} 500\n\
             sentinel failover-timeout {NAME} 3000\n"
        );
        let sentinel = Redis::start_program(&Program {
            config: Some(config),
            options: vec!["--sentinel".to_owned()],
            ..Program::redis()
        })?;
        eventually("the Sentinel to know the replica", || {
            sentinel.cli(&["SENTINEL", "REPLICAS", NAME]).is_ok_and(|replicas| replicas.contains("127.0.0.1"))
        })?;
        Ok(Self { master, replica, sentinel })
    }

    /// The Sentinels, as `redis://…`: first one that is not there.
    ///
    /// # Errors
    /// When no port is to be had.
    pub fn url(&self) -> Result<String, HarnessError> {
        let nobody = port::free().map_err(HarnessError::io("looking for a free port"))?;
        Ok(format!("redis://127.0.0.1:{nobody},{}", self.sentinel.url()))
    }

    /// The name by which the Sentinel knows the master.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        NAME
    }
}
