//! Quotas: drawn in blocks by many at once, never over, in windows of the organization's time zone.

use std::time::Duration;

use super::{
    Case,
    act::{DAY, HOUR, Random, act, at},
    api_key::new_key,
    room,
    tenant::{Founded, written},
    world::{World, at_once},
};
use crate::{
    calendar::Span,
    clock::Timestamp,
    id::{KeyId, OrgId},
    store::{KeyQuota, OrganizationChange, QuotaBlock, QuotaDraw, QuotaPeriod, QuotaReturn},
};

pub(super) const CASES: &[Case] = room!["quota":
    gives_out_what_there_is_and_no_more,
    gives_out_no_more_to_many_at_once,
    begins_anew_with_each_day_of_the_organization,
    a_clock_that_was_ahead_holds_nobody_up,
    finishes_a_window_whatever_becomes_of_the_time_zone,
    counts_a_month_apart_from_a_day,
    takes_back_what_was_not_served_in_its_window_only,
    knows_no_key_that_has_gone_or_is_of_another,
    agrees_with_a_naive_model,
];

/// 2023-11-15T00:00 in Vienna, where the organizations of these tests are.
const MIDNIGHT: u64 = 2_800;

pub(super) const fn per_day(requests: u64) -> KeyQuota {
    KeyQuota { requests, period: QuotaPeriod::Day }
}

/// A key of an organization of its own.
struct Keyed {
    founded: Founded,
    key: KeyId,
}

impl Keyed {
    async fn of(world: &World, slug: &str) -> Self {
        let founded = world.found(slug).await;
        let key = founded.key(new_key(founded.id, founded.owner, 1)).await.id;
        Self { founded, key }
    }

    fn drawn(&self, quota: KeyQuota, wanted: u64, now: Timestamp) -> QuotaDraw {
        QuotaDraw { organization: self.founded.id, key: self.key, quota, wanted, now }
    }

    async fn draw(&self, quota: KeyQuota, wanted: u64, now: Timestamp) -> QuotaBlock {
        let block = self.founded.world.store().draw_quota(self.drawn(quota, wanted, now)).await.unwrap();
        block.expect("the key must be there")
    }

    async fn give_back(&self, block: QuotaBlock, units: u64) {
        let returned = QuotaReturn { organization: self.founded.id, key: self.key, window: block.window, units };
        self.founded.world.store().return_quota(vec![returned]).await.unwrap();
    }
}

async fn gives_out_what_there_is_and_no_more(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let first = keyed.draw(per_day(1_000), 1, at(0)).await;
    assert_eq!(
        first,
        QuotaBlock {
            units: 10,
            window: Span { start: at(0) - Duration::from_secs(DAY - MIDNIGHT), end: at(MIDNIGHT) }
        }
    );
    let mut sum = first.units;
    for draws in 1.. {
        let block = keyed.draw(per_day(1_000), 1, at(1)).await;
        assert_eq!(block.window, first.window);
        sum += block.units;
        if block.units == 0 {
            assert!(draws > 100, "the last ones come one by one");
            break;
        }
    }
    assert_eq!(sum, 1_000);
    assert_eq!(keyed.draw(per_day(1_000), 5, at(2)).await.units, 0);
    assert_eq!(keyed.draw(per_day(1_003), 5, at(2)).await.units, 3, "it was raised");
    assert_eq!(keyed.draw(per_day(7), 5, at(2)).await.units, 0, "it was lowered below what is drawn");
}

async fn gives_out_no_more_to_many_at_once(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let drawn = at_once(64, |_| {
        let (world, draw) = (world.clone(), keyed.drawn(per_day(500), 1, at(0)));
        async move {
            let mut sum = 0;
            loop {
                match world.store().draw_quota(draw).await.unwrap().unwrap().units {
                    0 => return sum,
                    units => sum += units,
                }
            }
        }
    })
    .await;
    assert_eq!(drawn.into_iter().sum::<u64>(), 500);
}

async fn begins_anew_with_each_day_of_the_organization(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let last = at(MIDNIGHT) - Duration::from_micros(1);
    assert_eq!(keyed.draw(per_day(5), 9, last).await.units, 5);
    assert_eq!(keyed.draw(per_day(5), 9, last).await.units, 0);
    let next = keyed.draw(per_day(5), 9, at(MIDNIGHT)).await;
    assert_eq!(next, QuotaBlock { units: 5, window: Span { start: at(MIDNIGHT), end: at(MIDNIGHT + DAY) } });
    // A node whose clock is behind draws of the window that has begun.
    assert_eq!(keyed.draw(per_day(5), 9, last).await, QuotaBlock { units: 0, ..next });
}

async fn a_clock_that_was_ahead_holds_nobody_up(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let ahead = keyed.draw(per_day(5), 9, at(400 * DAY)).await;
    assert_eq!(ahead.units, 5);
    let block = keyed.draw(per_day(5), 9, at(0)).await;
    let window = Span { start: at(0) - Duration::from_secs(DAY - MIDNIGHT), end: at(MIDNIGHT) };
    assert_eq!(block, QuotaBlock { units: 5, window });
    assert_eq!(keyed.draw(per_day(5), 9, at(1)).await, QuotaBlock { units: 0, window });
}

