//! Connections: one pool of readers, and the way to a transaction on either database.

use std::{str::FromStr as _, time::Duration};

#[cfg(feature = "postgres")]
use sqlx::{
    Executor as _, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
#[cfg(feature = "sqlite")]
use sqlx::{
    Sqlite, SqlitePool,
    pool::PoolConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

#[cfg(feature = "postgres")]
use super::lease::{Lease, Leases};
use super::{SqlOptions, dialect::Dialect};
#[cfg(feature = "postgres")]
use crate::store::Pooler;
use crate::store::{StoreError, StoreUrl};

/// Where statements outside a transaction run.
#[derive(Debug, Clone)]
pub(super) enum Readers {
    #[cfg(feature = "sqlite")]
    Sqlite(SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(Leases),
}

/// One connection inside a transaction.
pub(super) enum Conn {
    #[cfg(feature = "sqlite")]
    Sqlite(PoolConnection<Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Lease),
}

/// Reads, again if the connection turns out to be dead: it is replaced, and pools are not asked to ping before every
/// use. All of it together has the store's patience and no more.
macro_rules! patiently {
    ($store:expr, $attempt:expr) => {{
        let asked = async {
            let mut tries = 0;
            loop {
                match $attempt {
                    Err(error) if tries < $store.retries && $crate::store::sql::error::connection_lost(&error) => {
                        tries += 1;
                    }
                    other => break other.map_err($crate::store::StoreError::from),
                }
            }
        };
        tokio::time::timeout($store.patience, asked)
            .await
            .unwrap_or_else(|_| Err($crate::store::sql::error::too_slow()))
    }};
}

/// Runs one query on the pool of readers, whichever database it is. The expression stands once and is compiled for
/// each.
macro_rules! read {
    ($store:expr, $pool:ident => $query:expr) => {
        $crate::store::sql::pool::patiently!(
            $store,
            match &$store.readers {
                #[cfg(feature = "sqlite")]
                $crate::store::sql::pool::Readers::Sqlite($pool) => $query.await,
                #[cfg(feature = "postgres")]
                $crate::store::sql::pool::Readers::Postgres(leases) => {
                    async {
                        let mut lease = leases.for_statement().await?;
                        let $pool = &mut *lease;
                        let answer = $query.await?;
                        lease.commit().await?;
                        Ok::<_, sqlx::Error>(answer)
                    }
                    .await
                }
            }
        )
    };
}

/// Reads rows of a tenant: like [`read`], on one connection, and on PostgreSQL in a transaction that acts for `scope`.
macro_rules! read_within {
    ($store:expr, $scope:expr, $conn:ident => $query:expr) => {
        $crate::store::sql::pool::patiently!(
            $store,
            match &$store.readers {
                #[cfg(feature = "sqlite")]
                $crate::store::sql::pool::Readers::Sqlite(pool) => {
                    let _ = $scope;
                    async {
                        let mut held = pool.acquire().await?;
                        let $conn = &mut *held;
                        $query.await
                    }
                    .await
                }
                #[cfg(feature = "postgres")]
                $crate::store::sql::pool::Readers::Postgres(pool) => {
                    $crate::store::sql::pool::in_transaction!(pool, $scope.begin(), $conn => $query)
                }
            }
        )
    };
}

/// Like [`read_within`] for several statements, which all see the database as it was at one moment.
macro_rules! read_at_once {
    ($store:expr, $scope:expr, $conn:ident => $query:expr) => {
        $crate::store::sql::pool::patiently!(
            $store,
            match &$store.readers {
                #[cfg(feature = "sqlite")]
                $crate::store::sql::pool::Readers::Sqlite(pool) => {
                    let _ = $scope;
                    $crate::store::sql::pool::in_transaction!(pool, "BEGIN", $conn => $query)
                }
                #[cfg(feature = "postgres")]
                $crate::store::sql::pool::Readers::Postgres(pool) => {
                    $crate::store::sql::pool::in_transaction!(pool, $scope.begin_at_once(), $conn => $query)
                }
            }
        )
    };
}

/// Runs a query in a transaction of its own.
macro_rules! in_transaction {
    ($pool:expr, $begin:expr, $conn:ident => $query:expr) => {
        async {
            let mut transaction = $pool.begin_with($begin).await?;
            let $conn = &mut *transaction;
            let answer = $query.await?;
            transaction.commit().await?;
            Ok::<_, sqlx::Error>(answer)
        }
        .await
    };
}

/// Runs one query inside a transaction, whichever database it is.
macro_rules! within {
    ($tx:expr, $conn:ident => $query:expr) => {
        match &mut $tx.conn {
            #[cfg(feature = "sqlite")]
            $crate::store::sql::pool::Conn::Sqlite(conn) => {
                let $conn = &mut **conn;
                $query.await
            }
            #[cfg(feature = "postgres")]
            $crate::store::sql::pool::Conn::Postgres(conn) => {
                let $conn = &mut **conn;
                $query.await
            }
        }
        .map_err($crate::store::StoreError::from)
    };
}

/// Runs one statement inside a transaction, whichever database it is; how many rows it touched.
macro_rules! execute {
    ($tx:expr, $query:expr) => {
        $crate::store::sql::pool::within!($tx, conn => async {
            $query.execute(conn).await.map(|done| done.rows_affected())
        })
    };
}

pub(super) use {execute, in_transaction, patiently, read, read_at_once, read_within, within};

/// A connection string that names no database this build can speak to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is not one of ours.
    #[error("the URL must start with sqlite: or postgres:")]
    UnknownScheme,
    /// The scheme needs a feature that is switched off.
    #[error("this build has no support for it: enable the feature `{0}`")]
    NotCompiledIn(&'static str),
    /// The rest of it cannot be read.
    #[error("the URL cannot be read")]
    Unreadable,
}

impl Dialect {
    /// The database that `url` names.
    pub(super) fn of(url: &StoreUrl) -> Result<Self, UrlError> {
        let scheme = url.expose().split(':').next().unwrap_or_default();
        match scheme {
            #[cfg(feature = "sqlite")]
            "sqlite" => Ok(Self::Sqlite),
            #[cfg(not(feature = "sqlite"))]
            "sqlite" => Err(UrlError::NotCompiledIn("sqlite")),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(Self::Postgres),
            #[cfg(not(feature = "postgres"))]
            "postgres" | "postgresql" => Err(UrlError::NotCompiledIn("postgres")),
            _ => Err(UrlError::UnknownScheme),
        }
    }
}

/// How long a statement waits for another process that writes to the same SQLite file.
#[cfg(feature = "sqlite")]
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The SQLite pools: readers, and the single connection of the writer.
///
/// In memory both are the same one connection, kept for ever: the database lives as long as it does.
#[cfg(feature = "sqlite")]
pub(super) async fn sqlite(options: &SqlOptions) -> Result<(SqlitePool, SqlitePool), super::OpenError> {
    let url = options.url.expose();
    let in_memory = crate::store::is_in_memory(url);
    let connect = SqliteConnectOptions::from_str(url)
        .map_err(|_| UrlError::Unreadable)?
        .create_if_missing(true)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    let pool = |size: u32| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    if in_memory {
        let only = pool(1).min_connections(1).connect_with(connect).await.map_err(StoreError::from)?;
        return Ok((only.clone(), only));
    }
    make_private(connect.get_filename());
    let writer = open_file(|| pool(1).connect_with(connect.clone().journal_mode(SqliteJournalMode::Wal))).await?;
    let readers = pool(options.max_connections)
        .connect_with(connect.pragma("query_only", "true"))
        .await
        .map_err(StoreError::from)?;
    Ok((readers, writer))
}

/// Makes the file before SQLite does, so that its owner alone can read it: it holds hashes and sealed keys. What goes
/// wrong here the driver meets again, and tells.
#[cfg(feature = "sqlite")]
fn make_private(path: &std::path::Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path));
}

/// Opens a file, patiently: switching it to WAL fails at once while another process does the same.
#[cfg(feature = "sqlite")]
async fn open_file<F>(connect: impl Fn() -> F) -> Result<SqlitePool, StoreError>
where
    F: Future<Output = sqlx::Result<SqlitePool>>,
{
    let pause = Duration::from_millis(20);
    for _ in 0..BUSY_TIMEOUT.as_millis() / pause.as_millis() {
        match connect().await {
            Err(sqlx::Error::Database(error)) if error.message().contains("locked") => {
                tokio::time::sleep(pause).await;
            }
            other => return other.map_err(StoreError::from),
        }
    }
    connect().await.map_err(StoreError::from)
}

/// What the server itself gives up on, so that what a caller no longer waits for does not hold a connection, or locks.
#[cfg(feature = "postgres")]
fn time_outs(patience: Duration) -> [(&'static str, String); 3] {
    let milliseconds = |halves: u128| format!("{}ms", patience.as_millis().saturating_mul(halves) / 2);
    [
        // Before the caller gives up: a lock that somebody else holds is no outage.
        ("lock_timeout", milliseconds(1)),
        ("statement_timeout", milliseconds(4)),
        ("idle_in_transaction_session_timeout", milliseconds(8)),
    ]
}

/// How old a connection gets at most. A process of PostgreSQL keeps what it has learned of every table and statement,
/// and a balancer in front of several poolers is asked for a new choice only by new connections.
#[cfg(feature = "postgres")]
const LIFETIME: Duration = Duration::from_secs(30 * 60);

/// [`LIFETIME`], or up to a third less: nodes that were started together do not reconnect together.
#[cfg(feature = "postgres")]
fn lifetime() -> Duration {
    let [byte] = crate::secret::random_bytes::<1>().unwrap_or_default();
    LIFETIME - LIFETIME / 3 * u32::from(byte) / u32::from(u8::MAX)
}

/// Ours, or behind a pooler one that nothing is asked of which the pooler does not pass on.
#[cfg(feature = "postgres")]
fn connect_options(options: &SqlOptions) -> Result<PgConnectOptions, UrlError> {
    let connect =
        PgConnectOptions::from_str(options.url.expose()).map_err(|_| UrlError::Unreadable)?.application_name("authv2");
    Ok(match options.pooler {
        Pooler::None => connect.options(time_outs(options.acquire_timeout)),
        // No statement is remembered here: it is prepared in its transaction, on whichever server that runs.
        Pooler::Transaction => connect.extra_float_digits(None).statement_cache_capacity(0),
    })
}

/// Refuses a server that takes no writes: what a standby says of sessions and revocations is the past. After a fail-over
/// the name of the database may still lead to one; the pool asks again until its time is up.
#[cfg(feature = "postgres")]
async fn refuse_standby(connection: &mut PgConnection) -> sqlx::Result<()> {
    let row = connection.fetch_one("SHOW transaction_read_only").await?;
    if row.try_get::<&str, _>(0)? == "on" {
        return Err(sqlx::Error::Configuration("the database server takes no writes: a standby?".into()));
    }
    Ok(())
}

/// The PostgreSQL pool.
#[cfg(feature = "postgres")]
pub(super) async fn postgres(options: &SqlOptions) -> Result<Leases, super::OpenError> {
    let patience = options.acquire_timeout;
    let pool: PgPool = PgPoolOptions::new()
        .max_connections(options.max_connections)
        .acquire_timeout(patience)
        .test_before_acquire(false)
        .max_lifetime(lifetime())
        .after_connect(|connection, _| Box::pin(refuse_standby(connection)))
        .connect_with(connect_options(options)?)
        .await
        .map_err(StoreError::from)?;
    Ok(match options.pooler {
        Pooler::None => Leases::of_servers(pool, patience),
        Pooler::Transaction => Leases::through_pooler(pool, &time_outs(patience), patience),
    })
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn connections_of_nodes_that_start_together_end_apart_and_within_a_third_of_the_lifetime() {
        let drawn: Vec<_> = (0..64).map(|_| lifetime()).collect();
        assert!(drawn.iter().all(|drawn| (LIFETIME * 2 / 3..=LIFETIME).contains(drawn)), "{drawn:?}");
        assert!(drawn.iter().any(|other| *other != drawn[0]));
    }
}
