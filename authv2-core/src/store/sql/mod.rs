//! The SQL stores: SQLite and PostgreSQL from one set of statements.
//!
//! Each statement is written once, with `$1` placeholders, and run on whichever database is configured; what differs
//! stands in `dialect`. Every verb that writes goes through `tx`.

mod api_key;
mod challenge;
mod changes;
mod deployment;
mod device;
mod dialect;
mod error;
mod key_usage;
#[cfg(feature = "postgres")]
mod lease;
mod link;
#[cfg(feature = "postgres")]
mod listen;
mod liveness;
mod mail;
mod member;
mod mfa;
mod migrate;
mod organization;
#[cfg(all(test, feature = "sqlite"))]
mod plans;
mod pool;
mod privilege;
mod proof;
mod quota;
mod refresh;
mod revocation;
mod role;
mod scope;
mod security;
mod session;
mod session_generation;
mod session_statistics;
mod spend;
mod throttle;
mod tx;
mod upkeep;
mod usage;
mod user;
#[cfg(feature = "sqlite")]
mod writer;

use std::{fmt, time::Duration};

#[cfg(feature = "postgres")]
use std::str::FromStr as _;

use self::{dialect::Dialect, pool::Readers};
pub use self::{
    migrate::{SCHEMA_VERSION, SchemaError},
    pool::UrlError,
    privilege::ExcessRight,
};
use super::{Pooler, StoreError, StoreUrl};
use crate::changes::Feed;

/// How to reach the database.
#[derive(Debug, Clone)]
pub struct SqlOptions {
    /// `sqlite://FILE`, `sqlite::memory:` or `postgres://…`.
    pub url: StoreUrl,
    /// A direct URL for migrations, where `url` goes through a pooler that breaks session locks.
    pub migrate_url: Option<StoreUrl>,
    /// A direct URL for hearing of other nodes' changes (LISTEN), where `url` goes through a pooler.
    pub direct_url: Option<StoreUrl>,
    /// PostgreSQL: what `url` goes through.
    pub pooler: Pooler,
    /// The most connections held at a time.
    pub max_connections: u32,
    /// How long a caller waits for a connection, and for an answer, before it is told that the store is unavailable.
    pub acquire_timeout: Duration,
    /// SQLite: how many writes may wait for the writer before more are shed.
    pub write_queue: usize,
}

impl SqlOptions {
    /// The database at `url`, with the defaults for everything else.
    #[must_use]
    pub fn new(url: impl Into<StoreUrl>) -> Self {
        Self {
            url: url.into(),
            migrate_url: None,
            direct_url: None,
            pooler: Pooler::None,
            max_connections: 16,
            acquire_timeout: Duration::from_secs(5),
            write_queue: 1024,
        }
    }
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is not usable.
    #[error("store.url: {0}")]
    Url(#[from] UrlError),
    /// The schema is not one that this build can work on.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How writes reach the database.
#[derive(Debug, Clone)]
enum Writes {
    #[cfg(feature = "sqlite")]
    Queue(writer::Queue),
    #[cfg(feature = "postgres")]
    Pool(lease::Leases),
}

/// The store over SQLite or PostgreSQL. A cheap clone.
#[derive(Clone)]
pub struct SqlStore {
    dialect: Dialect,
    readers: Readers,
    /// Where changes of others are read, and told of: on a connection of their own, so that a pool that is busy with
    /// requests does not keep a node from knowing what it may answer from memory.
    lookout: Readers,
    writes: Writes,
    #[cfg(feature = "sqlite")]
    writer: sqlx::SqlitePool,
    #[cfg(feature = "postgres")]
    migrate_url: StoreUrl,
    /// Where LISTEN works, if anywhere.
    #[cfg(feature = "postgres")]
    direct_url: Option<StoreUrl>,
    /// How long a caller waits for an answer.
    patience: Duration,
    /// How many dead connections one request may stumble over: as many as the pool can hold.
    retries: u32,
    #[cfg(feature = "postgres")]
    feed: Feed,
}

impl SqlStore {
    /// Connects. Does not touch the schema: see [`SqlStore::migrate`] and [`SqlStore::check_schema`]. Committed
    /// changes are published on `feed`.
    ///
    /// Must be called in a Tokio runtime that lives as long as the store.
    ///
    /// # Errors
    /// [`OpenError`] if the URL is unusable or the database does not answer.
    pub async fn open(options: &SqlOptions, feed: Feed) -> Result<Self, OpenError> {
        let dialect = Dialect::of(&options.url)?;
        let (readers, lookout, writes);
        #[cfg(feature = "sqlite")]
        let writer;
        match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                let (reading, writing) = pool::sqlite(options).await?;
                readers = Readers::Sqlite(reading.clone());
                lookout = Readers::Sqlite(reading);
                writes = Writes::Queue(writer::Queue::start(writing.clone(), options.write_queue, feed.clone()));
                writer = writing;
            }
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let pool = pool::postgres(options).await?;
                readers = Readers::Postgres(pool.clone());
                lookout =
                    Readers::Postgres(pool::postgres(&SqlOptions { max_connections: 2, ..options.clone() }).await?);
                writes = Writes::Pool(pool);
                #[cfg(feature = "sqlite")]
                {
                    writer = sqlx::SqlitePool::connect_lazy("sqlite::memory:").map_err(StoreError::from)?;
                }
            }
        }
        Ok(Self {
            dialect,
            readers,
            lookout,
            writes,
            #[cfg(feature = "sqlite")]
            writer,
            #[cfg(feature = "postgres")]
            migrate_url: [&options.migrate_url, &options.direct_url]
                .into_iter()
                .find_map(Clone::clone)
                .unwrap_or_else(|| options.url.clone()),
            #[cfg(feature = "postgres")]
            direct_url: options
                .direct_url
                .clone()
                .or_else(|| (options.pooler == Pooler::None).then(|| options.url.clone())),
            patience: options.acquire_timeout,
            retries: options.max_connections,
            #[cfg(feature = "postgres")]
            feed,
        })
    }

    /// A direct connection for migrations, its transaction begun.
    #[cfg(feature = "postgres")]
    async fn migrator(&self) -> Result<lease::Lease, OpenError> {
        let options =
            sqlx::postgres::PgConnectOptions::from_str(self.migrate_url.expose()).map_err(|_| UrlError::Unreadable)?;
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(StoreError::from)?;
        Ok(lease::Leases::of_servers(pool, self.patience).begin().await.map_err(StoreError::from)?)
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}
