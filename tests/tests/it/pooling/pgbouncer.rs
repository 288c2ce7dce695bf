//! Everything but migrations through a PgBouncer in transaction mode, on fewer server connections than there are users
//! of them.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use authv2_core::{
    changes::Feed,
    secret::Secret,
    store::{
        Pooler,
        sql::{SqlOptions, SqlStore},
    },
    testing::conformance::{self, Backend, Fixture},
};
use authv2_tests::{
    client::Api,
    error::tell_skipped,
    pgbouncer::PgBouncer,
    postgres::{Database, Postgres},
};
use futures_util::future::join_all;
use serde_json::json;

use crate::contract::fixture::{PASSWORD, eventually, quick};

/// The databases of the cases that run, and the pooler before each: those of the cases before are gone, or their server
/// connections would add up.
#[derive(Default)]
struct ThroughPgBouncer(Mutex<VecDeque<(PgBouncer, Database)>>);

#[async_trait]
impl Backend for ThroughPgBouncer {
    async fn fresh(&self) -> Fixture {
        let database = Postgres::shared().fresh_database().await.unwrap();
        let bouncer = PgBouncer::start(&database, 4).unwrap();
        let feed = Feed::new();
        let options = SqlOptions {
            migrate_url: Some(Secret::from(database.url())),
            pooler: Pooler::Transaction,
            // Storms queue for connections on a machine that has other work to do.
            acquire_timeout: Duration::from_secs(60),
            ..SqlOptions::new(bouncer.runtime_url())
        };
        let store = SqlStore::open(&options, feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        assert_eq!(store.excess_right().await.unwrap(), None);
        let mut running = self.0.lock().unwrap();
        // Twice as many, since those that run together are not made in their order.
        if running.len() >= 2 * conformance::AT_ONCE {
            running.pop_front();
        }
        running.push_back((bouncer, database));
        Fixture { store: Arc::new(store), feed }
    }
}

/// Whether there is a PgBouncer here to test with.
async fn is_installed(test: &str) -> bool {
    let database = Postgres::shared().fresh_database().await.unwrap();
    PgBouncer::start_or_skip(test, &database, 1).unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn through_pgbouncer_it_conforms() {
    if is_installed("through_pgbouncer_it_conforms").await {
        conformance::all(&ThroughPgBouncer::default()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_was_not_told_of_stops_the_start() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let test = "a_pooler_that_was_not_told_of_stops_the_start";
    let Some(bouncer) = PgBouncer::start_or_skip(test, &database, 2).unwrap() else { return };
    let refused = SqlStore::open(&SqlOptions::new(bouncer.runtime_url()), Feed::new()).await.unwrap_err();
    let told = format!("{refused:?}");
    assert!(told.contains("unsupported startup parameter"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_serve_the_contract_on_two_server_connections() {
    let test = "two_nodes_serve_the_contract_on_two_server_connections";
    let database = Postgres::shared().fresh_database().await.unwrap();
    let bouncer = match PgBouncer::start(&database, 2) {
        Ok(bouncer) => bouncer,
        Err(missing @ authv2_tests::HarnessError::Missing { .. }) => return tell_skipped(test, &missing),
        Err(error) => panic!("{error}"),
    };
    let nodes = join_all((0..2).map(|_| {
        let settings = quick()
            .store(bouncer.runtime_url())
            .with("AUTHV2_STORE__POOLER", "transaction")
            // Migrations and LISTEN go around it.
            .with("AUTHV2_STORE__DIRECT_URL", database.url())
            .with("AUTHV2_STORE__ACQUIRE_TIMEOUT", "20");
        tokio::task::spawn_blocking(move || settings.start().unwrap())
    }))
    .await;
    let nodes: Vec<_> = nodes.into_iter().map(Result::unwrap).collect();
    let apis: Vec<_> = nodes.iter().map(|node| Api::new(node.url()).unwrap()).collect();

    join_all((0..16).map(|number| {
        // Each call goes to the node that the one before did not.
        let (one, other) = (apis[number % 2].clone(), apis[(number + 1) % 2].clone());
        async move {
            let email = format!("u{number}@example.org");
            let made = one.register(&email, PASSWORD).await.unwrap();
            assert_eq!(made.status, 201, "{}", made.text);
            let session = other.login(&email, PASSWORD).await.unwrap();
            assert_eq!(session.status, 200, "{}", session.text);
            let fresh = one.refresh(session.string("/refresh_token")).await.unwrap();
            assert_eq!(fresh.status, 200, "{}", fresh.text);
            let token = fresh.string("/access_token");
            let me = other.get("/auth/me", token).await.unwrap();
            assert_eq!(me.string("/user/email"), email, "{}", me.text);
            let body = json!({"slug": format!("org{number}"), "name": "An organization"});
            let founded = other.post("/auth/orgs", token, &body).await.unwrap();
            assert_eq!(founded.status, 201, "{}", founded.text);
            let mine = one.get("/auth/orgs", token).await.unwrap();
            assert_eq!(mine.json.pointer("/organizations").and_then(|list| list.as_array()).unwrap().len(), 1);
            assert_eq!(other.get("/private", token).await.unwrap().status, 200);
            let out = one.post("/auth/logout", token, &json!({})).await.unwrap();
            assert_eq!(out.status, 204, "{}", out.text);
            eventually(async || other.get("/private", token).await.unwrap().status == 401).await;
            assert_eq!(other.refresh(fresh.string("/refresh_token")).await.unwrap().status, 401);
        }
    }))
    .await;
}
