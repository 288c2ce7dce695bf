//! The PostgreSQL store under the conformance suite, each case in a database of its own.
//!
//! Needs a server: `AUTHV2_TEST_POSTGRES_URL=postgres://user:password@host:port` of a role that may create databases.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{Backend, Fixture};
use crate::{
    changes::Feed,
    id::RequestUuid,
    store::sql::{SqlOptions, SqlStore},
};

/// The URL of a server, without a database. The databases made on it stay, for looking into a failure.
struct Server(String);

#[async_trait]
impl Backend for Server {
    async fn fresh(&self) -> Fixture {
        let name = format!("authv2_{}", RequestUuid::new().as_uuid().simple());
        let mut server = PgConnection::connect(&format!("{}/postgres", self.0)).await.unwrap();
        // The name is made of our own hexadecimal digits.
        server.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        server.close().await.unwrap();
        let feed = Feed::new();
        let store = SqlStore::open(&SqlOptions::new(format!("{}/{name}", self.0)), feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        Fixture { store: std::sync::Arc::new(store), feed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a PostgreSQL server"]
async fn on_postgres_it_conforms() {
    let url = std::env::var("AUTHV2_TEST_POSTGRES_URL").expect("AUTHV2_TEST_POSTGRES_URL names the server");
    super::all(&Server(url.trim_end_matches('/').to_owned())).await;
}
