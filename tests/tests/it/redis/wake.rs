//! Nodes wake each other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use authv2_core::store::shared::SharedCache;
use authv2_tests::{
    proxy::{Mode, Proxy},
    redis::Redis,
};

use super::{at, connect, until, works};

/// Counts how often a node was woken.
fn counted(cache: &SharedCache) -> impl Fn() -> usize + use<> {
    let woken = Arc::new(AtomicUsize::new(0));
    let counting = woken.clone();
    cache.on_wake(move || {
        counting.fetch_add(1, Ordering::SeqCst);
    });
    move || woken.load(Ordering::SeqCst)
}

/// Wakes the others until `woken` says that it was heard.
async fn heard(cache: &SharedCache, woken: &impl Fn() -> usize) {
    let before = woken();
    until("somebody to be told", async || cache.wake_others().await).await;
    until("a wake-up to arrive", async || woken() > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wakes_the_others_also_after_a_reconnect() {
    let Some(mut redis) = Redis::start_own_or_skip("wakes_the_others_also_after_a_reconnect").unwrap() else { return };
    let (waking, waiting) = (connect(&at(redis.url())).await, connect(&at(redis.url())).await);
    let woken = counted(&waiting);
    until("the first connection to wake", async || woken() >= 1).await;
    heard(&waking, &woken).await;
    for _ in 0..2 {
        redis.kill_9().unwrap();
        let before = woken();
        redis.restart().unwrap();
        until("the new connection to wake", async || woken() > before).await;
        heard(&waking, &woken).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_cut_off_in_silence_are_made_again() {
    let test = "connections_that_were_cut_off_in_silence_are_made_again";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let network = Proxy::start(redis.port().unwrap()).unwrap();
    let cache = connect(&at(&format!("redis://127.0.0.1:{}", network.port()))).await;
    let woken = counted(&cache);
    until("the first connection to wake", async || woken() >= 1).await;
    network.set(Mode::Drop);
    redis.cli(&["PUBLISH", "authv2:changes", ""]).unwrap();
    assert!(!cache.ping().await);
    // What lost a byte stays silent, and is never closed.
    network.set(Mode::Pass);
    until("a new connection to work", async || works(&cache).await).await;
    until("the new subscription to wake", async || woken() >= 2).await;
    heard(&cache, &woken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_with_other_prefixes_are_not_woken_and_dropped_nodes_stop_listening() {
    let test = "deployments_with_other_prefixes_are_not_woken_and_dropped_nodes_stop_listening";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let (ours, mut theirs) = (at(redis.url()), at(redis.url()));
    theirs.key_prefix = "other".to_owned();
    let (ours, theirs) = (connect(&ours).await, connect(&theirs).await);
    let (woken, woken_there) = (counted(&ours), counted(&theirs));
    until("the first connections to wake", async || woken() >= 1 && woken_there() >= 1).await;
    heard(&ours, &woken).await;
    heard(&theirs, &woken_there).await;
    drop(ours);
    until("the subscription to end", async || redis.cli(&["PUBSUB", "CHANNELS"]).unwrap() == "other:changes").await;
}
