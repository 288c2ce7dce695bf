//! Rate limits that nodes count together in a real Redis: exact over nodes, all or none over several limits, and never
//! without a limit while it is down.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use authv2_core::{
    clock::{Clock, SystemClock},
    config::{LimitConfig, RedisConfig, RedisMode},
    error::Code,
    id::{KeyId, OrgId},
    limit::{Limiter, Outage, Policy, Rate, Subject, Take, Verdict},
    master_key::MasterKey,
    store::{breaker::Circuit, shared::SharedCache},
};
use authv2_tests::redis::{Cluster, Redis};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);
/// So slow that nothing comes back while a test runs.
const HOURS: Duration = Duration::from_secs(48 * 3600);

/// A node: a connection of its own, and a memory of its own.
struct Node {
    cache: SharedCache,
    limiter: Limiter,
}

impl Node {
    async fn at(config: &RedisConfig, limits: &LimitConfig) -> Self {
        let master = MasterKey::from_bytes(&[7; 32]);
        let cache = SharedCache::connect(config, &master).await.unwrap();
        until("Redis to answer", async || cache.ping().await).await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let limiter = Limiter::new(limits, cache.clone(), clock, &master.derive("limit names"));
        Self { cache, limiter }
    }

    async fn take(&self, takes: &[Take<'_>]) -> Verdict {
        self.limiter.take(takes, Outage::LocalShare).await.unwrap()
    }

    async fn is_cut_off(&self) {
        until("the breaker to open", async || {
            self.cache.ping().await;
            self.cache.health().unwrap().circuit == Circuit::Open
        })
        .await;
    }
}

async fn three(config: &RedisConfig, limits: &LimitConfig) -> Vec<Arc<Node>> {
    let nodes = join_all((0..3).map(|_| Node::at(config, limits))).await;
    nodes.into_iter().map(Arc::new).collect()
}

fn at(url: &str) -> RedisConfig {
    // Long, since a busy machine must not be taken for a dead server here.
    RedisConfig { url: Some(url.into()), timeout: Duration::from_secs(5), ..RedisConfig::default() }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn policy(name: &'static str, requests: u32, per: Duration) -> Policy {
    Policy::new(name, Rate::new(requests, per, None).unwrap())
}

/// So many callers at once on each of the nodes, each asking so often; how many requests passed.
async fn storm(nodes: &[Arc<Node>], callers: u32, each: u32, take: impl Fn(u32) -> Vec<Take<'static>>) -> u32 {
    let passed = Arc::new(AtomicU32::new(0));
    let callers = (0..callers).map(|caller| {
        let (node, passed, takes) =
            (Arc::clone(&nodes[caller as usize % nodes.len()]), Arc::clone(&passed), take(caller));
        tokio::spawn(async move {
            for _ in 0..each {
                passed.fetch_add(u32::from(node.take(&takes).await.allowed), Ordering::Relaxed);
            }
        })
    });
    join_all(callers).await.into_iter().for_each(Result::unwrap);
    passed.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_pass_as_may_on_one_node_and_on_three() {
    let test = "exactly_as_many_pass_as_may_on_one_node_and_on_three";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let nodes = three(&at(redis.url()), &LimitConfig::default()).await;
    for (name, nodes) in [("one", &nodes[..1]), ("three", &nodes[..])] {
        let limit = policy(name, 500, HOURS);
        let passed = storm(nodes, 64, 30, |_| vec![Take::one(limit, Subject::Everybody)]).await;
        assert_eq!(passed, 500, "{name}");
        let refused = nodes[0].take(&[Take::one(limit, Subject::Everybody)]).await;
        assert_eq!((refused.allowed, refused.remaining), (false, 0));
        let wait = refused.retry_after.unwrap();
        assert!(wait > Duration::from_secs(300) && wait <= HOURS / 500, "{wait:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_never_let_through_too_many_and_lose_little() {
    let Some(redis) = Redis::start_own_or_skip("leases_never_let_through_too_many_and_lose_little").unwrap() else {
        return;
    };
    let limits = LimitConfig { leases: true, ..LimitConfig::default() };
    let nodes = three(&at(redis.url()), &limits).await;
    let limit = policy("leased", 6_400, HOURS);
    let asked_before = calls(&redis);
    let begun = Instant::now();
    let passed = storm(&nodes, 64, 150, |_| vec![Take::one(limit, Subject::Everybody)]).await;
    let asked = calls(&redis) - asked_before;
    // What a node may lose is a lease, a sixteenth of the burst, each time that it stands still for half a second.
    let lost = 3 * 400 * (1 + begun.elapsed().as_millis() / 500);
    assert!(passed <= 6_400 && u128::from(passed) + lost >= 6_400, "{passed}, {lost}");
    assert!(asked < 3_000, "{asked} questions for {passed} requests");
    let more = storm(&nodes, 64, 100, |_| vec![Take::one(limit, Subject::Everybody)]).await;
    assert!(passed + more <= 6_400, "{passed} and {more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_limit_that_comes_back_fast_let_through_half_a_second_more_at_most() {
    let test = "leases_of_a_limit_that_comes_back_fast_let_through_half_a_second_more_at_most";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let limits = LimitConfig { leases: true, ..LimitConfig::default() };
    let nodes = three(&at(redis.url()), &limits).await;
    let limit = policy("fast", 400, Duration::from_secs(1));
    let begun = Instant::now();
    let passed = storm(&nodes, 64, 100, |_| vec![Take::one(limit, Subject::Everybody)]).await;
    let most = 400 + 400 * (begun.elapsed().as_millis() + 501) / 1_000;
    assert!(passed >= 400 / 2 && u128::from(passed) <= most, "{passed}, {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_named_twice_counts_once_and_one_of_another_rate_for_itself() {
    let test = "a_limit_that_is_named_twice_counts_once_and_one_of_another_rate_for_itself";
    let Some(redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let node = Node::at(&at(redis.url()), &LimitConfig::default()).await;
    let (few, many) = (policy("api", 2, HOURS), policy("api", 9, HOURS));
    let take = |policy| Take::one(policy, Subject::Other("key"));
    assert_eq!(node.take(&[take(few), take(few)]).await.remaining, 1);
    assert_eq!(node.take(&[take(many), take(few)]).await.remaining, 0);
    assert!(!node.take(&[take(few)]).await.allowed);
    assert_eq!(node.take(&[take(many)]).await.remaining, 7);
}

/// How many scripts the server has run.
fn calls(redis: &Redis) -> u32 {
    let said = redis.cli(&["INFO", "commandstats"]).unwrap();
    let of = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(['=', ',']).nth(1)).and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    of("evalsha") + of("eval")
}

#[tokio::test(flavor = "multi_thread")]
async fn several_limits_pass_all_or_none_in_one_step() {
    let Some(redis) = Redis::start_own_or_skip("several_limits_pass_all_or_none_in_one_step").unwrap() else { return };
    let nodes = three(&at(redis.url()), &LimitConfig::default()).await;
    all_or_none(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_limits_pass_all_or_none_across_the_slots_of_a_cluster() {
    let test = "several_limits_pass_all_or_none_across_the_slots_of_a_cluster";
    let Some(cluster) = Cluster::start_or_skip(test).unwrap() else { return };
    let config = RedisConfig { mode: RedisMode::Cluster, ..at(&cluster.url()) };
    let nodes = three(&config, &LimitConfig::default()).await;
    all_or_none(&nodes).await;
}

async fn all_or_none(nodes: &[Arc<Node>]) {
    let organization = OrgId::new();
    let users = ["ada", "bob", "cyd", "dan"];
    let (own, all) = (policy("own", 100, HOURS), policy("all", 250, HOURS));
    let passed = storm(nodes, 64, 20, |caller| {
        let own = Take::one(own, Subject::Caller(users[caller as usize % 4]));
        let all = Take::one(all, Subject::Organization(organization));
        if caller % 2 == 0 { vec![own, all] } else { vec![all, own] }
    })
    .await;
    // Across slots, what is given back a moment later may refuse somebody meanwhile: never lets through.
    assert!((230..=250).contains(&passed), "{passed}");
    // What was refused by one of them cost nothing at the others.
    let mut spent = 0;
    for user in users {
        // A node that knows of no refusal.
        let look = Take { cost: 0, ..Take::one(own, Subject::Caller(user)) };
        spent += 100 - nodes[0].take(&[look]).await.remaining;
    }
    assert_eq!(spent, passed);
    let look = Take { cost: 0, ..Take::one(all, Subject::Organization(organization)) };
    assert_eq!(250 - nodes[0].take(&[look]).await.remaining, passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_comes_back_by_the_servers_time() {
    let Some(redis) = Redis::start_own_or_skip("a_limit_comes_back_by_the_servers_time").unwrap() else { return };
    let node = Node::at(&at(redis.url()), &LimitConfig::default()).await;
    let limit = Policy::new("fast", Rate::new(3, Duration::from_secs(1), Some(2)).unwrap());
    let take = [Take::one(limit, Subject::Other("key"))];
    let begun = Instant::now();
    assert!(node.take(&take).await.allowed && node.take(&take).await.allowed);
    until("the next request to pass", async || node.take(&take).await.allowed).await;
    assert!(begun.elapsed() >= Duration::from_millis(250), "a third of a second: {:?}", begun.elapsed());
    until("the key to go when its burst is there again", async || {
        redis.cli(&["KEYS", "authv2:limit:*"]).unwrap().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_redis_learns_no_address() {
    let Some(redis) = Redis::start_own_or_skip("whoever_reads_redis_learns_no_address").unwrap() else { return };
    let node = Node::at(&at(redis.url()), &LimitConfig::default()).await;
    let limit = policy("p", 5, HOURS);
    let (organization, key) = (OrgId::new(), KeyId::new());
    let network = Subject::Network("192.0.2.7/32".parse().unwrap());
    for subject in [network, Subject::Caller("ada@example.org"), Subject::ApiKey(organization, key)] {
        node.take(&[Take::one(limit, subject)]).await;
    }
    let names = redis.cli(&["KEYS", "*"]).unwrap();
    assert_eq!(names.lines().count(), 3, "{names}");
    assert!(names.contains(&format!("authv2:limit:{{{organization}}}:")), "{names}");
    assert!(!names.contains("192.0.2") && !names.contains("ada") && !names.contains(&key.to_string()), "{names}");
    for name in names.lines() {
        let bytes: u32 = redis.cli(&["MEMORY", "USAGE", name]).unwrap().parse().unwrap();
        assert!(bytes <= 200, "{name}: {bytes} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_limit_while_redis_is_dead_and_one_burst_more_when_it_comes_back_empty() {
    let test = "there_is_a_limit_while_redis_is_dead_and_one_burst_more_when_it_comes_back_empty";
    let Some(mut redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let config = RedisConfig { timeout: Duration::from_millis(250), ..at(redis.url()) };
    let nodes = three(&config, &LimitConfig::default()).await;
    let limit = policy("outage", 400, HOURS);
    let take = |_| vec![Take::one(limit, Subject::Everybody)];
    let fresh = policy("fresh", 400, HOURS);
    assert_eq!(storm(&nodes, 30, 5, take).await, 150);
    redis.kill_9().unwrap();
    for node in &nodes {
        node.is_cut_off().await;
    }
    // A quarter of what is left, as far as each of them knows.
    let passed = storm(&nodes, 64, 30, take).await;
    assert!((180..240).contains(&passed), "{passed}");
    let passed = storm(&nodes, 64, 30, |_| vec![Take::one(fresh, Subject::Everybody)]).await;
    assert_eq!(passed, 3 * 100, "a quarter on each node, and no more");
    let refused = nodes[0].limiter.take(&[Take::one(fresh, Subject::Everybody)], Outage::Refuse).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    redis.restart().unwrap();
    for node in &nodes {
        until("Redis to be used again", async || node.cache.ping().await).await;
    }
    let passed = storm(&nodes, 64, 30, take).await;
    assert!(passed <= 400, "one burst more: {passed}");
    assert!(passed >= 390, "{passed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_redis_in_the_middle_lets_through_one_burst_more_and_the_shares_at_most() {
    let test = "killing_redis_in_the_middle_lets_through_one_burst_more_and_the_shares_at_most";
    let Some(mut redis) = Redis::start_own_or_skip(test).unwrap() else { return };
    let config = RedisConfig { timeout: Duration::from_millis(250), ..at(redis.url()) };
    let nodes = three(&config, &LimitConfig::default()).await;
    let limit = policy("middle", 2_000, HOURS);
    let running = {
        let nodes = nodes.clone();
        tokio::spawn(async move { storm(&nodes, 64, 200, |_| vec![Take::one(limit, Subject::Everybody)]).await })
    };
    until("some requests", async || calls(&redis) > 300).await;
    redis.kill_9().unwrap();
    nodes[0].is_cut_off().await;
    redis.restart().unwrap();
    let passed = running.await.unwrap() + storm(&nodes, 64, 200, |_| vec![Take::one(limit, Subject::Everybody)]).await;
    assert!(passed <= 2 * 2_000 + 3 * 500, "{passed}");
    assert!(passed >= 1_000, "{passed}");
}
