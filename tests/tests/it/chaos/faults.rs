//! Redis and PostgreSQL killed, frozen, slow, silent and cut off, under load.

use std::time::Duration;

use authv2_tests::{
    fuzz::Nonsense,
    history::History,
    nodes::{Backend, Fault, Nodes, Plan},
    proxy::Mode,
    workload::Running,
};
use tokio::task::block_in_place;

use super::{RECOVERY, begin, is_long, judge, load};

const FAULTS: [Fault; 5] = [
    Fault::Kill,
    Fault::Freeze,
    Fault::Network(Mode::Delay(Duration::from_millis(100))),
    Fault::Network(Mode::Drop),
    Fault::Network(Mode::Cut),
];

/// Lets a fault last under load; returns once every node serves again.
async fn suffer(nodes: &Nodes, load: &Running, backend: Backend, fault: Fault, lasting: Duration) {
    load.while_doing(&format!("{backend:?} {fault:?}"), None, async {
        block_in_place(|| nodes.strike(backend, fault)).unwrap();
        tokio::time::sleep(lasting).await;
        block_in_place(|| nodes.heal(backend, fault)).unwrap();
    })
    .await;
    let recovery = load.recovery(RECOVERY).await.unwrap();
    println!("{backend:?} {fault:?}: all nodes sign in again after {recovery:.2?}");
}

/// Waits until so many more requests were made.
async fn work(load: &Running, requests: usize) {
    let until = load.requests() + requests;
    while load.requests() < until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A run in which nothing was ever granted, refused or ended shows nothing.
fn assert_busy(history: &History) {
    let done = history.events.iter().filter(|event| event.is_done()).count();
    assert!(done > 100, "only {done} requests were served");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_through_every_fault() {
    let test = "keeps_every_promise_through_every_fault";
    let Some(nodes) = Nodes::start_or_skip(test, &Plan::three().redis(true)).await.unwrap() else { return };
    let load = begin(&nodes, load(Nonsense::from_environment().seed())).await;
    for fault in FAULTS {
        for backend in [Backend::Redis, Backend::Postgres] {
            work(&load, 50).await;
            suffer(&nodes, &load, backend, fault, Duration::from_secs(2)).await;
        }
    }
    assert_busy(&judge(&nodes, load).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_through_each_fault_for_long() {
    if !is_long() {
        return;
    }
    let test = "keeps_every_promise_through_each_fault_for_long";
    let seed = Nonsense::from_environment().seed();
    for backend in [Backend::Redis, Backend::Postgres] {
        for fault in FAULTS {
            for seed in [seed, seed + 1] {
                let plan = Plan::three().redis(true);
                let Some(nodes) = Nodes::start_or_skip(test, &plan).await.unwrap() else { return };
                let load = begin(&nodes, load(seed)).await;
                for lasting in [1, 3, 8] {
                    work(&load, 200).await;
                    suffer(&nodes, &load, backend, fault, Duration::from_secs(lasting)).await;
                }
                work(&load, 200).await;
                assert_busy(&judge(&nodes, load).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_cut_off_from_its_servers_takes_nothing_that_was_revoked() {
    let test = "one_node_cut_off_from_its_servers_takes_nothing_that_was_revoked";
    let Some(nodes) = Nodes::start_or_skip(test, &Plan::three().redis(true)).await.unwrap() else { return };
    let load = begin(&nodes, load(Nonsense::from_environment().seed())).await;
    work(&load, 100).await;
    load.while_doing("node 1 cut off", None, async {
        for backend in [Backend::Postgres, Backend::Redis] {
            nodes.network_of(1, backend, Mode::Drop);
        }
        // Past the moment from which it may not trust what it remembers.
        tokio::time::sleep(Duration::from_secs(7)).await;
        for backend in [Backend::Postgres, Backend::Redis] {
            nodes.network_of(1, backend, Mode::Pass);
        }
    })
    .await;
    load.recovery(RECOVERY).await.unwrap();
    assert_busy(&judge(&nodes, load).await);
}