async fn finishes_a_window_whatever_becomes_of_the_time_zone(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let before = keyed.draw(per_day(5), 9, at(0)).await;
    let change = OrganizationChange { time_zone: Some("Asia/Tokyo".to_owned()), ..OrganizationChange::default() };
    world.store().update_organization(keyed.founded.id, change, act("organization.updated", at(1))).await.unwrap();
    assert_eq!(keyed.draw(per_day(5), 9, at(2)).await, QuotaBlock { units: 0, window: before.window });
    // 2023-11-15 in Tokyo began eight hours before it did in Vienna.
    let after = keyed.draw(per_day(5), 9, at(MIDNIGHT)).await;
    let window = Span { start: at(MIDNIGHT) - Duration::from_secs(8 * HOUR), end: at(MIDNIGHT + 16 * HOUR) };
    assert_eq!(after, QuotaBlock { units: 5, window });
}

async fn counts_a_month_apart_from_a_day(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let monthly = KeyQuota { requests: 50, period: QuotaPeriod::Month };
    assert_eq!(keyed.draw(per_day(5), 9, at(0)).await.units, 5);
    let month = keyed.draw(monthly, 50, at(0)).await;
    // November in Vienna.
    let start = at(MIDNIGHT) - Duration::from_secs(14 * DAY);
    assert_eq!(month, QuotaBlock { units: 50, window: Span { start, end: start + Duration::from_secs(30 * DAY) } });
    assert_eq!(keyed.draw(monthly, 1, at(MIDNIGHT)).await.units, 0);
    assert_eq!(keyed.draw(per_day(5), 9, at(MIDNIGHT)).await.units, 5);
}

async fn takes_back_what_was_not_served_in_its_window_only(world: World) {
    let keyed = Keyed::of(&world, "acme").await;
    let block = keyed.draw(per_day(5), 5, at(0)).await;
    keyed.give_back(block, 2).await;
    assert_eq!(keyed.draw(per_day(5), 9, at(1)).await.units, 2);
    keyed.give_back(block, 6).await;
    assert_eq!(keyed.draw(per_day(5), 9, at(1)).await.units, 0, "more than was ever drawn");
    let next = keyed.draw(per_day(5), 5, at(MIDNIGHT)).await;
    keyed.give_back(block, 5).await;
    assert_eq!(keyed.draw(per_day(5), 9, at(MIDNIGHT)).await.units, 0, "of a window that is over");
    keyed.give_back(next, 1).await;
    assert_eq!(keyed.draw(per_day(5), 9, at(MIDNIGHT)).await.units, 1);
}

async fn knows_no_key_that_has_gone_or_is_of_another(world: World) {
    let (acme, other) = (Keyed::of(&world, "acme").await, Keyed::of(&world, "other").await);
    let draw = |organization: OrgId, key: KeyId| {
        let (world, draw) = (world.clone(), QuotaDraw { organization, key, ..acme.drawn(per_day(5), 5, at(0)) });
        async move { world.store().draw_quota(draw).await.unwrap() }
    };
    assert_eq!(draw(acme.founded.id, other.key).await, None);
    assert_eq!(draw(OrgId::new(), acme.key).await, None);
    let block = draw(acme.founded.id, acme.key).await.unwrap();
    let foreign = QuotaReturn { organization: other.founded.id, key: acme.key, window: block.window, units: 5 };
    world.store().return_quota(vec![foreign]).await.unwrap();
    assert_eq!(acme.draw(per_day(5), 5, at(0)).await.units, 0);
    let told = act("api_key.deleted", at(2));
    written(world.store().delete_api_key(acme.founded.now().await, acme.key, told).await.unwrap());
    assert_eq!(draw(acme.founded.id, acme.key).await, None);
    acme.give_back(block, 1).await;
}

/// One counter a window, and nothing else.
async fn agrees_with_a_naive_model(world: World) {
    const QUOTA: u64 = 40;
    let keyed = Keyed::of(&world, "acme").await;
    let mut random = Random::seeded(11);
    let (mut now, mut day, mut left, mut held) = (0, 0, QUOTA, Vec::<QuotaBlock>::new());
    for _ in 0..300 {
        now += random.below(2 * HOUR);
        let today = (now + DAY - MIDNIGHT) / DAY;
        if today != day {
            (day, left) = (today, QUOTA);
            held.clear();
        }
        if random.below(4) == 0 && !held.is_empty() {
            let block = held.swap_remove(random.index(held.len()));
            let units = random.below(block.units + 1);
            keyed.give_back(block, units).await;
            left += units;
        } else {
            let wanted = random.below(6);
            let block = keyed.draw(per_day(QUOTA), wanted, at(now)).await;
            assert_eq!(block.units, wanted.max(1).min(left), "after {now} s");
            left -= block.units;
            held.push(block);
        }
    }
}
