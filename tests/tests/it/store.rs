//! The PostgreSQL store under the conformance suite, each case in a database of its own.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use authv2_core::{
    changes::Feed,
    store::sql::{SqlOptions, SqlStore},
    testing::conformance::{self, Backend, Fixture},
};
use authv2_tests::postgres::{Database, Postgres};

/// The databases made, kept until the suite has ended.
#[derive(Default)]
struct OnPostgres(Mutex<Vec<Database>>);

#[async_trait]
impl Backend for OnPostgres {
    async fn fresh(&self) -> Fixture {
        let database = Postgres::shared().fresh_database().await.unwrap();
        let feed = Feed::new();
        let store = SqlStore::open(&SqlOptions::new(database.url()), feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        self.0.lock().unwrap().push(database);
        Fixture { store: Arc::new(store), feed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgres_it_conforms() {
    conformance::all(&OnPostgres::default()).await;
}
