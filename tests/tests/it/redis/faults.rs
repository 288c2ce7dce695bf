//! Redis dies, freezes, forgets: nobody waits long for it, and it is used again as soon as it is back.

use std::time::Duration;

use authv2_core::{
    config::RedisConfig,
    store::{breaker::Circuit, shared::SharedCache},
};
use authv2_tests::{port, redis::Redis};
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{SLACK, at, begin, connect, fresh, now, session, until, works};

/// Asks until the breaker is open; no caller may wait longer than the time-out.
async fn open_breaker(cache: &SharedCache, config: &RedisConfig) {
    until("the breaker to open", async || {
        let asked = Instant::now();
        assert_eq!(cache.session(fresh(), now()).await, None);
        assert!(asked.elapsed() <= config.timeout + SLACK, "waited {:?}", asked.elapsed());
        cache.health().unwrap().circuit == Circuit::Open
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_a_miss_and_an_empty_one_is_filled_again() {
    let test = "a_killed_server_is_a_miss_and_an_empty_one_is_filled_again";
    let Some(mut redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let config = at(redis.url());
    let cache = connect(&config).await;
    let key = fresh();
    cache.put_session(key, &session(1, now()), now()).await;
    redis.kill_9().unwrap();
    open_breaker(&cache, &config).await;
    assert!(!cache.wake_others().await);
    redis.restart().unwrap();
    until("the cache to work again", async || works(&cache).await).await;
    assert_eq!(cache.session(key, now()).await, None, "it was started empty");
    assert_eq!(cache.health().unwrap().circuit, Circuit::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_the_time_out_and_then_nothing() {
    let test = "a_frozen_server_costs_the_time_out_and_then_nothing";
    let Some(mut redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let config = at(redis.url());
    let cache = connect(&config).await;
    assert!(works(&cache).await);
    redis.freeze().unwrap();
    let asked = Instant::now();
    let answers = join_all((0..500).map(|_| cache.session(fresh(), now()))).await;
    assert!(answers.iter().all(Option::is_none));
    assert!(asked.elapsed() <= config.timeout + SLACK, "500 at once waited {:?}", asked.elapsed());
    open_breaker(&cache, &config).await;
    // One in a while tries whether it is back; all others go on at once.
    let asked = Instant::now();
    let mut waited = 0;
    for _ in 0..5_000 {
        let one = Instant::now();
        assert_eq!(cache.session(fresh(), now()).await, None);
        waited += u32::from(one.elapsed() >= config.timeout / 2);
    }
    assert!(waited <= 3, "{waited} of 5000 waited, in {:?}", asked.elapsed());
    redis.thaw().unwrap();
    until("the cache to work again", async || works(&cache).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_the_server_and_finds_it_later() {
    let free = port::free().unwrap();
    let config = at(&format!("redis://127.0.0.1:{free}"));
    let asked = Instant::now();
    let cache = begin(&config).await;
    assert!(asked.elapsed() < SLACK, "starting waited {:?}", asked.elapsed());
    assert!(cache.is_there() && !cache.ping().await);
    let Ok(_redis) = Redis::start_on(free) else {
        // Without a binary the other tests say so; with one, somebody else took the port.
        return;
    };
    until("the server to be found", async || works(&cache).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_a_server_forgot_are_sent_again() {
    let test = "scripts_that_a_server_forgot_are_sent_again";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    assert!(works(&cache).await);
    for _ in 0..3 {
        redis.cli(&["SCRIPT", "FLUSH"]).unwrap();
        assert!(works(&cache).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_that_evicts_nothing_still_answers() {
    let test = "a_full_server_that_evicts_nothing_still_answers";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let cache = connect(&at(redis.url())).await;
    let key = fresh();
    cache.put_session(key, &session(1, now()), now()).await;
    redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    for _ in 0..20 {
        assert!(!works(&cache).await, "nothing more fits");
    }
    assert!(cache.session(key, now()).await.is_some());
    assert_eq!(cache.health().unwrap().circuit, Circuit::Closed);
    redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert!(works(&cache).await);
    assert!(cache.health().unwrap().last_success.is_some_and(|ago| ago < Duration::from_secs(5)));
}
