//! Nobody waits longer than the store's patience, and nothing that was given up goes on in the database.

use std::time::{Duration, Instant};

use authv2_core::{
    changes::Feed,
    id::UserId,
    store::{
        DeploymentStore as _, Pooler, Upkeep as _, UserStore as _,
        sql::{SqlOptions, SqlStore},
    },
};
use authv2_tests::{
    client::Api,
    postgres::{Database, Postgres},
};
use sqlx::{Connection as _, PgConnection};

use super::{CONNECTIONS, PATIENCE, SLACK, Setup, answered, given_up, setup};
use crate::contract::fixture::{ADA, PASSWORD, quick};

/// Makes every write of the deployment's values take a minute.
const SLOW: &str = "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON deployment FOR EACH ROW EXECUTE FUNCTION dawdle()";
const SLEEPING: &str = "wait_event = 'PgSleep'";
const WAITING_FOR_A_LOCK: &str = "wait_event_type = 'Lock'";

async fn on_each_way(test: &str, check: impl AsyncFn(Setup)) {
    for pooler in [Pooler::None, Pooler::Transaction] {
        if let Some(setup) = setup(Postgres::shared(), pooler, test).await {
            check(setup).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_beyond_the_pool_waits_its_time_and_is_told() {
    on_each_way("a_request_beyond_the_pool_waits_its_time_and_is_told", async |mut setup| {
        setup.run(SLOW).await;
        let store = setup.store.clone();
        // Each holds its connection for twice the patience: until the server gives the statement up.
        let held: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { given_up(store.keep_value("held", "a".to_owned())).await })
            })
            .collect();
        setup.until(SLEEPING, true).await;
        while setup.count(SLEEPING).await < i64::from(CONNECTIONS) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        given_up(store.user(UserId::new())).await;
        // Two more are for the change feed.
        assert!(setup.count("TRUE").await <= i64::from(CONNECTIONS) + 2, "the pool is bounded");
        for held in held {
            held.await.unwrap();
        }
        setup.until(SLEEPING, false).await;
        answered(|| store.user(UserId::new())).await;
        store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_ended_on_the_server_too() {
    on_each_way("a_statement_that_takes_too_long_is_ended_on_the_server_too", async |mut setup| {
        setup.run(SLOW).await;
        let store = setup.store.clone();
        let from = Instant::now();
        given_up(store.keep_value("slow", "a".to_owned())).await;
        setup.until(SLEEPING, false).await;
        let took = from.elapsed();
        assert!((PATIENCE * 2..PATIENCE * 2 + SLACK).contains(&took), "ended after {took:?}");
        setup.run("DROP TRIGGER slow ON deployment").await;
        assert_eq!(answered(|| store.keep_value("slow", "b".to_owned())).await, "b", "nothing of it was kept");
        store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_gives_up_and_the_server_stops_waiting() {
    on_each_way("who_waits_for_a_lock_gives_up_and_the_server_stops_waiting", async |mut setup| {
        setup.run("BEGIN; LOCK TABLE deployment IN ACCESS EXCLUSIVE MODE").await;
        let store = setup.store.clone();
        // The server gives up first, after half the time: a lock that is held is no outage.
        for verb in [true, false] {
            let from = Instant::now();
            let answer = if verb { store.keep_value("a", "a".to_owned()).await.map(drop) } else { store.ping().await };
            assert!(answer.is_err_and(|error| error.to_string().contains("unavailable")));
            assert!((PATIENCE * 4 / 10..PATIENCE + SLACK).contains(&from.elapsed()), "{:?}", from.elapsed());
        }
        // The lock is still held: nobody waits because nobody wants it anymore.
        setup.until(WAITING_FOR_A_LOCK, false).await;
        setup.run("ROLLBACK").await;
        assert_eq!(answered(|| store.keep_value("a", "b".to_owned())).await, "b");
        store.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_frozen_in_a_transaction_loses_it_and_goes_on_afterwards() {
    let database: Database = Postgres::shared().fresh_database().await.unwrap();
    let settings = quick()
        .store(database.runtime_url())
        .with("AUTHV2_STORE__MIGRATE_URL", database.url())
        .with("AUTHV2_STORE__ACQUIRE_TIMEOUT", "2");
    let server = tokio::task::spawn_blocking(move || settings.start().unwrap()).await.unwrap();
    let node = rustix::process::Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap()).unwrap();
    let api = Api::new(server.url()).unwrap();
    assert_eq!(api.register("first@example.org", PASSWORD).await.unwrap().status, 201);

    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    let role = reqwest::Url::parse(database.runtime_url()).unwrap().username().to_owned();
    // A registration gets as far as its audit entry, and waits.
    let lock = admin.begin_with("BEGIN; LOCK TABLE audit IN EXCLUSIVE MODE").await.unwrap();
    let asked = tokio::spawn({
        let api = api.clone();
        async move { api.register(ADA, PASSWORD).await }
    });
    // Not inside the transaction, which sees everybody's state as it was at the first look.
    let mut looking = PgConnection::connect(&database.admin_url()).await.unwrap();
    wait_for(&mut looking, &role, WAITING_FOR_A_LOCK, true).await;
    rustix::process::kill_process(node, rustix::process::Signal::STOP).unwrap();
    lock.rollback().await.unwrap();
    // Or aborted, if the machine was so busy that the lock was given up first.
    wait_for(&mut admin, &role, "state LIKE 'idle in transaction%'", true).await;
    wait_for(&mut admin, &role, "state LIKE 'idle in transaction%'", false).await;
    // Its rows are free again, with the node still frozen.
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM users WHERE email_key = $1 FOR UPDATE) x")
        .bind(ADA)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(there, 0);
    rustix::process::kill_process(node, rustix::process::Signal::CONT).unwrap();
    assert_eq!(asked.await.unwrap().unwrap().status, 503);
    assert_eq!(api.register(ADA, PASSWORD).await.unwrap().status, 201, "nothing of the lost one was kept");
}

/// Waits until connections of `role` that answer a description are there, or none is.
async fn wait_for(admin: &mut PgConnection, role: &str, of: &str, some: bool) {
    let from = Instant::now();
    loop {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND {of}");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(role).fetch_one(&mut *admin).await.unwrap();
        if (count > 0) == some {
            return;
        }
        assert!(from.elapsed() < super::DEADLINE, "still {count} with {of}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_to_no_server_that_takes_no_writes_until_it_does() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let mut admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    let name = reqwest::Url::parse(database.url()).unwrap().path().trim_start_matches('/').to_owned();
    let switch =
        |to: &str| sqlx::AssertSqlSafe(format!("ALTER DATABASE {name} SET default_transaction_read_only = {to}"));
    let options = SqlOptions { acquire_timeout: PATIENCE, ..SqlOptions::new(database.url()) };
    sqlx::query(switch("on")).execute(&mut admin).await.unwrap();
    let refused = SqlStore::open(&options, Feed::new()).await.unwrap_err();
    assert!(refused.to_string().contains("unavailable"), "{refused}");

    // As after a fail-over: the pool asks again by itself.
    let patient = SqlOptions { acquire_timeout: super::DEADLINE, ..options };
    let opening = tokio::spawn(async move { SqlStore::open(&patient, Feed::new()).await });
    wait_for(&mut admin, reqwest::Url::parse(database.url()).unwrap().username(), "TRUE", true).await;
    sqlx::query("SET default_transaction_read_only = off").execute(&mut admin).await.unwrap();
    sqlx::query(switch("off")).execute(&mut admin).await.unwrap();
    let store = opening.await.unwrap().unwrap();
    store.migrate().await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
}
