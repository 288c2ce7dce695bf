//! Uses of keys: added once, by hours and days of the organization's time zone, made smaller as they grow old.

use std::{collections::BTreeMap, time::Duration};

use uuid::Uuid;

use super::{
    Case,
    act::{DAY, HOUR, MINUTE, Random, act, at},
    api_key::new_key,
    hang_up::{Prepare, Trial},
    hang_up_verbs::trial,
    room,
    tenant::{Founded, written},
    world::{World, at_once},
};
use crate::{
    calendar::Span,
    clock::Timestamp,
    id::{KeyId, OrgId},
    store::{KeyCount, KeyUsageBatch, KeyUsageBefore, KeyUsageRow, Uses},
};

pub(super) const CASES: &[Case] = room!["key_usage":
    adds_a_batch_once_however_often_it_is_sent,
    adds_up_what_many_nodes_counted_at_once,
    counts_by_the_hours_of_the_organization,
    tells_what_began_in_a_span,
    leaves_out_keys_that_have_gone,
    tells_nothing_of_another_organization,
    adds_old_hours_up_by_day_and_removes_old_days,
    tends_every_key_there_is,
    forgets_batches_that_nobody_sends_again,
];

/// Verbs that can be performed any number of times on one store.
pub(super) const REPEATABLE: &[(&str, Prepare)] = &[("add_key_usage", |world, round| Box::pin(add_one(world, round)))];

async fn add_one(world: World, round: usize) -> Trial {
    let (of, key) = keyed(&world, &format!("count-{round}")).await;
    let later = at(MIDNIGHT + DAY);
    let counts = vec![counted(of.id, key, at(MIDNIGHT), "orders", ONE), counted(of.id, key, later, "orders", ONE)];
    let store = world.store().clone();
    let verb = async move { store.add_key_usage(batch(counts)).await.unwrap() };
    trial(&world, None, vec![], verb, move |store| async move {
        let span = Span { start: at(0), end: at(9 * DAY) };
        let found = store.key_usage(of.id, key, span).await.unwrap();
        [at(MIDNIGHT), later].map(|start| ("hour", found.iter().any(|row| row.start == start))).into()
    })
}

/// 2023-11-15T00:00 in Vienna, where the organizations of these tests are.
const MIDNIGHT: u64 = 2_800;
const ONE: Uses = Uses { allowed: 1, denied: 0, rate_limited: 0 };

async fn keyed(world: &World, slug: &str) -> (Founded, KeyId) {
    let founded = world.found(slug).await;
    let key = founded.key(new_key(founded.id, founded.owner, 1)).await.id;
    (founded, key)
}

fn counted(organization: OrgId, key: KeyId, quarter: Timestamp, route: &'static str, uses: Uses) -> KeyCount {
    KeyCount { organization, key, quarter, route, uses }
}

fn batch(counts: Vec<KeyCount>) -> KeyUsageBatch {
    KeyUsageBatch { id: Uuid::now_v7(), at: at(0), counts }
}

async fn add(world: &World, counts: Vec<KeyCount>) {
    world.store().add_key_usage(batch(counts)).await.unwrap();
}

async fn usage(world: &World, organization: OrgId, key: KeyId) -> Vec<KeyUsageRow> {
    let span = Span { start: Timestamp::from_seconds(0), end: at(9_999 * DAY) };
    world.store().key_usage(organization, key, span).await.unwrap()
}

async fn sum(world: &World, organization: OrgId, key: KeyId) -> Uses {
    let mut sum = Uses::default();
    usage(world, organization, key).await.into_iter().for_each(|row| sum += row.uses);
    sum
}

fn nothing() -> KeyUsageBefore {
    let long_ago = Timestamp::from_seconds(0);
    KeyUsageBefore { hours: long_ago, days: long_ago, batches: long_ago }
}

async fn tend(world: &World, before: KeyUsageBefore) {
    let mut after = None;
    for _ in 0..100 {
        after = world.store().tend_key_usage(after, before).await.unwrap();
        if after.is_none() {
            return;
        }
    }
    panic!("tending does not come to an end");
}

