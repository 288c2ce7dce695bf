//! PostgreSQL connections on loan from the pool: each comes back with nothing of its last user in it, or not at all.
//!
//! The driver's own way back has two holes. It waits for an answer without a limit, so that a host that vanished would
//! keep a place of the pool for as long as TCP tries, a quarter of an hour. And a `BEGIN` whose caller went away before
//! the answer is not undone: the next user would work inside that transaction, as its tenant.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{Executor as _, PgConnection, PgPool, Postgres, SqlSafeStr, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

/// The pool, and how work on its connections begins.
#[derive(Debug, Clone)]
pub(super) struct Leases {
    pool: PgPool,
    /// What is said after each `BEGIN`: everything that a connection shared between transactions does not remember.
    /// `None` if connections are ours alone.
    preamble: Option<String>,
    /// How long a connection may take to come back.
    patience: Duration,
}

impl Leases {
    /// Connections that stay the same from one transaction to the next.
    pub(super) fn of_servers(pool: PgPool, patience: Duration) -> Self {
        Self { pool, preamble: None, patience }
    }

    /// Connections through a pooler that may change the server behind them after each transaction. `settings` go with
    /// each one.
    pub(super) fn through_pooler(pool: PgPool, settings: &[(&str, String)], patience: Duration) -> Self {
        // The driver names the statements it prepares, and another node may have used the same names here before.
        let mut preamble = "DEALLOCATE ALL".to_owned();
        for (name, value) in settings {
            preamble.push_str(&format!("; SET LOCAL {name} = '{value}'"));
        }
        Self { pool, preamble: Some(preamble), patience }
    }

    /// A connection for one statement. Through a pooler that takes a transaction as well: a statement is parsed in one
    /// round trip and run in the next, and in between the server could change.
    pub(super) async fn for_statement(&self) -> sqlx::Result<Lease> {
        if self.preamble.is_some() { self.begin().await } else { self.acquire().await }
    }

    /// A connection with a transaction begun on it.
    pub(super) async fn begin(&self) -> sqlx::Result<Lease> {
        self.begin_with("BEGIN").await
    }

    /// Likewise with the words of the caller, which may be several statements.
    pub(super) async fn begin_with(&self, begin: impl SqlSafeStr) -> sqlx::Result<Lease> {
        let mut lease = self.acquire().await?;
        let begin = begin.into_sql_str();
        // Before it is sent: who goes away while it is on its way leaves nobody who knows whether it arrived.
        lease.state = State::Unknown;
        match &self.preamble {
            None => lease.connection().execute(begin).await?,
            Some(preamble) => {
                // Both texts are ours; the values in them are ids, digits and durations.
                let both = sqlx::AssertSqlSafe(format!("{}; {preamble}", begin.as_str()));
                lease.connection().execute(both).await?
            }
        };
        lease.state = State::InTransaction;
        Ok(lease)
    }

    async fn acquire(&self) -> sqlx::Result<Lease> {
        let connection = self.pool.acquire().await?;
        Ok(Lease { connection: Some(connection), state: State::Idle, patience: self.patience })
    }

    /// Closes the pool, once every connection is back.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Where a connection stands between the statements of its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Outside a transaction. A statement may be on its way: its answer is read before anything else.
    Idle,
    /// In a transaction of ours.
    InTransaction,
    /// A transaction was asked to begin or to end, and no answer has come.
    Unknown,
}

/// A connection on loan, which may be in a transaction. Dropping it gives it back; an unfinished transaction is undone.
#[derive(Debug)]
pub(super) struct Lease {
    /// `None` only while it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    state: State,
    patience: Duration,
}

impl Lease {
    #[allow(clippy::expect_used, reason = "only `drop` takes it, and nothing is called after that")]
    fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a connection until it is dropped")
    }

    /// Commits the transaction, if there is one. An error leaves open whether it was committed.
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        if self.state != State::Idle {
            self.state = State::Unknown;
            self.connection().execute("COMMIT").await?;
            self.state = State::Idle;
        }
        Ok(())
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    #[allow(clippy::expect_used, reason = "only `drop` takes it, and nothing is called after that")]
    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("a connection until it is dropped")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(give_back(connection, self.state, self.patience))),
            // Outside the runtime nothing can be asked of it anymore: it is closed.
            Err(_) => drop(connection.detach()),
        }
    }
}

/// Returns a connection to the pool once it is known to be clean, and otherwise closes it, so that its place is free.
async fn give_back(mut connection: PoolConnection<Postgres>, state: State, patience: Duration) {
    let cleaned = async {
        match state {
            State::Unknown => return false,
            State::InTransaction if connection.execute("ROLLBACK").await.is_err() => return false,
            State::InTransaction | State::Idle => {}
        }
        // What `drop` would do, but so that it can be given up: it reads what answers are still to come.
        connection.return_to_pool().await;
        true
    };
    if !timeout(patience, cleaned).await.unwrap_or(false) {
        connection.close_on_drop();
    }
}
