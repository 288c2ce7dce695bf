//! Schema migrations: embedded, reversible, and run by one process at a time.
//!
//! Check and apply stand in one exclusive transaction (both databases roll back DDL), so that ten nodes may start at
//! once and a migration that fails leaves nothing behind.

#[cfg(feature = "sqlite")]
use sqlx::Executor as _;

use super::{
    OpenError, SqlStore, Writes,
    pool::{Conn, execute, within},
    tx::Tx,
};
use crate::store::StoreError;

/// One step of the schema.
struct Migration {
    version: i64,
    name: &'static str,
    up: &'static str,
    down: &'static str,
    /// Whether a node that does not know this step can still work on the schema it leaves.
    tolerated_by_older: bool,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "foundation",
        up: include_str!("migrations/0001_foundation.up.sql"),
        down: include_str!("migrations/0001_foundation.down.sql"),
        tolerated_by_older: false,
    },
    Migration {
        version: 2,
        name: "tenancy",
        up: include_str!("migrations/0002_tenancy.up.sql"),
        down: include_str!("migrations/0002_tenancy.down.sql"),
        tolerated_by_older: false,
    },
    Migration {
        version: 3,
        name: "sessions",
        up: include_str!("migrations/0003_sessions.up.sql"),
        down: include_str!("migrations/0003_sessions.down.sql"),
        // An older node would let in sessions that were ended with their generation.
        tolerated_by_older: false,
    },
    Migration {
        version: 4,
        name: "feed",
        up: include_str!("migrations/0004_feed.up.sql"),
        down: include_str!("migrations/0004_feed.down.sql"),
        tolerated_by_older: true,
    },
    Migration {
        version: 5,
        name: "tokens",
        up: include_str!("migrations/0005_tokens.up.sql"),
        down: include_str!("migrations/0005_tokens.down.sql"),
        // An older node would take tokens that were revoked, and bound ones without their key.
        tolerated_by_older: false,
    },
    Migration {
        version: 6,
        name: "keys",
        up: include_str!("migrations/0006_keys.up.sql"),
        down: include_str!("migrations/0006_keys.down.sql"),
        // It would take every change that it does not know for a change of everything, and nothing else: it has no keys.
        tolerated_by_older: true,
    },
    Migration {
        version: 7,
        name: "recovery",
        up: include_str!("migrations/0007_recovery.up.sql"),
        down: include_str!("migrations/0007_recovery.down.sql"),
        // An older node would let users in without the second factor that they have.
        tolerated_by_older: false,
    },
];

/// The version of the schema that this build works on.
pub const SCHEMA_VERSION: i64 = match MIGRATIONS.last() {
    Some(last) => last.version,
    None => 0,
};

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version {bigint} NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    tolerated_by_older {bool} NOT NULL
) {strict}";

/// A schema that this build cannot work on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Migrations are missing.
    #[error("the schema is at version {found}, this build needs {SCHEMA_VERSION}: run `authv2 migrate`")]
    Behind {
        /// The version found.
        found: i64,
    },
    /// A newer build changed it in a way that this one does not understand.
    #[error(
        "the schema is at version {found}, made by a newer build that this one (version {SCHEMA_VERSION}) cannot share it with"
    )]
    TooNew {
        /// The version found.
        found: i64,
    },
    /// There is no such version to go back to.
    #[error("there is no schema version {0}")]
    NoSuchVersion(i64),
}

impl SqlStore {
    /// Brings the schema up to this build's version; the versions applied. Waits for another process that migrates.
    ///
    /// # Errors
    /// [`OpenError::Store`] if the database fails; then nothing was changed.
    pub async fn migrate(&self) -> Result<Vec<i64>, OpenError> {
        self.in_migration(Plan::Up).await
    }

    /// Takes the schema back to `version`, dropping what later ones added; the versions reverted. For operators: it
    /// deletes data.
    ///
    /// # Errors
    /// [`SchemaError::NoSuchVersion`], [`SchemaError::TooNew`] if a newer build's step is to be reverted, or the
    /// database's failure; then nothing was changed.
    pub async fn revert_to(&self, version: i64) -> Result<Vec<i64>, OpenError> {
        if version != 0 && !MIGRATIONS.iter().any(|migration| migration.version == version) {
            return Err(SchemaError::NoSuchVersion(version).into());
        }
        self.in_migration(Plan::DownTo(version)).await
    }

    /// Whether the schema is one that this build can work on.
    ///
    /// # Errors
    /// [`SchemaError`] if it is not.
    pub async fn check_schema(&self) -> Result<(), OpenError> {
        self.in_migration(Plan::Check).await.map(|_| ())
    }

