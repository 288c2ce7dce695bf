//! A Redis Cluster: keys on every node, slots that move, a node that dies, freezes or is replaced.

use std::collections::BTreeSet;

use authv2_core::config::{RedisConfig, RedisMode};
use authv2_core::{id::SessionId, store::shared::SharedCache};
use authv2_tests::redis::Cluster;
use tokio::time::Instant;

use super::{
    SLACK, at, connect, fresh, name, now,
    secured::{as_user, does_everything, secure},
    session, until,
};

fn cluster_at(url: &str) -> RedisConfig {
    RedisConfig { mode: RedisMode::Cluster, ..at(url) }
}

/// Sessions that are cached, of every node some.
async fn fill(cache: &SharedCache, cluster: &Cluster) -> Vec<(SessionId, usize)> {
    let mut filled = Vec::new();
    for _ in 0..24 {
        let key = fresh();
        cache.put_session(key, &session(1, now()), now()).await;
        assert!(cache.session(key, now()).await.is_some());
        filled.push((key, cluster.owner(&name(key)).unwrap()));
    }
    let owners: BTreeSet<_> = filled.iter().map(|(_, owner)| owner).collect();
    assert_eq!(owners.len(), 3, "every node has some");
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn follows_slots_that_move_and_needs_no_more_rights_than_the_guide_gives() {
    let test = "follows_slots_that_move_and_needs_no_more_rights_than_the_guide_gives";
    let Some(cluster) = Cluster::start_or_skip(test).unwrap() else { return };
    let url = cluster.url();
    let cache = connect(&cluster_at(&url)).await;
    let filled = fill(&cache, &cluster).await;
    cluster.move_slots(0, 1, 3000).unwrap();
    for (key, _) in &filled {
        until("a key that moved to be found", async || cache.session(*key, now()).await.is_some()).await;
    }
    let moved = filled.iter().filter(|(key, owner)| cluster.owner(&name(*key)).unwrap() != *owner).count();
    assert!(moved > 0, "none of the keys moved");
    does_everything(&cache).await;
    for node in cluster.nodes() {
        secure(node, &[0, 2]);
    }
    let config = RedisConfig { mode: RedisMode::Cluster, ..as_user(&url) };
    does_everything(&connect(&config).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_or_dead_node_takes_its_own_keys_alone() {
    let test = "a_frozen_or_dead_node_takes_its_own_keys_alone";
    let Some(mut cluster) = Cluster::start_or_skip(test).unwrap() else { return };
    let config = cluster_at(&cluster.url());
    let cache = connect(&config).await;
    let filled = fill(&cache, &cluster).await;
    let (its, others): (Vec<_>, Vec<_>) = filled.into_iter().partition(|(_, owner)| *owner == 2);
    let all_others_are_there = async || {
        for (key, _) in &others {
            if cache.session(*key, now()).await.is_none() {
                return false;
            }
        }
        true
    };
    cluster.nodes_mut()[2].freeze().unwrap();
    for (key, _) in its.iter().cycle().take(400) {
        let asked = Instant::now();
        assert_eq!(cache.session(*key, now()).await, None);
        assert!(asked.elapsed() <= config.timeout + SLACK, "waited {:?}", asked.elapsed());
    }
    until("the other nodes' keys to be found", all_others_are_there).await;
    cluster.nodes_mut()[2].thaw().unwrap();
    until("its keys to be found again", async || cache.session(its[0].0, now()).await.is_some()).await;
    cluster.nodes_mut()[2].kill_9().unwrap();
    until("the other nodes' keys to be found", all_others_are_there).await;
    assert_eq!(cache.session(its[0].0, now()).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_takes_the_place_of_a_dead_master() {
    let test = "a_replica_takes_the_place_of_a_dead_master";
    let Some(mut cluster) = Cluster::start_or_skip(test).unwrap() else { return };
    cluster.add_replica(2).unwrap();
    let cache = connect(&cluster_at(&cluster.url())).await;
    let key = loop {
        let key = fresh();
        cache.put_session(key, &session(1, now()), now()).await;
        if cluster.owner(&name(key)).unwrap() == 2 {
            break key;
        }
    };
    cluster.nodes_mut()[2].kill_9().unwrap();
    until("the replica to answer", async || {
        cache.put_session(key, &session(2, now()), now()).await;
        cache.session(key, now()).await.is_some_and(|entry| entry.value.1.version == 2)
    })
    .await;
}
