//! SQLite has one writer: a bounded queue in front of it, and one commit (one `fsync`) for all jobs that wait.

use futures_util::FutureExt as _;
use sqlx::{Executor as _, SqlitePool};
use tokio::sync::{mpsc, oneshot};

use super::{
    pool::Conn,
    tx::{Job, Tx},
};
use crate::{changes::Feed, store::StoreError};

/// How many jobs share a commit at most: bounds how long the first of them waits.
const GROUP: usize = 64;

/// The way to the writer.
#[derive(Debug, Clone)]
pub(super) struct Queue(mpsc::Sender<Message>);

enum Message {
    Job(Box<dyn Job>),
    Close(oneshot::Sender<()>),
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Job(_) => "Job",
            Self::Close(_) => "Close",
        })
    }
}

impl Queue {
    /// Starts the writer on `pool`, with room for `length` waiting jobs.
    pub(super) fn start(pool: SqlitePool, length: usize, feed: Feed) -> Self {
        let (sender, receiver) = mpsc::channel(length);
        tokio::spawn(serve(pool, receiver, feed));
        Self(sender)
    }

    /// Puts a job into the queue. A full queue sheds it at once.
    pub(super) fn submit(&self, job: Box<dyn Job>) -> Result<(), StoreError> {
        self.0.try_send(Message::Job(job)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::shed("the write queue is full"),
            mpsc::error::TrySendError::Closed(_) => StoreError::unavailable("the writer has stopped"),
        })
    }

    /// Finishes the jobs taken so far, then stops.
    pub(super) async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.0.send(Message::Close(done)).await.is_ok() {
            let _ = wait.await;
        }
    }
}

async fn serve(pool: SqlitePool, mut queue: mpsc::Receiver<Message>, feed: Feed) {
    while let Some(message) = queue.recv().await {
        let mut next = Some(message);
        let mut group = Vec::new();
        let mut closing = None;
        while let Some(message) = next.take() {
            match message {
                Message::Job(job) => group.push(job),
                Message::Close(done) => {
                    queue.close();
                    closing = Some(done);
                }
            }
            if group.len() < GROUP {
                next = queue.try_recv().ok();
            }
        }
        let committed = commit_together(&pool, &mut group).await;
        for job in group {
            job.finish(committed.clone(), &feed);
        }
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }
}

/// Runs all jobs in one transaction, each in a savepoint of its own, so that one that fails leaves the others whole.
async fn commit_together(pool: &SqlitePool, group: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    if group.is_empty() {
        return Ok(());
    }
    let mut tx = Tx::new(Conn::Sqlite(pool.acquire().await?));
    execute(&mut tx, "BEGIN IMMEDIATE").await?;
    let done = async {
        for job in group {
            execute(&mut tx, "SAVEPOINT job").await?;
            if !job.run(&mut tx).await {
                execute(&mut tx, "ROLLBACK TO job").await?;
            }
            execute(&mut tx, "RELEASE job").await?;
        }
        execute(&mut tx, "COMMIT").await
    }
    .boxed()
    .await;
    if done.is_err() {
        // Some errors have ended the transaction already; then there is nothing left to roll back.
        let _ = execute(&mut tx, "ROLLBACK").await;
    }
    done
}

async fn execute(tx: &mut Tx, sql: &'static str) -> Result<(), StoreError> {
    match &mut tx.conn {
        Conn::Sqlite(conn) => (&mut **conn).execute(sql).await.map(|_| ()).map_err(StoreError::from),
        #[cfg(feature = "postgres")]
        Conn::Postgres(_) => Err(StoreError::corrupt("not a SQLite connection")),
    }
}
