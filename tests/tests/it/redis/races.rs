//! Many nodes at once: the last state is the newest, and what was revoked stays revoked.

use std::time::Duration;

use authv2_core::store::shared::SharedCache;
use authv2_tests::redis::Redis;
use futures_util::future::join_all;

use super::{at, connect, fresh, member, now, session, somebody};

const NODES: usize = 4;
const ROUNDS: i64 = 151;

async fn nodes(redis: &Redis) -> Vec<SharedCache> {
    let mut config = at(redis.url());
    // What is raced here is the order, not the time-out.
    config.timeout = Duration::from_secs(5);
    join_all((0..NODES).map(|_| connect(&config))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_of_an_older_entry_never_wins() {
    let test = "a_late_write_of_an_older_entry_never_wins";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let nodes = nodes(&redis).await;
    let (organization, somebody) = somebody();
    let read_at = now();
    // Each node writes every revision in an order of its own.
    let writers = (7..).step_by(10).zip(&nodes).map(|(step, node)| {
        let node = node.clone();
        tokio::spawn(async move {
            for turn in 0..ROUNDS {
                let revision = turn * step % ROUNDS + 1;
                let before = node.member(organization, somebody, now()).await.map_or(0, |entry| entry.value.revision);
                node.put_member(organization, somebody, &member(revision, read_at), now()).await;
                let after = node.member(organization, somebody, now()).await.unwrap().value.revision;
                assert!(after >= before.max(revision), "{after} after {before} and {revision}");
            }
        })
    });
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    let last = nodes[0].member(organization, somebody, now()).await.unwrap();
    assert_eq!(last.value.revision, ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_loaded_before_a_revocation_is_not_written_back_after_it() {
    let test = "what_was_loaded_before_a_revocation_is_not_written_back_after_it";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let nodes = nodes(&redis).await;
    for _ in 0..ROUNDS / 5 {
        let key = fresh();
        let loaded = session(1, now());
        let (revoker, writers) = nodes.split_first().unwrap();
        let write_back = writers.iter().map(async |node| {
            for _ in 0..5 {
                node.put_session(key, &loaded, now()).await;
            }
        });
        let revoke = async {
            revoker.bury_session(key, now()).await;
            for _ in 0..5 {
                assert_eq!(revoker.session(key, now()).await, None, "it came back to life");
            }
        };
        tokio::join!(join_all(write_back), revoke);
        for node in &nodes {
            assert_eq!(node.session(key, now()).await, None);
        }
    }
}
