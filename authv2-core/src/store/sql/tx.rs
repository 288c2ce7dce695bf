//! A transaction: the work of one verb, its audit entry and its changes, committed together or not at all.

use std::panic::AssertUnwindSafe;
#[cfg(feature = "postgres")]
use std::time::Duration;

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{sync::oneshot, time::timeout};

#[cfg(feature = "postgres")]
use super::lease::{Lease, Leases};
use super::{
    SqlStore, Writes,
    changes::ChangeColumns,
    dialect::{Dialect, Texts},
    error,
    pool::{Conn, execute},
};
use crate::{
    audit::{Act, Actor},
    changes::Change,
    clock::Timestamp,
    store::StoreError,
};

/// A transaction in progress.
pub(super) struct Tx {
    pub(super) conn: Conn,
    /// What this verb changed, to be published once it is committed.
    changes: Vec<Change>,
    /// The verb found that nothing is to be done after all.
    abandoned: bool,
    /// The verb wrote a mail to the outbox.
    pub(super) posted: bool,
}

/// The work of one verb inside a transaction.
pub(super) trait Work<T>:
    for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static
{
}

impl<T, F> Work<T> for F where F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, StoreError>> + Send + 'static {}

const RECORD_ACT: &str = "INSERT INTO audit
    (id, at, action, outcome, actor_kind, actor_id, target, ip, request_id, reason, org_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const RECORD_CHANGE: &str = "INSERT INTO changes
    (at, kind, user_id, session_id, org_id, member_id, revision, token_id, expires_at, key_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

impl Tx {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn, changes: Vec::new(), abandoned: false, posted: false }
    }

    /// Writes the audit entry of the act, and the mails that go with it.
    pub(super) async fn record(&mut self, act: &Act) -> Result<(), StoreError> {
        let (kind, actor) = match act.actor {
            Actor::User(id) => ("user", Some(id.to_string())),
            Actor::ApiKey(id) => ("api_key", Some(id.to_string())),
            Actor::Anonymous => ("anonymous", None),
            Actor::System => ("system", None),
        };
        let ip = act.origin.ip.map(|ip| ip.to_string());
        execute!(
            self,
            sqlx::query(RECORD_ACT)
                .bind(act.id)
                .bind(act.at)
                .bind(act.action)
                .bind(act.outcome.as_str())
                .bind(kind)
                .bind(actor)
                .bind(act.target.as_deref())
                .bind(ip)
                .bind(act.origin.request_id.as_deref())
                .bind(act.reason.as_deref())
                .bind(act.organization)
        )?;
        for mail in &act.mails {
            self.post(mail).await?;
        }
        Ok(())
    }

    /// Writes a row of the change feed, and remembers the change for this node's own memory.
    pub(super) async fn change(&mut self, change: Change, at: Timestamp) -> Result<(), StoreError> {
        let columns = ChangeColumns::from(change);
        execute!(
            self,
            sqlx::query(RECORD_CHANGE)
                .bind(at)
                .bind(&columns.kind)
                .bind(columns.user_id)
                .bind(columns.session_id)
                .bind(columns.org_id)
                .bind(columns.member_id)
                .bind(columns.revision)
                .bind(columns.token_id)
                .bind(columns.expires_at)
                .bind(columns.key_id)
        )?;
        self.changes.push(change);
        Ok(())
    }

    /// The statements in which the databases differ.
    pub(super) fn texts(&self) -> Texts {
        match &self.conn {
            #[cfg(feature = "sqlite")]
            Conn::Sqlite(_) => Dialect::Sqlite.texts(),
            #[cfg(feature = "postgres")]
            Conn::Postgres(_) => Dialect::Postgres.texts(),
        }
    }

    /// Undoes what the verb did so far: its answer stands, its writes do not.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

/// One verb on its way through a transaction; the type of its answer is hidden from the queue.
pub(super) trait Job: Send {
    /// Does the work. `true` if its writes are to be kept.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, bool>;

    /// Answers the caller once the commit is known to have worked or not. Applies the changes first.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>, feed: &crate::changes::Feed);
}

struct Pending<T, F> {
    work: Option<F>,
    answer: Option<Result<T, StoreError>>,
    changes: Vec<Change>,
    posted: bool,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send + 'static, F: Work<T>> Job for Pending<T, F> {
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, bool> {
        async move {
            let Some(work) = self.work.take() else { return false };
            // A defect in one verb must not take the writer, and with it every other verb, down.
            let done = AssertUnwindSafe(async { work(tx).await }).catch_unwind().await;
            let answer = done.unwrap_or_else(|_| Err(StoreError::unavailable("the write was given up")));
            // Taken whatever the answer is: the next job of the group begins with none of them.
            let (changes, abandoned) = (std::mem::take(&mut tx.changes), std::mem::take(&mut tx.abandoned));
            let posted = std::mem::take(&mut tx.posted);
            let keep = answer.is_ok() && !abandoned;
            if keep {
                (self.changes, self.posted) = (changes, posted);
            }
            self.answer = Some(answer);
            keep
        }
        .boxed()
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>, feed: &crate::changes::Feed) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => {
                feed.publish(&self.changes);
                if self.posted {
                    feed.tell_of_mail();
                }
                answer
            }
            (Ok(()), None) => Err(StoreError::unavailable("the write was not begun")),
            (Err(error), _) => Err(error),
        };
        // The caller may have stopped waiting; what was committed stays.
        let _ = self.reply.send(answer);
    }
}

