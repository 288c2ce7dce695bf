//! The change feed on PostgreSQL: exact whatever the order of the commits is, woken at once, and resumed after anything.

use std::{collections::BTreeMap, time::Duration};

use authv2_core::{
    audit::{Act, Actor, Origin},
    changes::{Change, Feed},
    clock::Timestamp,
    id::UserId,
    store::{
        ChangeStore as _, Followed, Position, PurgeBefore, Upkeep as _, UserStore as _,
        sql::{SqlOptions, SqlStore},
    },
};
use authv2_tests::postgres::{Database, Postgres};
use futures_util::StreamExt as _;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};

async fn open(url: &str) -> SqlStore {
    let store = SqlStore::open(&SqlOptions::new(url), Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn fresh() -> (Database, SqlStore) {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let store = open(database.url()).await;
    (database, store)
}

async fn begin(store: &SqlStore) -> Position {
    match store.follow(None).await.unwrap() {
        Followed::Changes { changes, position } if changes.is_empty() => position,
        other => panic!("a beginning knows nothing: {other:?}"),
    }
}

/// What is new since `position`, which moves on.
async fn news(store: &SqlStore, position: &mut Position) -> Vec<(i64, Change)> {
    match store.follow(Some(position)).await.unwrap() {
        Followed::Changes { changes, position: next } => {
            *position = next;
            changes.into_iter().map(|record| (record.seq, record.change)).collect()
        }
        Followed::Lost { .. } => panic!("nothing was lost"),
    }
}

fn changes(news: &[(i64, Change)]) -> Vec<Change> {
    news.iter().map(|(_, change)| *change).collect()
}

/// Writes a change by hand, in whatever transaction `connection` is.
async fn write(connection: &mut PgConnection, user: UserId) {
    sqlx::query("INSERT INTO changes (at, kind, user_id) VALUES ($1, 'user_changed', $2)")
        .bind(Timestamp::from_seconds(1_700_000_000).as_micros())
        .bind(user.as_uuid())
        .execute(connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_transaction_held_open_delays_nothing_and_loses_nothing() {
    let (database, store) = fresh().await;
    let mut held = PgConnection::connect(database.url()).await.unwrap();
    let mut other = PgConnection::connect(database.url()).await.unwrap();
    let mut position = begin(&store).await;
    let (first, held_back, later, last) = (UserId::new(), UserId::new(), UserId::new(), UserId::new());
    write(&mut other, first).await;
    assert_eq!(changes(&news(&store, &mut position).await), [Change::UserChanged { user: first }]);

    held.execute("BEGIN").await.unwrap();
    write(&mut held, held_back).await;
    for user in [later, last] {
        write(&mut other, user).await;
        assert_eq!(changes(&news(&store, &mut position).await), [Change::UserChanged { user }], "at once");
        assert_eq!(news(&store, &mut position).await, [], "and once");
    }
    held.execute("COMMIT").await.unwrap();
    let late = news(&store, &mut position).await;
    assert_eq!(changes(&late), [Change::UserChanged { user: held_back }]);
    assert_eq!(news(&store, &mut position).await, []);

    // What began while the position was taken is new as well; what was rolled back is nothing.
    held.execute("BEGIN").await.unwrap();
    write(&mut held, first).await;
    let mut from_here = begin(&store).await;
    other.execute("BEGIN").await.unwrap();
    write(&mut other, last).await;
    other.execute("ROLLBACK").await.unwrap();
    held.execute("COMMIT").await.unwrap();
    assert_eq!(changes(&news(&store, &mut from_here).await), [Change::UserChanged { user: first }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_commit_is_read_exactly_once_whoever_commits_when() {
    const WRITERS: usize = 8;
    let rounds = if std::env::var_os("AUTHV2_TEST_LONG").is_some() { 400 } else { 25 };
    let (database, store) = fresh().await;
    let mut position = begin(&store).await;
    let url = database.url().to_owned();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let url = url.clone();
            tokio::spawn(async move {
                let mut connection = PgConnection::connect(&url).await.unwrap();
                for round in 0..rounds {
                    connection.execute("BEGIN").await.unwrap();
                    for _ in 0..=(writer + round) % 3 {
                        write(&mut connection, UserId::new()).await;
                    }
                    // Numbers are drawn now and committed in another order.
                    let pause = u64::try_from((writer * 7 + round * 13) % 20).unwrap();
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    let end = if (writer + round) % 5 == 0 { "ROLLBACK" } else { "COMMIT" };
                    connection.execute(end).await.unwrap();
                }
            })
        })
        .collect();
    let mut read: BTreeMap<i64, usize> = BTreeMap::new();
    let mut is_over = false;
    while !is_over {
        is_over = writers.iter().all(tokio::task::JoinHandle::is_finished);
        for (seq, _) in news(&store, &mut position).await {
            *read.entry(seq).or_default() += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let rows = sqlx::query("SELECT seq FROM changes ORDER BY seq").fetch_all(&mut connection).await.unwrap();
    let committed: BTreeMap<i64, usize> = rows.iter().map(|row| (row.get::<i64, _>(0), 1)).collect();
    assert!(committed.len() > WRITERS * rounds / 2);
    assert_eq!(read, committed);
}

#[tokio::test]
async fn a_position_that_was_trimmed_away_begins_anew() {
    // A server of its own: transactions of other databases in it count as well.
    let test = "a_position_that_was_trimmed_away_begins_anew";
    let Some(server) = Postgres::start_own_or_skip(test).unwrap() else { return };
    let database = server.fresh_database().await.unwrap();
    let store = open(database.url()).await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let old = begin(&store).await;
    write(&mut connection, UserId::new()).await;
    let mut current = begin(&store).await;
    let all = Timestamp::from_seconds(1_700_000_001);
    let none = Timestamp::from_seconds(0);
    let before = PurgeBefore {
        sessions: none,
        challenges: none,
        networks: none,
        devices: none,
        counters: none,
        changes: all,
        samples: none,
        tokens: none,
        proofs: none,
        events: none,
    };
    assert_eq!(store.purge(before).await.unwrap(), 1);
    let Followed::Lost { mut position } = store.follow(Some(&old)).await.unwrap() else {
        panic!("a change is missing")
    };
    write(&mut connection, UserId::new()).await;
    for position in [&mut current, &mut position] {
        assert_eq!(news(&store, position).await.len(), 1, "who had read what was removed goes on");
    }
}

#[tokio::test]
async fn a_restarted_server_is_read_anew() {
    let Some(mut server) = Postgres::start_own_or_skip("a_restarted_server_is_read_anew").unwrap() else { return };
    let database = server.fresh_database().await.unwrap();
    let store = open(database.url()).await;
    let position = begin(&store).await;
    server.kill_9().unwrap();
    server.restart().unwrap();
    let Followed::Lost { mut position } = store.follow(Some(&position)).await.unwrap() else {
        panic!("what was committed before may have gone with the crash")
    };
    assert_eq!(news(&store, &mut position).await, []);
}

#[tokio::test]
async fn nodes_that_listen_are_told_after_the_commit() {
    let (database, store) = fresh().await;
    let other = open(database.url()).await;
    let mut words = store.announcements().await.unwrap().unwrap();
    assert_eq!(words.next().await, Some(()), "something may have happened before");
    other.announce().await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(5), words.next()).await;
    assert_eq!(told.unwrap(), Some(()));
    // A connection that breaks ends the stream, and whoever listens begins anew.
    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = $1 AND query ILIKE 'LISTEN%'";
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    sqlx::query(end).bind(name).execute(&mut admin).await.unwrap();
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), words.next()).await.unwrap(), None);
    let mut words = store.announcements().await.unwrap().unwrap();
    assert_eq!(words.next().await, Some(()));
}

#[tokio::test]
async fn what_is_of_a_kind_unknown_here_tells_to_read_everything_anew() {
    let (database, store) = fresh().await;
    let mut position = begin(&store).await;
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection.execute("INSERT INTO changes (at, kind) VALUES (1, 'of_a_newer_build')").await.unwrap();
    assert_eq!(changes(&news(&store, &mut position).await), [Change::Everything]);
}

#[tokio::test]
async fn another_process_on_the_same_file_is_followed_too() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/authv2.db", directory.path().display());
    let (store, other) = (open(&url).await, open(&url).await);
    let mut position = begin(&store).await;
    let user = UserId::new();
    let act = || Act::new("test", Actor::System, Timestamp::from_seconds(1), &Origin::default());
    let new = authv2_core::store::NewUser {
        id: user,
        email: "ada@example.org".to_owned(),
        email_key: "ada@example.org".to_owned(),
        display_name: None,
        password_hash: None,
        platform_admin: false,
        count_if_taken: Vec::new(),
    };
    other.create_user(new, act()).await.unwrap();
    other.set_status(user, authv2_core::store::UserStatus::Disabled, None, act()).await.unwrap();
    assert_eq!(changes(&news(&store, &mut position).await), [Change::UserChanged { user }]);
    assert_eq!(news(&store, &mut position).await, []);
}
