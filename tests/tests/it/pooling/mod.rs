//! Connections to PostgreSQL: bounded, given up in time, and clean when they come back, directly and through PgBouncer.

mod frozen;
mod pgbouncer;
mod time_outs;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use authv2_core::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    clock::Timestamp,
    id::UserId,
    secret::Secret,
    store::{
        NewUser, Pooler, StoreError, UserStore as _,
        sql::{SqlOptions, SqlStore},
    },
};
use authv2_tests::{
    pgbouncer::PgBouncer,
    postgres::{Database, Postgres},
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

/// How long the stores of these tests wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a busy machine may add to a time-out.
const SLACK: Duration = Duration::from_secs(15);
/// How long a test waits for what must come by itself.
const DEADLINE: Duration = Duration::from_secs(60);
const CONNECTIONS: u32 = 4;

/// A store with little patience, what it is reached through, and a superuser who looks on.
struct Setup {
    store: SqlStore,
    admin: PgConnection,
    bouncer: Option<PgBouncer>,
    database: Database,
}

/// A store on a fresh database; `None` if it is to go through PgBouncer and there is none.
async fn setup(postgres: &Postgres, pooler: Pooler, test: &str) -> Option<Setup> {
    let database = postgres.fresh_database().await.unwrap();
    let bouncer = match pooler {
        Pooler::None => None,
        Pooler::Transaction => Some(PgBouncer::start_or_skip(test, &database, CONNECTIONS).unwrap()?),
    };
    let url = bouncer.as_ref().map_or(database.runtime_url(), PgBouncer::runtime_url);
    let options = SqlOptions {
        migrate_url: Some(Secret::from(database.url())),
        pooler,
        max_connections: CONNECTIONS,
        acquire_timeout: PATIENCE,
        ..SqlOptions::new(url)
    };
    let store = SqlStore::open(&options, Feed::new()).await.unwrap();
    store.migrate().await.unwrap();
    let admin = PgConnection::connect(&database.admin_url()).await.unwrap();
    Some(Setup { store, admin, bouncer, database })
}

impl Setup {
    /// Runs a statement as the superuser.
    async fn run(&mut self, sql: &str) {
        self.admin.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    /// How many server connections of the serving role are there that answer a description.
    async fn count(&mut self, of: &str) -> i64 {
        let role = reqwest::Url::parse(self.database.runtime_url()).unwrap().username().to_owned();
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}' AND {of}");
        self.admin.fetch_one(AssertSqlSafe(sql)).await.unwrap().get(0)
    }

    /// Waits until there are none of them, or some.
    async fn until(&mut self, of: &str, some: bool) {
        let from = Instant::now();
        while (self.count(of).await > 0) != some {
            assert!(from.elapsed() < DEADLINE, "still waiting for {} with {of}", if some { "one" } else { "none" });
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Requires that `verb` is told that the store is unavailable: not before its time is up, and not much later.
async fn given_up<T: std::fmt::Debug>(verb: impl Future<Output = Result<T, StoreError>>) {
    let from = Instant::now();
    let answer = verb.await;
    let took = from.elapsed();
    assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    assert!((PATIENCE..PATIENCE + SLACK).contains(&took), "{took:?}: {answer:?}");
}

/// Asks until there is an answer: on a machine with other work to do, one may take longer than the store waits.
async fn answered<T, F: Future<Output = Result<T, StoreError>>>(verb: impl Fn() -> F) -> T {
    let from = Instant::now();
    loop {
        match verb().await {
            Ok(answer) => return answer,
            Err(error) => assert!(from.elapsed() < DEADLINE, "still {error}"),
        }
    }
}

fn act() -> Act {
    Act::new("test.made", Actor::System, Timestamp::from_seconds(1), &Origin::default())
}

/// Adds a user with that e-mail.
async fn add_user(store: &SqlStore, email: &str) -> UserId {
    let id = UserId::new();
    // Asked again after no answer it may be there already, which is as good.
    answered(|| {
        let user = NewUser {
            id,
            email: email.to_owned(),
            email_key: email.to_owned(),
            display_name: None,
            password_hash: None,
            platform_admin: false,
            count_if_taken: vec![],
        };
        store.create_user(user, act())
    })
    .await;
    id
}
