//! Counters of failed sign-ins: nothing is lost, windows restart, waits double up to the longest.

use std::time::Duration;

use super::{
    Case,
    act::{act, at, email_of, new_bucket},
    room,
    world::{World, at_once},
};
use crate::{
    clock::Timestamp,
    store::{Attempts, Bucket, BucketRule, SignInQuery},
};

pub(super) const CASES: &[Case] = room!["throttle":
    counts_the_failures_of_a_window,
    starts_over_once_the_window_has_passed,
    blocks_at_the_limit_and_doubles_the_wait_up_to_the_longest,
    keeps_counting_far_beyond_the_limit,
    lifts_no_block_by_another_failure,
    counts_each_bucket_by_its_own_rule,
    loses_no_failure_counted_in_parallel,
    knows_only_counters_that_exist,
    tells_the_user_and_the_counters_of_a_sign_in,
    records_every_failure,
];

fn rule(bucket: Bucket) -> BucketRule {
    BucketRule {
        bucket,
        limit: 3,
        window: Duration::from_secs(600),
        first_wait: Duration::from_secs(10),
        longest_wait: Duration::from_secs(60),
    }
}

async fn fail(world: &World, rules: &[BucketRule], now: Timestamp) {
    world.store().count_failure(rules.to_vec(), act("session.login_failed", now)).await.unwrap();
}

async fn counter(world: &World, bucket: Bucket) -> Attempts {
    let found = world.store().attempts(&[bucket]).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].bucket, bucket);
    found[0]
}

async fn counts_the_failures_of_a_window(world: World) {
    let bucket = new_bucket();
    for (failures, second) in [(1, 10), (2, 300)] {
        fail(&world, &[rule(bucket)], at(second)).await;
        let counter = counter(&world, bucket).await;
        assert_eq!((counter.count, counter.window_start), (failures, at(10)));
        assert!(counter.blocked_until <= at(second), "nobody waits below the limit: {counter:?}");
    }
}

async fn starts_over_once_the_window_has_passed(world: World) {
    let bucket = new_bucket();
    for second in [0, 1, 599] {
        fail(&world, &[rule(bucket)], at(second)).await;
    }
    assert_eq!(counter(&world, bucket).await.count, 3);
    fail(&world, &[rule(bucket)], at(2_000)).await;
    let counter = counter(&world, bucket).await;
    assert_eq!((counter.count, counter.window_start), (1, at(2_000)));
    assert!(counter.blocked_until <= at(2_000), "{counter:?}");
}

async fn blocks_at_the_limit_and_doubles_the_wait_up_to_the_longest(world: World) {
    let bucket = new_bucket();
    for (second, wait) in [(0, 0), (1, 0), (2, 10), (3, 20), (30, 40), (80, 60), (150, 60)] {
        fail(&world, &[rule(bucket)], at(second)).await;
        let blocked_until = counter(&world, bucket).await.blocked_until;
        if wait == 0 {
            assert!(blocked_until <= at(second), "{blocked_until}");
        } else {
            assert_eq!(blocked_until, at(second + wait), "failure at {second}");
        }
    }
}

async fn keeps_counting_far_beyond_the_limit(world: World) {
    let bucket = new_bucket();
    let day = Duration::from_secs(24 * 3600);
    let strict = BucketRule { bucket, limit: 1, window: day, first_wait: Duration::from_secs(1), longest_wait: day };
    for second in 0..100 {
        fail(&world, &[strict], at(second)).await;
        // The first failure waits a second, each one after it twice as long: the 18th would wait 36 hours.
        let wait = if second < 17 { Duration::from_secs(1 << second) } else { day };
        assert_eq!(counter(&world, bucket).await.blocked_until, at(second) + wait, "failure {}", second + 1);
    }
    assert_eq!(counter(&world, bucket).await.count, 100);
}

