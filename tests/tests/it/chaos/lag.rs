//! How long after its acknowledgement a revocation is known to the other nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use authv2_tests::{
    client::Api,
    nodes::{Nodes, Plan},
};
use futures_util::future::join_all;
use serde_json::json;

use super::is_long;

const PASSWORD: &str = "correct horse battery";

/// Asks until it is refused; when that answer had come.
async fn refused(api: &Api, access: &str, is_watched: Arc<AtomicBool>) -> Instant {
    loop {
        let answer = api.get("/private", access).await.unwrap();
        if answer.status == 401 {
            return Instant::now();
        }
        assert_eq!(answer.status, 200, "{}", answer.text);
        is_watched.store(true, Ordering::SeqCst);
    }
}

/// Ends a session on one node while the others are asked about it without a pause.
async fn one_revocation(nodes: &[Api], on: usize) -> Vec<Duration> {
    let api = &nodes[on];
    let session = api.login("ada@example.org", PASSWORD).await.unwrap();
    let access = session.string("/access_token").to_owned();
    let mut watches = Vec::new();
    for other in nodes.iter().enumerate().filter(|(number, _)| *number != on).map(|(_, api)| api.clone()) {
        let (watched, access) = (Arc::new(AtomicBool::new(false)), access.clone());
        let watching = watched.clone();
        watches.push((watched, tokio::spawn(async move { refused(&other, &access, watching).await })));
    }
    while !watches.iter().all(|(watched, _)| watched.load(Ordering::SeqCst)) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(api.post("/auth/logout", &access, &json!({})).await.unwrap().status, 204);
    let acknowledged = Instant::now();
    let refused = join_all(watches.into_iter().map(|(_, watch)| watch)).await;
    refused.into_iter().map(|at| at.unwrap().saturating_duration_since(acknowledged)).collect()
}

/// The lag at which so many of a hundred are through.
fn percentile(lags: &[Duration], percent: usize) -> Duration {
    lags[((lags.len() * percent).div_ceil(100)).clamp(1, lags.len()) - 1]
}

async fn measure(test: &str, plan: Plan, bound: Duration) {
    let Some(deployment) = Nodes::start_or_skip(test, &plan).await.unwrap() else { return };
    let nodes = deployment.apis().unwrap();
    assert_eq!(nodes[0].register("ada@example.org", PASSWORD).await.unwrap().status, 201);
    let samples = if is_long() { 300 } else { 20 };
    let mut lags = Vec::new();
    for sample in 0..samples {
        lags.extend(one_revocation(&nodes, sample % nodes.len()).await);
    }
    lags.sort_unstable();
    let [half, most, all] = [50, 99, 100].map(|percent| percentile(&lags, percent));
    println!("{test}: {} lags, p50 {half:.1?}, p99 {most:.1?}, most {all:.1?}", lags.len());
    // With nothing wrong, this is what every run may count on; the figure itself is for a machine that does nothing else.
    assert!(all < super::BOUNDS.calm, "{all:?}");
    assert!(!is_long() || most <= bound, "p99 {most:?}, the bound is {bound:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_the_other_nodes_through_redis() {
    let test = "a_revocation_reaches_the_other_nodes_through_redis";
    measure(test, Plan::three().redis(true), Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_the_other_nodes_through_postgres_alone() {
    let test = "a_revocation_reaches_the_other_nodes_through_postgres_alone";
    measure(test, Plan::three(), Duration::from_millis(100)).await;
}
