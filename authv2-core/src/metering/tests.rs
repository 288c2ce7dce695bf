//! Meters of several nodes over one store: exact, drawn for together, and nothing counted twice or lost.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::{FutureExt as _, future::join_all};

use super::*;
use crate::{
    audit::{Act, Actor, Origin},
    calendar::Span,
    id::{MemberId, RoleId, UserId},
    secret::SecretHash,
    store::{
        ApiKeyRecord, AtRevision, Intercepted, Interceptor, KeyUsageBatch, Named, NewApiKey, NewOrganization, NewRole,
        NewUser, QuotaPeriod, Revised, Uses,
        sql::{SqlOptions, SqlStore},
    },
    testing::counting::Counter,
};

/// Noon in UTC.
const NOON: Timestamp = Timestamp::from_seconds(1_700_049_600);
const ORDERS: RouteClass = RouteClass::new("orders");

fn per_day(requests: u64) -> KeyQuota {
    KeyQuota { requests, period: QuotaPeriod::Day }
}

fn act() -> Act {
    Act::new("test.made", Actor::System, NOON, &Origin::default())
}

async fn open(url: &str) -> (SharedStore, Feed) {
    let feed = Feed::new();
    let store = SqlStore::open(&SqlOptions::new(url.to_owned()), feed.clone()).await.unwrap();
    store.migrate().await.unwrap();
    (Arc::new(store), feed)
}

/// An organization in UTC with a key.
async fn key(store: &SharedStore) -> (OrgId, KeyId) {
    let owner = UserId::new();
    let (email, email_key) = (format!("{owner}@example.test"), format!("{owner}@example.test"));
    let user = NewUser {
        id: owner,
        email,
        email_key,
        display_name: None,
        password_hash: None,
        platform_admin: false,
        count_if_taken: Vec::new(),
    };
    store.create_user(user, act()).await.unwrap();
    let role = NewRole {
        id: RoleId::new(),
        name: "owner".to_owned(),
        description: None,
        grants: "[]".to_owned(),
        inherits: Vec::new(),
        builtin: true,
    };
    let id = OrgId::new();
    let new = NewOrganization {
        id,
        slug: format!("o-{id}"),
        name: "Acme".to_owned(),
        time_zone: "UTC".to_owned(),
        owner_role: role.id,
        roles: vec![role],
        owner,
    };
    let Named::New(organization) = store.create_organization(new, act()).await.unwrap() else { panic!("it is new") };
    let key = ApiKeyRecord {
        id: KeyId::new(),
        organization: id,
        member: MemberId::from(owner),
        store: None,
        name: "nightly".to_owned(),
        environment: "live".to_owned(),
        scopes: vec!["*".to_owned()],
        allowed_ips: Vec::new(),
        rate_limit: None,
        quota: None,
        metadata: serde_json::Map::new(),
        created_at: NOON,
        expires_at: None,
        last_used_at: None,
        last_used_ip: None,
    };
    let (key_id, secret) = (key.id, SecretHash::of(id.to_string().as_bytes()));
    let at = AtRevision { organization: id, revision: organization.revision };
    let made = store.create_api_key(at, NewApiKey { key, secret, max_per_organization: 1 }, act()).await.unwrap();
    assert!(matches!(made, Revised::Done { .. }), "{made:?}");
    (id, key_id)
}

/// A node: its meters, and the one of the key.
struct Node {
    metering: Arc<Metering>,
    meter: Arc<Meter>,
}

impl Node {
    fn of(store: &SharedStore, feed: &Feed, (organization, key): (OrgId, KeyId)) -> Self {
        let metering = Arc::new(Metering::new(Arc::clone(store), feed));
        let meter = metering.meter(organization, key);
        Self { metering, meter }
    }

    async fn ask(&self, quota: KeyQuota, now: Timestamp) -> Verdict {
        match self.meter.at_hand(quota, now) {
            Some(verdict) => verdict,
            None => self.metering.draw(&self.meter, quota, now).await.unwrap(),
        }
    }

    /// Asks until it is refused; how often it was granted.
    async fn use_up(&self, quota: KeyQuota, now: Timestamp) -> u64 {
        let mut granted = 0;
        while self.ask(quota, now).await == Verdict::Granted {
            granted += 1;
        }
        granted
    }
}