async fn lifts_no_block_by_another_failure(world: World) {
    // An attempt that was already under way when the block began is counted after the window has ended.
    for limit in [1, 2] {
        let bucket = new_bucket();
        let long = Duration::from_secs(3_600);
        let rule = BucketRule { limit, first_wait: long, longest_wait: long, ..rule(bucket) };
        for second in [0, 599] {
            fail(&world, &[rule], at(second)).await;
        }
        assert_eq!(counter(&world, bucket).await.blocked_until, at(599) + long);
        let shorter = BucketRule { first_wait: Duration::from_secs(1), ..rule };
        fail(&world, &[shorter], at(601)).await;
        let counter = counter(&world, bucket).await;
        assert_eq!(counter.window_start, at(601));
        assert!(counter.blocked_until >= at(599) + long, "limit {limit}: {counter:?}");
    }
}

async fn counts_each_bucket_by_its_own_rule(world: World) {
    let (strict, lenient) = (new_bucket(), new_bucket());
    let rules = [BucketRule { limit: 1, ..rule(strict) }, BucketRule { limit: 100, ..rule(lenient) }];
    fail(&world, &rules, at(0)).await;
    fail(&world, &rules[1..], at(1)).await;
    assert_eq!(counter(&world, strict).await.blocked_until, at(10));
    assert_eq!(counter(&world, strict).await.count, 1);
    assert!(counter(&world, lenient).await.blocked_until <= at(1));
    assert_eq!(counter(&world, lenient).await.count, 2);
}

async fn loses_no_failure_counted_in_parallel(world: World) {
    let (shared, first, second) = (new_bucket(), new_bucket(), new_bucket());
    let generous = |bucket| BucketRule { limit: 1_000, ..rule(bucket) };
    at_once(64, |index| {
        let world = world.clone();
        // In either order, so that two writers that lock their rows as they come would wait for each other.
        let own = if index % 2 == 0 { first } else { second };
        let mut rules = vec![generous(shared), generous(own)];
        if index % 4 < 2 {
            rules.reverse();
        }
        async move { fail(&world, &rules, at(1)).await }
    })
    .await;
    for (bucket, failures) in [(shared, 64), (first, 32), (second, 32)] {
        assert_eq!(counter(&world, bucket).await.count, failures);
    }
}

async fn knows_only_counters_that_exist(world: World) {
    let (counted, other, never) = (new_bucket(), new_bucket(), new_bucket());
    fail(&world, &[rule(counted), rule(other)], at(0)).await;
    assert_eq!(world.store().attempts(&[]).await.unwrap(), []);
    assert_eq!(world.store().attempts(&[never]).await.unwrap(), []);
    let found = world.store().attempts(&[never, counted]).await.unwrap();
    assert_eq!(found, [counter(&world, counted).await]);
}

async fn tells_the_user_and_the_counters_of_a_sign_in(world: World) {
    let user = world.user("ada").await;
    let (counted, never) = (new_bucket(), new_bucket());
    fail(&world, &[rule(counted)], at(0)).await;
    for (name, expected) in [("ada", Some(user)), ("nobody", None)] {
        let query = SignInQuery {
            email_key: email_of(name),
            network: Some("203.0.113.0/24".to_owned()),
            device: None,
            presented: None,
            known_since: at(0),
            buckets: vec![counted, never],
        };
        let facts = world.store().sign_in_facts(query).await.unwrap();
        assert_eq!(facts.user, expected);
        assert!(!facts.known_network);
        assert_eq!(facts.attempts, [counter(&world, counted).await]);
    }
}

async fn records_every_failure(world: World) {
    for rules in [vec![], vec![rule(new_bucket()), rule(new_bucket())]] {
        let failed = act("session.login_failed", at(0)).ended(crate::audit::Outcome::Denied, "wrong password");
        world.store().count_failure(rules, failed.clone()).await.unwrap();
        world.expect_entry(&failed, "denied").await;
    }
    assert_eq!(world.news(), []);
}
