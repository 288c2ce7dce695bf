//! Sentinels: the master is found by its name, and its successor too.

use authv2_core::config::{RedisConfig, RedisMode};
use authv2_tests::redis::Watched;

use super::{
    at, connect,
    secured::{as_user, does_everything, secure},
    until, works,
};

#[tokio::test(flavor = "multi_thread")]
async fn finds_the_master_and_its_successor() {
    let Some(mut watched) = Watched::start_or_skip("finds_the_master_and_its_successor").unwrap() else { return };
    let by_sentinel = |config: RedisConfig| RedisConfig {
        mode: RedisMode::Sentinel,
        sentinel_master: Some(watched.name().to_owned()),
        ..config
    };
    let url = watched.url().unwrap();
    let config = by_sentinel(at(&url));
    let unknown = RedisConfig { sentinel_master: Some("nobody".to_owned()), ..config.clone() };
    assert!(!works(&super::begin(&unknown).await).await);
    let cache = connect(&config).await;
    does_everything(&cache).await;
    let secured = by_sentinel(as_user(&url));
    watched.master.kill_9().unwrap();
    until("the replica to be made master and found", async || works(&cache).await).await;
    does_everything(&cache).await;
    secure(&watched.replica, &[0, 1]);
    does_everything(&connect(&secured).await).await;
}
