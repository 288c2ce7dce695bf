//! The store conformance suite: the behaviours that every backend of [`Store`](crate::store::Store) shares.
//!
//! A backend's test is a constructor and one call. Each case gets a fresh store, and a failure names its case:
//!
//! ```ignore
//! struct Embedded;
//!
//! #[async_trait]
//! impl Backend for Embedded {
//!     async fn fresh(&self) -> Fixture { /* an empty, migrated store and the feed it publishes to */ }
//! }
//!
//! #[tokio::test(flavor = "multi_thread")]
//! async fn conforms() {
//!     conformance::all(&Embedded).await;
//! }
//! ```
//!
//! Decorators (caches, breakers) are backends too and pass the same suite. Run it on a multi-threaded runtime with
//! real time: on a single thread the parallel cases are weaker, and paused time breaks their deadlines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the suite is test code: a panic is how a case reports a violated behaviour"
)]

mod account;
mod act;
mod api_key;
mod api_key_hang_up;
mod api_key_rotation;
mod audit;
mod challenge;
mod changes;
mod context;
mod departure;
mod deployment;
mod device;
mod generation;
mod hang_up;
mod hang_up_tenancy;
mod hang_up_verbs;
mod isolation;
mod key_usage;
mod limits;
mod link;
mod mail;
mod member;
mod mfa;
mod mfa_hang_up;
mod organization;
mod password;
mod proof;
mod purge;
mod quota;
mod races;
mod refresh;
mod refresh_model;
mod revocation;
mod role;
mod security;
mod session;
mod session_statistics;
mod sign_in;
mod signing_keys;
#[cfg(all(test, feature = "sqlite"))]
mod sqlite;
mod storm;
mod tenancy_races;
mod tenant;
mod text;
mod throttle;
mod usage;
mod world;

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream};

use self::world::World;
use crate::{changes::Feed, store::SharedStore};

/// How long a case may take. Generous: it is there so that a deadlock fails instead of hanging the test run.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

/// What a backend is tested with: a store that holds nothing yet, and the feed that it publishes to.
#[derive(Debug)]
pub struct Fixture {
    /// The store: migrated, empty, used by nobody else.
    pub store: SharedStore,
    /// The feed that the store applies its committed changes to.
    pub feed: Feed,
}

/// A backend under test: makes stores.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A fresh store, sharing nothing with those made before. May panic where it cannot be made.
    async fn fresh(&self) -> Fixture;
}

/// One behaviour.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    check: fn(World) -> BoxFuture<'static, ()>,
}

impl Case {
    /// Its name: the subject, then the behaviour.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the behaviour on a fresh store of `backend`, which is closed afterwards.
    ///
    /// # Panics
    /// When the backend behaves otherwise, or not within two minutes.
    pub async fn run(&self, backend: &dyn Backend) {
        let fixture = backend.fresh().await;
        let store = fixture.store.clone();
        let checked = async {
            let world = World::over(fixture).await;
            (self.check)(world.clone()).await;
            world.expect_feed_and_table_to_agree().await;
        };
        match tokio::time::timeout(CASE_DEADLINE, checked).await {
            Ok(()) => store.close().await,
            Err(_) => panic!("{} did not finish within {CASE_DEADLINE:?}", self.name),
        }
    }
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Lists the cases of a room under the names of their functions.
macro_rules! room {
    ($room:literal: $($case:ident),+ $(,)?) => {
        &[$($crate::testing::conformance::Case {
            name: concat!($room, "::", stringify!($case)),
            check: |world| Box::pin($case(world)),
        }),+]
    };
}
use room;

/// Every case of the suite, in the order in which [`all`] runs them.
pub fn cases() -> impl Iterator<Item = Case> {
    const ROOMS: &[&[Case]] = &[
        account::CASES,
        password::CASES,
        sign_in::CASES,
        limits::CASES,
        session::CASES,
        generation::CASES,
        context::CASES,
        session_statistics::CASES,
        refresh::CASES,
        refresh_model::CASES,
        revocation::CASES,
        proof::CASES,
        mfa::CASES,
        challenge::CASES,
        races::CASES,
        storm::CASES,
        throttle::CASES,
        mail::CASES,
        link::CASES,
        security::CASES,
        deployment::CASES,
        device::CASES,
        signing_keys::CASES,
        changes::CASES,
        audit::CASES,
        purge::CASES,
        text::CASES,
        organization::CASES,
        member::CASES,
        departure::CASES,
        role::CASES,
        api_key::CASES,
        api_key_rotation::CASES,
        usage::CASES,
        quota::CASES,
        key_usage::CASES,
        isolation::CASES,
        tenancy_races::CASES,
    ];
    ROOMS.iter().copied().flatten().chain(hang_up::CASES).copied()
}

/// So many cases run at a time: making a store is mostly waiting. When a case begins, all but the last so many before it
/// have ended.
pub const AT_ONCE: usize = 3;

/// Checks every behaviour on `backend`, each on a fresh store, going on after failures.
///
/// # Panics
/// At the end, naming the cases that failed and why, if any did.
pub async fn all(backend: &dyn Backend) {
    let run = |case: Case| async move {
        let panic = AssertUnwindSafe(case.run(backend)).catch_unwind().await.err()?;
        Some(format!("{}: {}", case.name, message(panic.as_ref())))
    };
    let verdicts: Vec<Option<String>> = stream::iter(cases()).map(run).buffered(AT_ONCE).collect().await;
    let (count, failures) = (verdicts.len(), verdicts.into_iter().flatten().collect::<Vec<_>>());
    assert!(failures.is_empty(), "{} of {count} cases failed:\n{}", failures.len(), failures.join("\n"));
}

/// Checks the one behaviour called `name`, for looking into a failure.
///
/// # Panics
/// When there is no such case, or the backend fails it.
pub async fn one(backend: &dyn Backend, name: &str) {
    match cases().find(|case| case.name == name) {
        Some(case) => case.run(backend).await,
        None => panic!("there is no case called {name}"),
    }
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without a message",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_two_cases_share_a_name() {
        let mut seen = HashSet::new();
        assert!(super::cases().all(|case| seen.insert(case.name())));
    }
}