async fn adds_a_batch_once_however_often_it_is_sent(world: World) {
    let (acme, key) = keyed(&world, "acme").await;
    let uses = Uses { allowed: 5, denied: 3, rate_limited: 2 };
    let sent = batch(vec![counted(acme.id, key, at(MIDNIGHT), "orders", uses)]);
    at_once(8, |_| {
        let (world, sent) = (world.clone(), sent.clone());
        async move { world.store().add_key_usage(sent).await.unwrap() }
    })
    .await;
    world.store().add_key_usage(sent).await.unwrap();
    assert_eq!(usage(&world, acme.id, key).await, [KeyUsageRow { start: at(MIDNIGHT), uses }]);
}

async fn adds_up_what_many_nodes_counted_at_once(world: World) {
    let (acme, one) = keyed(&world, "acme").await;
    let other = acme.key(new_key(acme.id, acme.owner, 2)).await.id;
    at_once(16, |node| {
        let (world, organization) = (world.clone(), acme.id);
        async move {
            for round in 0..10 {
                let quarter = at(MIDNIGHT + 15 * MINUTE * (round % 3));
                let mut counts: Vec<_> =
                    [one, other].map(|key| counted(organization, key, quarter, "orders", ONE)).into();
                if node % 2 == 0 {
                    counts.reverse();
                }
                add(&world, counts).await;
            }
        }
    })
    .await;
    for key in [one, other] {
        assert_eq!(sum(&world, acme.id, key).await, Uses { allowed: 160, ..Uses::default() });
    }
}

async fn counts_by_the_hours_of_the_organization(world: World) {
    let (acme, key) = keyed(&world, "acme").await;
    let minutes = |minutes: u64| at(MIDNIGHT + minutes * MINUTE);
    for (quarter, route) in [(0, "orders"), (45, "orders"), (45, "other"), (60, "orders"), (61, "orders")] {
        add(&world, vec![counted(acme.id, key, minutes(quarter), route, ONE)]).await;
    }
    let row = |start, allowed| KeyUsageRow { start, uses: Uses { allowed, ..Uses::default() } };
    assert_eq!(usage(&world, acme.id, key).await, [row(minutes(0), 3), row(minutes(60), 2)]);

    let (kathmandu, key) = keyed(&world, "kathmandu").await;
    let change =
        crate::store::OrganizationChange { time_zone: Some("Asia/Kathmandu".to_owned()), ..Default::default() };
    world.store().update_organization(kathmandu.id, change, act("organization.updated", at(1))).await.unwrap();
    // 04:45 there.
    for quarter in [0, 14, 15] {
        add(&world, vec![counted(kathmandu.id, key, minutes(quarter), "orders", ONE)]).await;
    }
    assert_eq!(
        usage(&world, kathmandu.id, key).await,
        [row(minutes(0) - Duration::from_secs(45 * MINUTE), 2), row(minutes(15), 1)]
    );
}

async fn tells_what_began_in_a_span(world: World) {
    let (acme, key) = keyed(&world, "acme").await;
    for hour in 0..5 {
        add(&world, vec![counted(acme.id, key, at(MIDNIGHT + hour * HOUR), "orders", ONE)]).await;
    }
    let span = Span { start: at(MIDNIGHT + HOUR), end: at(MIDNIGHT + 3 * HOUR) };
    let found = world.store().key_usage(acme.id, key, span).await.unwrap();
    assert_eq!(found.iter().map(|row| row.start).collect::<Vec<_>>(), [1, 2].map(|hour| at(MIDNIGHT + hour * HOUR)));
}

async fn leaves_out_keys_that_have_gone(world: World) {
    let (acme, key) = keyed(&world, "acme").await;
    let gone = acme.key(new_key(acme.id, acme.owner, 2)).await.id;
    add(&world, vec![counted(acme.id, gone, at(0), "orders", ONE)]).await;
    let told = act("api_key.deleted", at(2));
    written(world.store().delete_api_key(acme.now().await, gone, told).await.unwrap());
    let counts = [key, gone, KeyId::new()].map(|key| counted(acme.id, key, at(0), "orders", ONE));
    add(&world, counts.into()).await;
    assert_eq!(sum(&world, acme.id, key).await, ONE);
    assert_eq!(usage(&world, acme.id, gone).await, []);
}