impl SqlStore {
    /// Runs `work` in a transaction, to its commit even if the caller goes away, and applies its changes before it
    /// answers.
    pub(super) async fn write<T: Send + 'static>(&self, work: impl Work<T>) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(Pending { work: Some(work), answer: None, changes: Vec::new(), posted: false, reply });
        match &self.writes {
            #[cfg(feature = "sqlite")]
            Writes::Queue(queue) => queue.submit(job)?,
            #[cfg(feature = "postgres")]
            Writes::Pool(leases) => {
                let (leases, feed) = (leases.clone(), self.feed.clone());
                let (patience, retries) = (self.patience, self.retries);
                tokio::spawn(async move {
                    let begun = timeout(patience, begin(&leases, retries)).await;
                    alone(begun.unwrap_or_else(|_| Err(error::too_slow())), job, &feed, patience).await;
                });
            }
        }
        match timeout(self.patience, answer).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(StoreError::unavailable("the writer has stopped"))),
            // It may still be committed: the caller learns that when it asks again.
            Err(_) => Err(error::too_slow()),
        }
    }
}

/// Begins a transaction. Nothing was sent yet, so a dead connection costs another try, not the request.
#[cfg(feature = "postgres")]
async fn begin(leases: &Leases, retries: u32) -> Result<Lease, StoreError> {
    let mut tries = 0;
    loop {
        match leases.begin().await {
            Err(lost) if tries < retries && error::connection_lost(&lost) => tries += 1,
            other => return other.map_err(StoreError::from),
        }
    }
}

/// Runs one job in a PostgreSQL transaction of its own.
#[cfg(feature = "postgres")]
async fn alone(
    begun: Result<Lease, StoreError>,
    mut job: Box<dyn Job>,
    feed: &crate::changes::Feed,
    patience: Duration,
) {
    let committed = match begun {
        Err(error) => Err(error),
        Ok(transaction) => {
            let mut tx = Tx::new(Conn::Postgres(transaction));
            // What takes longer is undone: a change that was committed long after its act would be overlooked.
            let keep = timeout(patience * 4, job.run(&mut tx)).await.unwrap_or(false);
            match tx.conn {
                // A server that does not answer may have committed: who asked is told so, who follows the feed learns.
                Conn::Postgres(transaction) if keep => timeout(patience, transaction.commit())
                    .await
                    .map_or_else(|_| Err(error::too_slow()), |ended| ended.map_err(StoreError::from)),
                // Giving it back undoes it. The answer does not depend on that: what is unfinished has no effect.
                Conn::Postgres(transaction) => {
                    drop(transaction);
                    Ok(())
                }
                #[cfg(feature = "sqlite")]
                Conn::Sqlite(_) => Ok(()),
            }
        }
    };
    job.finish(committed, feed);
}
