//! Three nodes under a constant load while what they stand on breaks: the history of it is judged afterwards.
//!
//! `AUTHV2_TEST_SEED` repeats a run's questions, `AUTHV2_TEST_LONG=1` runs each fault by itself, longer and with several seeds.

mod faults;
mod frozen;
mod lag;
mod restarts;
mod skew;

use std::{collections::BTreeMap, env, time::Duration};

use authv2_tests::{
    history::{Bounds, History, check},
    nodes::Nodes,
    workload::{Load, Running},
};

/// What the settings of the nodes promise.
const BOUNDS: Bounds = Bounds {
    calm: Duration::from_secs(1),
    disturbed: Duration::from_secs(5),
    // `store.acquire_timeout` is 2 s for all of a request; the rest is for a machine that does other things too.
    slowest: Duration::from_secs(5),
    // A write that nobody waits for anymore may be committed up to six times `store.acquire_timeout` later.
    settled: Duration::from_secs(24),
};
/// Recovery is automatic, and no longer than this.
const RECOVERY: Duration = Duration::from_secs(10);

fn is_long() -> bool {
    env::var_os("AUTHV2_TEST_LONG").is_some()
}

fn load(seed: u64) -> Load {
    Load { seed, clients: 8, every: Duration::from_millis(60), retries: false }
}

async fn begin(nodes: &Nodes, load: Load) -> Running {
    println!("seed {}", load.seed);
    load.start(nodes.apis().unwrap()).await.unwrap()
}

/// Ends the load and fails with what its history breaks.
async fn judge(nodes: &Nodes, load: Running) -> History {
    let history = load.finish(RECOVERY).await.unwrap();
    println!("{history}");
    let violations = check(&history, &BOUNDS);
    let mut count = BTreeMap::new();
    for violation in &violations {
        let (seen, _) = count.entry(violation.rule).or_insert((0, violation));
        *seen += 1;
        if *seen <= 3 {
            println!("{violation}");
        }
    }
    for node in 0..nodes.count() {
        assert!(!nodes.stderr(node).contains("panicked"), "{}", nodes.stderr(node));
    }
    let told: Vec<_> =
        count.iter().map(|(rule, (count, first))| format!("{count} x {rule:?}, first {first}")).collect();
    assert!(told.is_empty(), "{told:#?}");
    history
}
