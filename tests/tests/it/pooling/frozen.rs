//! A database, or a pooler, that stops answering in the middle and goes on later, or never: connections that were given
//! up meanwhile carry nothing into the next use, and none is lost for good.

use std::time::Instant;

use authv2_core::store::{
    DeploymentStore as _, OrganizationName, OrganizationStore as _, Pooler, RoleStore as _, Upkeep as _, UserStore as _,
};
use authv2_tests::postgres::Postgres;
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Executor as _, Row as _};

use super::{DEADLINE, Setup, add_user, answered, given_up, setup};
use crate::row_security::tenant;

/// Stopped processes, which go on when this is dropped.
struct Frozen(Vec<Pid>);

impl Frozen {
    fn freeze(pids: Vec<Pid>) -> Self {
        for pid in &pids {
            kill_process(*pid, Signal::STOP).unwrap();
        }
        Self(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            // One that has ended since needs no waking.
            let _ended = kill_process(*pid, Signal::CONT);
        }
    }
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).unwrap()
}

impl Setup {
    /// The server's processes that serve the store.
    async fn serving(&mut self) -> Vec<Pid> {
        let role = reqwest::Url::parse(self.database.runtime_url()).unwrap().username().to_owned();
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE usename = '{role}'");
        let rows = self.admin.fetch_all(sqlx::AssertSqlSafe(sql)).await.unwrap();
        rows.iter().map(|row| pid(row.get(0))).collect()
    }
}

/// What stands still.
#[derive(Clone, Copy)]
enum Still {
    /// The database, with the process that takes new connections.
    Database(u32),
    /// The pooler.
    Pooler(u32),
}

/// Uses every connection in every way while they are frozen, lets them go on, and requires that all answers fit.
async fn survives_a_freeze(mut setup: Setup, still: Still) {
    let store = setup.store.clone();
    let mut users = Vec::new();
    for number in 0..16 {
        let email = format!("u{number}@example.test");
        users.push((add_user(&store, &email).await, email));
    }
    let tenants = [tenant(&store, "acme").await, tenant(&store, "other").await];
    join_all((0..16).map(|turn| store.user(users[turn].0))).await;

    for round in 0..3 {
        let (Still::Database(first) | Still::Pooler(first)) = still;
        let mut pids = vec![pid(i32::try_from(first).unwrap())];
        if matches!(still, Still::Database(_)) {
            pids.extend(setup.serving().await);
        }
        let frozen = Frozen::freeze(pids);
        // As many as there are connections begin a transaction, or a statement outside of one; the others wait for them.
        let beginning = async {
            let inside = tenants.iter().map(|tenant| given_up(store.role_book(tenant.organization)));
            let writes = (0..2).map(|turn| given_up(store.keep_value("frozen", format!("{round} {turn}"))));
            tokio::join!(join_all(inside), join_all(writes));
        };
        let reads = join_all(users.iter().take(4).map(|(id, _)| given_up(store.user(*id))));
        if round % 2 == 0 {
            tokio::join!(beginning, reads);
        } else {
            tokio::join!(reads, beginning);
        }
        drop(frozen);

        for turn in 0..20 {
            let asked = users.iter().map(|(id, email)| {
                let store = store.clone();
                async move { assert_eq!(answered(|| store.user(*id)).await.unwrap().email, *email) }
            });
            let inside = tenants.iter().zip(["acme", "other"]).map(|(tenant, slug)| {
                let store = store.clone();
                async move {
                    let name = OrganizationName::Id(tenant.organization);
                    assert_eq!(answered(|| store.organization(&name)).await.unwrap().slug, slug);
                }
            });
            tokio::join!(join_all(asked), join_all(inside));
            // What was just committed is what the next one reads: no read is left in an old transaction.
            let fresh = add_user(&store, &format!("r{round}t{turn}@example.test")).await;
            let seen = join_all((0..8).map(|_| answered(|| store.user(fresh)))).await;
            assert!(seen.iter().all(Option::is_some), "a read saw the past");
        }
        setup.until("state <> 'idle'", false).await;
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_right_after_the_database_was_frozen() {
    let test = "answers_are_right_after_the_database_was_frozen";
    let Some(postgres) = Postgres::start_own_or_skip(test).unwrap() else { return };
    for pooler in [Pooler::None, Pooler::Transaction] {
        let Some(setup) = setup(&postgres, pooler, test).await else { continue };
        survives_a_freeze(setup, Still::Database(postgres.id().unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_right_after_the_pooler_was_frozen() {
    let test = "answers_are_right_after_the_pooler_was_frozen";
    let Some(setup) = setup(Postgres::shared(), Pooler::Transaction, test).await else { return };
    let pooler = setup.bouncer.as_ref().unwrap().id();
    survives_a_freeze(setup, Still::Pooler(pooler)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_answer_again_are_replaced() {
    let test = "connections_that_never_answer_again_are_replaced";
    let Some(postgres) = Postgres::start_own_or_skip(test).unwrap() else { return };
    let mut setup = setup(&postgres, Pooler::None, test).await.unwrap();
    let store = setup.store.clone();
    let ada = add_user(&store, "ada@example.test").await;
    join_all((0..16).map(|_| store.user(ada))).await;
    let frozen = Frozen::freeze(setup.serving().await);
    assert!(!frozen.0.is_empty());
    let from = Instant::now();
    // As if the host had vanished: nothing ever comes on the old connections, and no error either.
    while store.user(ada).await.is_err() {
        assert!(from.elapsed() < DEADLINE, "the pool stays full of dead connections");
    }
    let all = join_all((0..16).map(|_| answered(|| store.user(ada)))).await;
    assert!(all.iter().all(Option::is_some), "{all:?}");
    assert_eq!(answered(|| store.keep_value("a", "a".to_owned())).await, "a");
    // Before the server is asked to stop: it waits for its processes.
    drop(frozen);
    store.close().await;
}