async fn tells_nothing_of_another_organization(world: World) {
    let ((acme, key), (other, theirs)) = (keyed(&world, "acme").await, keyed(&world, "other").await);
    let counts = vec![counted(acme.id, key, at(0), "orders", ONE), counted(acme.id, theirs, at(0), "orders", ONE)];
    add(&world, counts).await;
    assert_eq!(usage(&world, other.id, key).await, []);
    assert_eq!((sum(&world, other.id, theirs).await, sum(&world, acme.id, theirs).await), Default::default());
    assert_eq!(sum(&world, acme.id, key).await, ONE);
}

async fn adds_old_hours_up_by_day_and_removes_old_days(world: World) {
    let (acme, key) = keyed(&world, "acme").await;
    let mut random = Random::seeded(5);
    let mut days = BTreeMap::<u64, i64>::new();
    for _ in 0..60 {
        let (day, hour) = (random.below(10), random.below(24));
        let route = ["orders", "other"][random.index(2)];
        add(&world, vec![counted(acme.id, key, at(MIDNIGHT + day * DAY + hour * HOUR), route, ONE)]).await;
        *days.entry(day).or_default() += 1;
    }
    let (all, today) = (usage(&world, acme.id, key).await, at(MIDNIGHT + 6 * DAY));
    tend(&world, KeyUsageBefore { hours: today, ..nothing() }).await;
    let tended = usage(&world, acme.id, key).await;
    let by_day = |rows: &[KeyUsageRow]| {
        let mut found = BTreeMap::<u64, i64>::new();
        for row in rows {
            *found.entry(row.start.since(at(MIDNIGHT)).as_secs() / DAY).or_default() += row.uses.allowed;
        }
        found
    };
    assert_eq!((by_day(&all), by_day(&tended)), (days.clone(), days.clone()));
    assert!(
        tended.iter().filter(|row| row.start < today).all(|row| row.start.since(at(MIDNIGHT)).as_secs() % DAY == 0)
    );
    assert!(all.iter().filter(|row| row.start >= today).all(|row| tended.contains(row)), "what is young stays");
    // What comes late to a day that was added up is added to it when the next turn comes.
    add(&world, vec![counted(acme.id, key, at(MIDNIGHT + HOUR), "orders", ONE)]).await;
    *days.entry(0).or_default() += 1;
    tend(&world, KeyUsageBefore { hours: today, ..nothing() }).await;
    let tended = usage(&world, acme.id, key).await;
    assert_eq!(by_day(&tended), days);
    tend(&world, KeyUsageBefore { hours: today, days: at(MIDNIGHT + 2 * DAY), ..nothing() }).await;
    days.retain(|day, _| *day >= 2);
    assert_eq!(by_day(&usage(&world, acme.id, key).await), days);
}

async fn tends_every_key_there_is(world: World) {
    let acme = world.found("acme").await;
    let mut keys = Vec::new();
    for _ in 0..130 {
        keys.push(acme.key(new_key(acme.id, acme.owner, 1)).await.id);
    }
    for part in keys.chunks(50) {
        let two_hours = |key: &KeyId| [0, HOUR].map(|hour| counted(acme.id, *key, at(MIDNIGHT + hour), "orders", ONE));
        add(&world, part.iter().flat_map(two_hours).collect()).await;
    }
    tend(&world, KeyUsageBefore { hours: at(MIDNIGHT + DAY), ..nothing() }).await;
    for key in keys {
        let uses = Uses { allowed: 2, ..Uses::default() };
        assert_eq!(usage(&world, acme.id, key).await, [KeyUsageRow { start: at(MIDNIGHT), uses }]);
    }
}

async fn forgets_batches_that_nobody_sends_again(world: World) {
    let (acme, key) = keyed(&world, "acme").await;
    let sent = batch(vec![counted(acme.id, key, at(0), "orders", ONE)]);
    world.store().add_key_usage(sent.clone()).await.unwrap();
    tend(&world, nothing()).await;
    world.store().add_key_usage(sent.clone()).await.unwrap();
    assert_eq!(sum(&world, acme.id, key).await, ONE, "it is known still");
    tend(&world, KeyUsageBefore { batches: at(1), ..nothing() }).await;
    world.store().add_key_usage(sent).await.unwrap();
    assert_eq!(sum(&world, acme.id, key).await.allowed, 2);
}