    async fn in_migration(&self, plan: Plan) -> Result<Vec<i64>, OpenError> {
        let conn = match &self.writes {
            #[cfg(feature = "sqlite")]
            Writes::Queue(_) => Conn::Sqlite(self.writer.acquire().await.map_err(StoreError::from)?),
            #[cfg(feature = "postgres")]
            // Only who changes the schema needs the owner's credentials.
            Writes::Pool(pool) if matches!(plan, Plan::Check) => {
                Conn::Postgres(pool.begin().await.map_err(StoreError::from)?)
            }
            #[cfg(feature = "postgres")]
            Writes::Pool(_) => Conn::Postgres(self.migrator().await?),
        };
        let mut tx = Tx::new(conn);
        // On PostgreSQL the transaction has begun with the connection.
        #[cfg(feature = "sqlite")]
        if matches!(tx.conn, Conn::Sqlite(_)) {
            match plan {
                Plan::Check => run(&mut tx, "BEGIN").await?,
                Plan::Up | Plan::DownTo(_) => begin_exclusive(&mut tx).await?,
            }
        }
        let done = self.apply(&mut tx, plan).await;
        match tx.conn {
            #[cfg(feature = "sqlite")]
            Conn::Sqlite(mut conn) => {
                let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
                let ended = (&mut *conn).execute(end).await;
                // Some errors have ended the transaction already: theirs is the story to tell.
                if done.is_ok() {
                    ended.map_err(StoreError::from)?;
                }
            }
            #[cfg(feature = "postgres")]
            Conn::Postgres(transaction) if done.is_ok() => transaction.commit().await.map_err(StoreError::from)?,
            #[cfg(feature = "postgres")]
            // Giving it back undoes it.
            Conn::Postgres(transaction) => drop(transaction),
        }
        done
    }

    async fn apply(&self, tx: &mut Tx, plan: Plan) -> Result<Vec<i64>, OpenError> {
        if plan == Plan::Check {
            // Looks and nothing else: a role that may not change the schema, or own anything, can do it.
            let (tables,): (i64,) =
                within!(tx, conn => sqlx::query_as(self.dialect.migrations_table()).fetch_one(conn))?;
            if tables == 0 {
                return Err(SchemaError::Behind { found: 0 }.into());
            }
        } else {
            if let Some(lock) = self.dialect.migration_lock() {
                run(tx, lock).await?;
            }
            run(tx, self.dialect.schema(CREATE_TABLE)).await?;
        }
        let applied: Vec<(i64, bool)> = within!(tx, conn => sqlx::query_as(
            "SELECT version, tolerated_by_older FROM schema_migrations ORDER BY version"
        ).fetch_all(conn))?;
        let found = applied.last().map_or(0, |(version, _)| *version);
        let foreign = applied.iter().any(|(version, tolerated)| *version > SCHEMA_VERSION && !tolerated);
        let known = |version: i64| applied.iter().any(|(applied, _)| *applied == version);
        let mut steps = Vec::new();
        match plan {
            _ if foreign => return Err(SchemaError::TooNew { found }.into()),
            Plan::Check => {
                if MIGRATIONS.iter().any(|migration| !known(migration.version)) {
                    return Err(SchemaError::Behind { found }.into());
                }
            }
            Plan::Up => {
                for migration in MIGRATIONS.iter().filter(|migration| !known(migration.version)) {
                    run(tx, self.dialect.schema(migration.up)).await?;
                    execute!(
                        tx,
                        sqlx::query("INSERT INTO schema_migrations VALUES ($1, $2, $3)")
                            .bind(migration.version)
                            .bind(migration.name)
                            .bind(migration.tolerated_by_older)
                    )?;
                    steps.push(migration.version);
                }
            }
            Plan::DownTo(version) if found > SCHEMA_VERSION && version < found => {
                return Err(SchemaError::TooNew { found }.into());
            }
            Plan::DownTo(version) => {
                let undone = |migration: &&Migration| migration.version > version && known(migration.version);
                for migration in MIGRATIONS.iter().rev().filter(undone) {
                    run(tx, self.dialect.schema(migration.down)).await?;
                    execute!(
                        tx,
                        sqlx::query("DELETE FROM schema_migrations WHERE version = $1").bind(migration.version)
                    )?;
                    steps.push(migration.version);
                }
            }
        }
        Ok(steps)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Up,
    DownTo(i64),
    Check,
}

/// Waits for another process that migrates, for a minute: each try waits as long as SQLite's busy time-out.
#[cfg(feature = "sqlite")]
async fn begin_exclusive(tx: &mut Tx) -> Result<(), StoreError> {
    for _ in 1..12 {
        if run(tx, "BEGIN EXCLUSIVE").await.is_ok() {
            return Ok(());
        }
    }
    run(tx, "BEGIN EXCLUSIVE").await
}

/// Runs schema statements, several at once. The text is ours: embedded in the build, nothing spliced in.
async fn run(tx: &mut Tx, sql: impl Into<String>) -> Result<(), StoreError> {
    let sql = sql.into();
    execute!(tx, sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).map(|_| ())
}
