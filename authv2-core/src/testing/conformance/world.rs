//! The store under test with everything that a case looks at: the feed's events, the changes table, the audit trail.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{sync::Barrier, task::JoinSet};

use super::{
    Fixture,
    act::{act, new_session, new_user},
};
use crate::{
    audit::Act,
    changes::{Change, Listener},
    clock::Timestamp,
    id::{SessionId, UserId},
    secret::SecretHash,
    store::{AuditRecord, ChangeRecord, Created, NewSession, Opened, SessionRecord, SharedStore, Updated, UserRecord},
};

/// More rows than any case writes.
const EVERYTHING: u32 = 10_000;

/// A store with witnesses. A cheap clone.
#[derive(Clone)]
pub(super) struct World(Arc<Inner>);

struct Inner {
    store: SharedStore,
    heard: Arc<Heard>,
    read: AtomicUsize,
    /// The position in the changes table at which the case began.
    start: i64,
    comparable: AtomicBool,
}

/// Everything that the feed applied to this node, in order.
#[derive(Default)]
struct Heard(Mutex<Vec<Change>>);

impl Listener for Heard {
    fn apply(&self, change: &Change) {
        self.0.lock().unwrap().push(*change);
    }
}

/// A session opened by [`World::sign_in`].
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) id: SessionId,
    pub(super) refresh: SecretHash,
    pub(super) record: SessionRecord,
}

impl World {
    pub(super) async fn over(fixture: Fixture) -> Self {
        let heard = Arc::new(Heard::default());
        fixture.feed.listen(heard.clone());
        let before = fixture.store.changes_after(0, EVERYTHING).await.unwrap();
        Self(Arc::new(Inner {
            store: fixture.store,
            heard,
            read: AtomicUsize::new(0),
            start: before.last().map_or(0, |row| row.seq),
            comparable: AtomicBool::new(true),
        }))
    }

    pub(super) fn store(&self) -> &SharedStore {
        &self.0.store
    }

    /// Every change that the feed applied since the case began.
    pub(super) fn heard(&self) -> Vec<Change> {
        self.0.heard.0.lock().unwrap().clone()
    }

    /// What the feed applied since the last call. Asked right after a verb's answer, it shows that the changes came
    /// before the answer: nothing is waited for.
    pub(super) fn news(&self) -> Vec<Change> {
        let heard = self.heard();
        let read = self.0.read.swap(heard.len(), Ordering::SeqCst);
        heard[read..].to_vec()
    }

    /// The rows of the changes table written since the case began, oldest first.
    pub(super) async fn change_rows(&self) -> Vec<ChangeRecord> {
        self.store().changes_after(self.0.start, EVERYTHING).await.unwrap()
    }

    /// The audit entries of `act`, found by its request id.
    pub(super) async fn entries(&self, act: &Act) -> Vec<AuditRecord> {
        let mut entries = self.store().recent_audit(EVERYTHING).await.unwrap();
        entries.retain(|entry| entry.request_id == act.origin.request_id);
        entries
    }

    /// Requires exactly one audit entry of `act`, saying `outcome`.
    pub(super) async fn expect_entry(&self, act: &Act, outcome: &str) {
        let entries = self.entries(act).await;
        assert_eq!(entries.len(), 1, "{} must leave exactly one audit entry: {entries:?}", act.action);
        assert_eq!(entries[0].outcome, outcome, "{:?}", entries[0]);
    }

    /// Requires that nothing says that `act` succeeded.
    pub(super) async fn expect_no_success(&self, act: &Act) {
        let entries = self.entries(act).await;
        assert!(entries.iter().all(|entry| entry.outcome != "success"), "{} did not happen: {entries:?}", act.action);
    }

    /// Exempts the case from [`Self::expect_feed_and_table_to_agree`]: it trims the table or closes the store.
    pub(super) fn makes_table_incomparable(&self) {
        self.0.comparable.store(false, Ordering::SeqCst);
    }

    /// Whatever a case did, this node's memory was told exactly what the table holds: nothing more, nothing less.
    pub(super) async fn expect_feed_and_table_to_agree(&self) {
        if self.0.comparable.load(Ordering::SeqCst) {
            let rows: Vec<Change> = self.change_rows().await.into_iter().map(|row| row.change).collect();
            expect_same_changes(&self.heard(), &rows);
        }
    }

    /// Adds the user called `name`.
    pub(super) async fn user(&self, name: &str) -> UserRecord {
        added(self.store().create_user(new_user(name), act("user.created", super::act::at(0))).await.unwrap())
    }

    /// Opens a session of `user` at `now`.
    pub(super) async fn sign_in(&self, user: UserId, now: Timestamp) -> SignedIn {
        self.open(new_session(user, now)).await
    }

    /// Opens `session`, which carries a refresh token, at the moment it was made for.
    pub(super) async fn open(&self, session: NewSession) -> SignedIn {
        let opened = self.store().open_session(session.clone(), act("session.login", session.record.created_at));
        let Opened::New(opened) = opened.await.unwrap() else {
            panic!("the session must open");
        };
        let record = SessionRecord { generation: opened.generation, ..session.record };
        SignedIn { id: record.id, refresh: session.refresh.unwrap(), record }
    }

    /// The session, which must be stored.
    pub(super) async fn session(&self, id: SessionId) -> SessionRecord {
        self.store().session(id).await.unwrap().expect("the session must be stored").0
    }

    /// The user, which must be stored.
    pub(super) async fn reread(&self, id: UserId) -> UserRecord {
        self.store().user(id).await.unwrap().expect("the user must be stored")
    }

    /// The ids of the live sessions of `user` at `now`, newest first.
    pub(super) async fn live(&self, user: UserId, now: Timestamp) -> Vec<SessionId> {
        self.store().sessions_of(user, now).await.unwrap().iter().map(|session| session.id).collect()
    }
}

/// The user that was added.
pub(super) fn added(created: Created) -> UserRecord {
    match created {
        Created::New(user) => user,
        other => panic!("the user must be added, not {other:?}"),
    }
}

/// What was done.
pub(super) fn done<T: std::fmt::Debug>(updated: Updated<T>) -> T {
    match updated {
        Updated::Done(value) => value,
        other => panic!("the update must be done, not {other:?}"),
    }
}

/// The change that ends `session`.
pub(super) fn revoked(session: SessionId, user: UserId) -> Change {
    Change::SessionRevoked { session, user }
}

/// Requires the same changes the same number of times; parallel verbs may be heard in another order.
pub(super) fn expect_same_changes(found: &[Change], expected: &[Change]) {
    let mut surplus = HashMap::<Change, i64>::new();
    for change in found {
        *surplus.entry(*change).or_default() += 1;
    }
    for change in expected {
        *surplus.entry(*change).or_default() -= 1;
    }
    surplus.retain(|_, times| *times != 0);
    assert!(surplus.is_empty(), "found too often (negative: too seldom): {surplus:?}");
}

/// Starts `count` tasks that wait for each other and then run at the same time; what each answered, in no order.
pub(super) async fn at_once<T, F>(count: usize, mut task: impl FnMut(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let (start, future) = (start.clone(), task(index));
        tasks.spawn(async move {
            start.wait().await;
            future.await
        });
    }
    tasks.join_all().await
}
