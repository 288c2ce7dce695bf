//! The store on real databases: the conformance suite on PostgreSQL, migrations by many processes, restarts.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use authv2_core::{
    AuthenticationService, Config,
    authentication::StartError,
    changes::Feed,
    master_key::MasterKey,
    secret::Secret,
    store::{
        DeploymentStore as _, Upkeep as _,
        sql::{ExcessRight, OpenError, SCHEMA_VERSION, SchemaError, SqlOptions, SqlStore},
    },
    testing::conformance::{self, Backend, Fixture},
};
use authv2_tests::{
    postgres::{Database, Postgres},
    server::Settings,
};
use sqlx::Connection as _;

/// The databases made, kept until the suite has ended.
#[derive(Default)]
struct OnPostgres(Mutex<Vec<Database>>);

#[async_trait]
impl Backend for OnPostgres {
    async fn fresh(&self) -> Fixture {
        let database = Postgres::shared().fresh_database().await.unwrap();
        let feed = Feed::new();
        let options = SqlOptions {
            // Row-level security binds this role: the suite shows that no verb needs more than it allows.
            migrate_url: Some(Secret::from(database.url())),
            // Storms queue for connections on a machine that has other work to do.
            acquire_timeout: Duration::from_secs(60),
            ..SqlOptions::new(database.runtime_url())
        };
        let store = SqlStore::open(&options, feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        self.0.lock().unwrap().push(database);
        Fixture { store: Arc::new(store), feed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_it_conforms() {
    conformance::all(&OnPostgres::default()).await;
}

/// Where a store is opened, beside the URL that keeps it alive.
async fn both_backends() -> (tempfile::TempDir, Database, [String; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}/authv2.db", directory.path().display());
    let database = Postgres::shared().fresh_database().await.unwrap();
    let urls = [file, database.url().to_owned()];
    (directory, database, urls)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_processes_migrate_one_database_at_once() {
    let (_directory, _database, urls) = both_backends().await;
    for url in urls {
        // Each server migrates as it starts; none may fail, and all must agree on what they founded.
        let starts = (0..5).map(|_| {
            let settings = Settings::new().with("AUTHV2_STORE__URL", &url);
            tokio::task::spawn_blocking(move || settings.start().unwrap())
        });
        let mut servers = Vec::new();
        for start in starts.collect::<Vec<_>>() {
            servers.push(start.await.unwrap());
        }
        let mut published = Vec::new();
        for server in &servers {
            published.push(reqwest::get(server.at("/.well-known/jwks.json")).await.unwrap().text().await.unwrap());
        }
        published.dedup();
        assert_eq!(published.len(), 1, "{url}: the nodes made different signing keys");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_down_and_up_again() {
    let (_directory, _database, urls) = both_backends().await;
    for url in urls {
        let store = SqlStore::open(&SqlOptions::new(url.as_str()), Feed::new()).await.unwrap();
        let behind = store.check_schema().await.unwrap_err();
        assert!(matches!(behind, OpenError::Schema(SchemaError::Behind { found: 0 })), "{behind}");
        let up = store.migrate().await.unwrap();
        assert_eq!(up.last(), Some(&SCHEMA_VERSION));
        assert!(store.migrate().await.unwrap().is_empty(), "nothing is left to do");
        let mut down = store.revert_to(0).await.unwrap();
        down.reverse();
        assert_eq!(down, up);
        assert_eq!(store.migrate().await.unwrap(), up);
        store.check_schema().await.unwrap();
        assert!(matches!(store.revert_to(-1).await, Err(OpenError::Schema(SchemaError::NoSuchVersion(-1)))));
        store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn works_on_a_newer_schema_only_where_its_migration_says_so() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let store = SqlStore::open(&SqlOptions::new(database.url()), Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    let mut admin = sqlx::PgConnection::connect(&database.admin_url()).await.unwrap();
    sqlx::query("INSERT INTO schema_migrations VALUES (998, 'of a newer build', TRUE)")
        .execute(&mut admin)
        .await
        .unwrap();
    store.check_schema().await.unwrap();
    assert!(store.migrate().await.unwrap().is_empty());
    sqlx::query("INSERT INTO schema_migrations VALUES (999, 'of a newer build', FALSE)")
        .execute(&mut admin)
        .await
        .unwrap();
    for refused in [store.check_schema().await, store.migrate().await.map(|_| ()), store.revert_to(0).await.map(|_| ())]
    {
        assert!(matches!(refused, Err(OpenError::Schema(SchemaError::TooNew { found: 999 }))), "{refused:?}");
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_database_costs_no_request() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let store = SqlStore::open(&SqlOptions::new(database.url()), Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    futures_util::future::join_all((0..16).map(|_| store.ping())).await;
    // What a restart does to the pool: every connection in it is dead, and nobody has told it.
    let mut admin = sqlx::PgConnection::connect(&database.admin_url()).await.unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .execute(&mut admin)
        .await
        .unwrap();
    store.ping().await.unwrap();
    assert_eq!(store.keep_value("issuer", "a".to_owned()).await.unwrap(), "a");
    store.close().await;
}

fn in_production(database: &Database) -> Config {
    let mut config = Config { issuer: Some("https://auth.example".to_owned()), ..Config::default() };
    config.master_key = Some(MasterKey::random_base64().unwrap());
    config.store.url = Secret::from(database.runtime_url());
    config.store.migrate_url = Some(Secret::from(database.url()));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn production_serves_with_a_role_that_owns_nothing_and_refuses_the_owner() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let config = in_production(&database);
    let auth = AuthenticationService::builder(config.clone()).build().await.unwrap();
    auth.shut_down().await;
    for (url, right) in
        [(database.url().to_owned(), ExcessRight::Owner), (database.admin_url(), ExcessRight::Superuser)]
    {
        let mut config = config.clone();
        config.store.url = Secret::from(url);
        let refused = AuthenticationService::builder(config).build().await.unwrap_err();
        assert!(matches!(refused, StartError::PrivilegedRole(found) if found == right), "{refused}");
    }
}
