//! Redis stands still: what was validated fast goes on being validated fast.

use std::time::{Duration, Instant};

use authv2_tests::{
    client::Api,
    nodes::{Backend, Fault, Nodes, Plan},
};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::task::block_in_place;

use super::is_long;

const PASSWORD: &str = "correct horse battery";
const CLIENTS: usize = 6;

/// What a while of validated requests showed.
struct Shown {
    a_second: f64,
    p99: Duration,
}

/// Validates as fast as so many clients can, for a while.
async fn validate(nodes: &[Api], tokens: &[String], lasting: Duration) -> Shown {
    let begin = Instant::now();
    let took = join_all((0..CLIENTS).map(async |client| {
        let mut took = Vec::new();
        for (turn, token) in tokens.iter().cycle().skip(client * 7).enumerate() {
            if begin.elapsed() > lasting {
                break;
            }
            let asked = Instant::now();
            let answer = nodes[(client + turn) % nodes.len()].get("/private", token).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text);
            took.push(asked.elapsed());
        }
        took
    }))
    .await;
    let mut took: Vec<Duration> = took.into_iter().flatten().collect();
    took.sort_unstable();
    let a_second = f64::from(u32::try_from(took.len()).unwrap()) / begin.elapsed().as_secs_f64();
    Shown { a_second, p99: took[took.len() * 99 / 100] }
}

/// Signs in on every node, which asks Redis, until each of them has given up asking.
async fn breakers_open(nodes: &[Api]) -> Option<Duration> {
    let begin = Instant::now();
    loop {
        let mut open = 0;
        for api in nodes {
            assert_eq!(api.login("ada@example.org", PASSWORD).await.unwrap().status, 200);
            let ready = api.get("/health/ready", "").await.unwrap();
            let components = ready.json["components"].as_object().cloned().unwrap_or_default();
            let is_closed = |component: &Value| matches!(component["circuit"].as_str(), None | Some("closed"));
            open += usize::from(!components.values().all(is_closed));
        }
        if open == nodes.len() {
            return Some(begin.elapsed());
        }
        if begin.elapsed() > Duration::from_secs(15) {
            return None;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_does_not_slow_validation_down() {
    let test = "a_frozen_redis_does_not_slow_validation_down";
    let Some(deployment) = Nodes::start_or_skip(test, &Plan::three().redis(true)).await.unwrap() else { return };
    let nodes = deployment.apis().unwrap();
    assert_eq!(nodes[0].register("ada@example.org", PASSWORD).await.unwrap().status, 201);
    let mut tokens = Vec::new();
    for turn in 0..30 {
        let answer = nodes[turn % nodes.len()].login("ada@example.org", PASSWORD).await.unwrap();
        tokens.push(answer.string("/access_token").to_owned());
    }
    let lasting = Duration::from_secs(if is_long() { 10 } else { 2 });
    validate(&nodes, &tokens, lasting / 4).await;
    let before = validate(&nodes, &tokens, lasting).await;
    block_in_place(|| deployment.strike(Backend::Redis, Fault::Freeze)).unwrap();
    let opened = breakers_open(&nodes).await.expect("the breakers around Redis open");
    let after = validate(&nodes, &tokens, lasting).await;
    block_in_place(|| deployment.heal(Backend::Redis, Fault::Freeze)).unwrap();
    let kept = after.a_second / before.a_second;
    println!(
        "{test}: {:.0}/s and p99 {:.1?} before, breakers open after {opened:.1?}, then {:.0}/s ({:.0}%) and p99 {:.1?}",
        before.a_second,
        before.p99,
        after.a_second,
        kept * 100.0,
        after.p99
    );
    assert!(!is_long() || kept >= 0.9, "{kept:.2} of the rate is left");
    assert!(!is_long() || after.p99 < Duration::from_millis(50), "p99 {:?}", after.p99);
}