fn day() -> Span {
    let start = Timestamp::from_seconds(1_700_006_400);
    Span { start, end: start + Duration::from_secs(86_400) }
}

async fn counted(store: &SharedStore, (organization, key): (OrgId, KeyId)) -> Uses {
    let mut sum = Uses::default();
    store.key_usage(organization, key, day()).await.unwrap().into_iter().for_each(|row| sum += row.uses);
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grants_exactly_the_quota_to_many_at_once() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let node = Arc::new(Node::of(&store, &feed, key));
    let callers = (0..64).map(|_| {
        let node = Arc::clone(&node);
        tokio::spawn(async move { node.use_up(per_day(1_000), NOON).await })
    });
    let granted: u64 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(granted, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_nodes_grant_no_more_and_all_of_it_in_the_end() {
    let (store, _) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let nodes: Vec<_> = (0..3).map(|_| Arc::new(Node::of(&store, &Feed::new(), key))).collect();
    let callers = nodes
        .iter()
        .cycle()
        .take(48)
        .cloned()
        .map(|node| tokio::spawn(async move { node.use_up(per_day(2_000), NOON).await }));
    let granted: u64 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
    assert!((1_980..=2_000).contains(&granted), "{granted}");
    // What a node that ends has not served, the others serve.
    for node in &nodes[1..] {
        node.metering.close(NOON).await.unwrap();
    }
    let later = NOON + Duration::from_secs(10);
    assert_eq!(granted + nodes[0].use_up(per_day(2_000), later).await, 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn those_who_wait_are_drawn_for_together() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let counter = Arc::new(Counter::default());
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&counter)));
    let node = Arc::new(Node::of(&store, &feed, key));
    // Blocks of one: none of them would do for a second caller.
    let quota = per_day(64);
    let turn = Arc::clone(&node.meter.allowance.drawing).lock_owned().await;
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.ask(quota, NOON).await })
        })
        .collect();
    while node.meter.allowance.wanted() < 64 {
        tokio::task::yield_now().await;
    }
    drop(turn);
    assert!(join_all(callers).await.into_iter().all(|asked| asked.unwrap() == Verdict::Granted));
    assert_eq!(counter.take().get("draw_quota"), Some(&1));
    assert_eq!(node.ask(quota, NOON).await.clone(), node.ask(quota, NOON).await);
    assert_eq!(counter.take().get("draw_quota"), Some(&1), "a refusal is at hand, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn begins_anew_at_midnight_of_the_organization() {
    let (store, feed) = open("sqlite::memory:").await;
    let node = Node::of(&store, &feed, key(&store).await);
    let quota = per_day(5);
    assert_eq!(node.use_up(quota, NOON).await, 5);
    let last = Timestamp::from_micros(day().end.as_micros() - 1);
    assert_eq!(node.use_up(quota, last).await, 0);
    assert_eq!(node.use_up(quota, day().end).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_takes_nothing_with_it() {
    let (store, feed) = open("sqlite::memory:").await;
    let node = Node::of(&store, &feed, key(&store).await);
    let quota = per_day(300);
    let mut granted = 0;
    for _ in 0..20 {
        // Polled once: it is answered, or under way and given up.
        if let Some(verdict) = node.metering.draw(&node.meter, quota, NOON).now_or_never() {
            assert_eq!(verdict.unwrap(), Verdict::Granted);
            granted += 1;
        }
        // Whoever comes next waits for the same draw.
        assert_eq!(node.ask(quota, NOON).await, Verdict::Granted);
        granted += 1;
    }
    assert!(granted < 40, "some were given up");
    assert_eq!(granted + node.use_up(quota, NOON).await, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_quota_holds_at_once_and_a_key_that_has_gone_is_gone() {
    let (store, feed) = open("sqlite::memory:").await;
    let (organization, key) = key(&store).await;
    let node = Node::of(&store, &feed, (organization, key));
    assert_eq!(node.ask(per_day(1_000), NOON).await, Verdict::Granted);
    assert_eq!(node.use_up(per_day(5), NOON).await, 4, "what was drawn and not served is drawn anew");
    assert_eq!(node.use_up(per_day(7), NOON).await, 2);
    let name = crate::store::OrganizationName::Id(organization);
    let revision = store.organization(&name).await.unwrap().unwrap().revision;
    store.delete_api_key(AtRevision { organization, revision }, key, act()).await.unwrap();
    assert_eq!(node.ask(per_day(1_000), NOON).await, Verdict::Gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_used_gives_back_after_a_minute() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let (node, other) = (Node::of(&store, &feed, key), Node::of(&store, &feed, key));
    assert_eq!(node.ask(per_day(1_000), NOON).await, Verdict::Granted);
    node.meter.count(ORDERS, Outcome::Allowed, NOON, None);
    node.metering.write_behind(NOON + Duration::from_secs(59)).await.unwrap();
    assert_eq!(other.use_up(per_day(1_000), NOON).await, 990);
    node.metering.write_behind(NOON + Duration::from_secs(60)).await.unwrap();
    assert_eq!(other.use_up(per_day(1_000), NOON + Duration::from_secs(60)).await, 9);
}

/// Lets writes of some verb through to the store and says that they failed.
#[derive(Debug, Default)]
struct Unheard {
    verb: Mutex<&'static str>,
    refused: AtomicUsize,
}

impl Interceptor for Unheard {
    async fn around<T: Send>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let answer = call.await;
        if *lock(&self.verb) == verb {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::unavailable("the test says so"));
        }
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_verdict_and_costs_nobody_more_than_a_block() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let unheard = Arc::new(Unheard::default());
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&unheard)));
    let node = Node::of(&store, &feed, key);
    *lock(&unheard.verb) = "draw_quota";
    assert!(node.metering.draw(&node.meter, per_day(1_000), NOON).await.unwrap_err().is_outage());
    *lock(&unheard.verb) = "";
    assert_eq!(node.use_up(per_day(1_000), NOON).await, 990);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_without_an_answer_is_not_given_back_again() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let unheard = Arc::new(Unheard::default());
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&unheard)));
    let (node, other) = (Node::of(&store, &feed, key), Node::of(&store, &feed, key));
    assert_eq!(node.ask(per_day(1_000), NOON).await, Verdict::Granted);
    *lock(&unheard.verb) = "return_quota";
    node.metering.close(NOON).await.unwrap();
    node.metering.close(NOON).await.unwrap();
    assert_eq!(unheard.refused.load(Ordering::SeqCst), 1);
    assert_eq!(other.use_up(per_day(1_000), NOON).await, 999);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_without_an_answer_is_not_counted_again() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let unheard = Arc::new(Unheard::default());
    let heard = Arc::clone(&store);
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&unheard)));
    let node = Node::of(&store, &feed, key);
    let mut served = 0;
    for round in 0..10 {
        *lock(&unheard.verb) = if round % 3 == 2 { "" } else { "add_key_usage" };
        for _ in 0..7 {
            node.meter.count(ORDERS, Outcome::Allowed, NOON, None);
            served += 1;
        }
        let _ = node.metering.write_behind(NOON).await;
    }
    *lock(&unheard.verb) = "";
    node.metering.close(NOON).await.unwrap();
    assert_eq!(counted(&heard, key).await, Uses { allowed: served, ..Uses::default() });
    assert!(unheard.refused.load(Ordering::SeqCst) > 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sum_is_what_was_served() {
    const EACH: i64 = 2_000;
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let node = Arc::new(Node::of(&store, &feed, key));
    let serving: Vec<_> = [Outcome::Allowed, Outcome::Denied, Outcome::RateLimited, Outcome::Allowed]
        .into_iter()
        .map(|outcome| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                for turn in 0..EACH {
                    let class = if turn % 2 == 0 { ORDERS } else { RouteClass::OTHER };
                    let address = [192, 0, 2, u8::try_from(turn % 200).unwrap()];
                    node.meter.count(class, outcome, NOON + Duration::from_secs(1), Some(address.into()));
                    if turn % 100 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    while !serving.iter().all(tokio::task::JoinHandle::is_finished) {
        node.metering.write_behind(NOON).await.unwrap();
    }
    node.metering.close(NOON).await.unwrap();
    assert_eq!(counted(&store, key).await, Uses { allowed: 2 * EACH, denied: EACH, rate_limited: EACH });
    let (record, _) = store.api_key(key.0, key.1).await.unwrap().unwrap();
    assert_eq!(record.last_used_at, Some(NOON + Duration::from_secs(1)));
    assert!(record.last_used_ip.unwrap().starts_with("192.0.2."));
}

#[tokio::test(flavor = "multi_thread")]
async fn meters_that_nobody_needs_go() {
    let (store, feed) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let node = Node::of(&store, &feed, key);
    node.meter.count(ORDERS, Outcome::Allowed, NOON, None);
    let Node { metering, meter } = node;
    let count = || lock(&metering.meters.by_key).len();
    metering.write_behind(NOON + Duration::from_secs(90)).await.unwrap();
    assert_eq!(count(), 1, "somebody holds it");
    drop(meter);
    metering.write_behind(NOON + Duration::from_secs(90)).await.unwrap();
    assert_eq!((count(), counted(&store, key).await.allowed), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_uses_are_tended_once_a_day_and_by_one_node() {
    let (store, feed) = open("sqlite::memory:").await;
    let counter = Arc::new(Counter::default());
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&counter)));
    let (one, other) = (Metering::new(Arc::clone(&store), &feed), Metering::new(Arc::clone(&store), &feed));
    let kept = (Duration::from_secs(31 * 86_400), Duration::from_secs(400 * 86_400));
    for hour in 0..23 {
        for node in [&one, &other] {
            node.tend(NOON + Duration::from_secs(hour * 3_600), kept).await.unwrap();
        }
    }
    assert_eq!(counter.take().get("tend_key_usage"), Some(&1));
    one.tend(NOON + Duration::from_secs(23 * 3_600), kept).await.unwrap();
    assert_eq!(counter.take().get("tend_key_usage"), Some(&1));
    // A clock that was ahead and is set back.
    one.tend(NOON, kept).await.unwrap();
    assert_eq!(counter.take().get("tend_key_usage"), Some(&1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_old_batch_goes_however_many_there_are() {
    let (store, feed) = open("sqlite::memory:").await;
    let counter = Arc::new(Counter::default());
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&counter)));
    for _ in 0..10_001 {
        let batch = KeyUsageBatch { id: uuid::Uuid::now_v7(), at: NOON, counts: Vec::new() };
        store.add_key_usage(batch).await.unwrap();
    }
    let kept = (Duration::from_secs(31 * 86_400), Duration::from_secs(400 * 86_400));
    Metering::new(Arc::clone(&store), &feed).tend(NOON + 2 * SENT_AGAIN, kept).await.unwrap();
    assert_eq!(counter.take().get("tend_key_usage"), Some(&2), "ten thousand, and the last one");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_give_back_in_writes_of_a_hundred() {
    let (store, feed) = open("sqlite::memory:").await;
    let counter = Arc::new(Counter::default());
    let store: SharedStore = Arc::new(Intercepted::new(store, Arc::clone(&counter)));
    let metering = Metering::new(Arc::clone(&store), &feed);
    let returned = |_| QuotaReturn { organization: OrgId::new(), key: KeyId::new(), window: day(), units: 1 };
    lock(&metering.meters.returns).extend((0..250).map(returned));
    metering.close(NOON).await.unwrap();
    assert_eq!(counter.take().get("return_quota"), Some(&3));
}

/// A naive model of one window: what was granted is never more than the quota, and no less than the quota but what nodes
/// hold that died.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_die_cost_what_they_held_and_no_more() {
    let (store, _) = open("sqlite::memory:").await;
    let key = key(&store).await;
    let (quota, mut granted, mut lost) = (per_day(3_000), 0, 0);
    let mut held = BTreeMap::new();
    for round in 0..40_u64 {
        let node = Node::of(&store, &Feed::new(), key);
        let mut mine = 0;
        for _ in 0..round {
            if node.ask(quota, NOON).await == Verdict::Granted {
                mine += 1;
            }
        }
        granted += mine;
        if round % 2 == 0 {
            // It dies with what it holds.
            lost += node.meter.allowance.take_out().0;
        } else {
            held.insert(round, node);
        }
    }
    for node in held.values() {
        node.metering.close(NOON).await.unwrap();
    }
    let last = Node::of(&store, &Feed::new(), key).use_up(quota, NOON).await;
    assert_eq!(granted + last + lost, 3_000);
}
