//! Nodes that end and come back under load: in order, one after the other, and by a kill.

use authv2_tests::{
    fuzz::Nonsense,
    nodes::{Nodes, Plan},
    workload::Load,
};
use tokio::task::block_in_place;

use super::{RECOVERY, begin, judge, load};

/// Nothing is wrong with the database here: whoever waits for a lock on a busy machine shall have it.
fn patient() -> Plan {
    Plan::three().with("AUTHV2_STORE__ACQUIRE_TIMEOUT", "4")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_with_one_retry_notices_no_rolling_restart() {
    let test = "a_client_with_one_retry_notices_no_rolling_restart";
    let Some(nodes) = Nodes::start_or_skip(test, &patient().redis(true)).await.unwrap() else { return };
    let load = begin(&nodes, Load { retries: true, ..load(Nonsense::from_environment().seed()) }).await;
    for node in 0..nodes.count() {
        load.while_doing("restart", Some(node), async {
            block_in_place(|| nodes.stop(node)).unwrap();
            block_in_place(|| nodes.restart(node)).unwrap();
        })
        .await;
        load.recovery(RECOVERY).await.unwrap();
    }
    judge(&nodes, load).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_takes_nothing_acknowledged_with_it() {
    let test = "a_killed_node_takes_nothing_acknowledged_with_it";
    let Some(nodes) = Nodes::start_or_skip(test, &patient()).await.unwrap() else { return };
    let load = begin(&nodes, Load { retries: false, ..load(Nonsense::from_environment().seed()) }).await;
    for node in 0..nodes.count() {
        load.while_doing("kill", Some(node), async {
            block_in_place(|| nodes.kill_9(node)).unwrap();
            block_in_place(|| nodes.restart(node)).unwrap();
        })
        .await;
        load.recovery(RECOVERY).await.unwrap();
    }
    judge(&nodes, load).await;
}
