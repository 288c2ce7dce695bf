//! Purging: what has been over for long goes, and nothing that is alive.

use std::time::Duration;

use super::{
    Case,
    act::{DAY, act, at, hash_of, new_bucket, new_session, new_token, rotation},
    refresh::{Verdict, rotate, verdict},
    room,
    sign_in::known,
    world::{World, revoked},
};
use crate::{
    clock::Timestamp,
    store::{Bucket, BucketRule, PurgeBefore},
};

pub(super) const CASES: &[Case] = room!["purge":
    removes_long_dead_sessions_with_their_tokens,
    removes_sessions_past_their_absolute_end,
    forgets_networks_of_long_ago,
    removes_idle_counters,
    keeps_counters_for_as_long_as_their_window,
    removes_old_changes_and_goes_on_counting,
    removes_nothing_of_what_is_young,
];

/// Purges until nothing goes any more: one call takes a bounded number only.
async fn purge(world: &World, before: PurgeBefore) -> u64 {
    let mut gone = 0;
    for _ in 0..100 {
        match world.store().purge(before).await.unwrap() {
            0 => return gone,
            rows => gone += rows,
        }
    }
    panic!("purging does not come to an end");
}

fn before(sessions: Timestamp, counters: Timestamp, changes: Timestamp) -> PurgeBefore {
    PurgeBefore {
        sessions,
        networks: counters,
        devices: counters,
        counters,
        changes,
        samples: changes,
        tokens: changes,
        proofs: sessions,
        challenges: sessions,
        events: changes,
    }
}

async fn removes_long_dead_sessions_with_their_tokens(world: World) {
    let user = world.user("ada").await.id;
    let now = 20 * DAY;
    let mut by_cookie = new_session(user, at(0));
    by_cookie.record.cookie_hash = Some(new_token().as_bytes().to_vec());
    let (ended, idle) = (world.open(by_cookie).await, world.sign_in(user, at(0)).await);
    let used = rotation(ended.refresh);
    assert_eq!(verdict(&rotate(&world, &used, at(1)).await), Verdict::Fresh);
    assert!(world.store().revoke_session(user, ended.id, act("session.revoked", at(2))).await.unwrap());

    // Old but alive; dead for a short time only; ended a moment ago although it is old.
    let mut old = new_session(user, at(0));
    (old.record.expires_at, old.record.idle_expires_at) = (at(90 * DAY), at(30 * DAY));
    let (old, mut just_ended) = (world.open(old).await, new_session(user, at(0)));
    just_ended.record.idle_expires_at = at(30 * DAY);
    let (just_idle, just_ended) = (world.sign_in(user, at(now - 3 * DAY)).await, world.open(just_ended).await);
    assert!(world.store().revoke_session(user, just_ended.id, act("session.revoked", at(now))).await.unwrap());
    let live = world.live(user, at(now)).await;
    assert_eq!(live, [old.id]);

    let gone = purge(&world, before(at(now - 7 * DAY), at(0), at(0))).await;
    assert!(gone >= 2, "{gone}");
    for dead in [&ended, &idle] {
        assert_eq!(world.store().session(dead.id).await.unwrap(), None);
        assert_eq!(world.store().session_by_refresh(dead.refresh).await.unwrap(), None);
    }
    assert_eq!(world.store().session_by_refresh(used.successor).await.unwrap(), None);
    assert_eq!(world.live(user, at(now)).await, live);
    for kept in [&old, &just_idle, &just_ended] {
        world.session(kept.id).await;
        assert!(world.store().session_by_refresh(kept.refresh).await.unwrap().is_some());
    }
    assert_eq!(verdict(&rotate(&world, &rotation(old.refresh), at(now)).await), Verdict::Fresh);
    assert_eq!(world.reread(user).await.password_hash, Some(hash_of("ada")));
}

async fn removes_sessions_past_their_absolute_end(world: World) {
    let user = world.user("ada").await.id;
    let mut expired = new_session(user, at(0));
    // A touch shortly before the end carries the idle deadline beyond it.
    (expired.record.expires_at, expired.record.idle_expires_at) = (at(DAY), at(40 * DAY));
    let expired = world.open(expired).await;
    purge(&world, before(at(13 * DAY), at(0), at(0))).await;
    assert_eq!(world.store().session(expired.id).await.unwrap(), None, "it was dead for twelve days");
    assert_eq!(world.store().session_by_refresh(expired.refresh).await.unwrap(), None);
}

async fn forgets_networks_of_long_ago(world: World) {
    let user = world.user("ada").await.id;
    for (network, when) in [("192.0.2.1/32", 0), ("192.0.2.2/32", 40 * DAY)] {
        let mut session = new_session(user, at(when));
        session.network = Some(network.to_owned());
        world.open(session).await;
    }
    purge(&world, PurgeBefore { networks: at(10 * DAY), ..before(at(0), at(0), at(0)) }).await;
    assert!(!known(&world, "ada", Some("192.0.2.1/32"), at(0) - Duration::from_secs(1)).await);
    assert!(known(&world, "ada", Some("192.0.2.2/32"), at(0)).await);
}

async fn fail(world: &World, bucket: Bucket, wait: u64, now: Timestamp) {
    let wait = Duration::from_secs(wait);
    let rule = BucketRule { bucket, limit: 1, window: Duration::from_secs(600), first_wait: wait, longest_wait: wait };
    world.store().count_failure(vec![rule], act("session.login_failed", now)).await.unwrap();
}

async fn removes_idle_counters(world: World) {
    let (idle, fresh, blocked) = (new_bucket(), new_bucket(), new_bucket());
    fail(&world, idle, 10, at(0)).await;
    fail(&world, blocked, 30 * DAY, at(0)).await;
    fail(&world, fresh, 10, at(DAY)).await;
    assert_eq!(purge(&world, before(at(0), at(DAY / 2), at(0))).await, 1);
    let left = world.store().attempts(&[idle, fresh, blocked]).await.unwrap();
    let mut left: Vec<_> = left.iter().map(|counter| counter.bucket).collect();
    let mut expected = [fresh, blocked];
    left.sort_unstable();
    expected.sort_unstable();
    assert_eq!(left, expected, "a counter that still blocks somebody is not idle");
}

async fn keeps_counters_for_as_long_as_their_window(world: World) {
    let (long, short) = (new_bucket(), new_bucket());
    for (bucket, days) in [(long, 30), (short, 1)] {
        let (window, wait) = (Duration::from_secs(days * DAY), Duration::ZERO);
        let rule = BucketRule { bucket, limit: 9, window, first_wait: wait, longest_wait: wait };
        world.store().count_failure(vec![rule], act("session.login_failed", at(0))).await.unwrap();
    }
    for (day, left) in [(2, vec![long]), (29, vec![long]), (31, vec![])] {
        purge(&world, before(at(0), at(day * DAY), at(0))).await;
        let counters = world.store().attempts(&[long, short]).await.unwrap();
        assert_eq!(counters.iter().map(|counter| counter.bucket).collect::<Vec<_>>(), left, "day {day}");
    }
}

async fn removes_old_changes_and_goes_on_counting(world: World) {
    world.makes_table_incomparable();
    let user = world.user("ada").await.id;
    let mut sessions = Vec::new();
    for second in [0, 10, 20] {
        let session = world.sign_in(user, at(second)).await.id;
        assert!(world.store().revoke_session(user, session, act("session.revoked", at(second))).await.unwrap());
        sessions.push(session);
    }
    let all = world.change_rows().await;
    assert_eq!(purge(&world, before(at(0), at(0), at(15))).await, 2);
    assert_eq!(world.change_rows().await, all[2..]);
    assert_eq!(purge(&world, before(at(0), at(0), at(DAY))).await, 1);
    assert_eq!(world.change_rows().await, []);
    // A node that has read everything so far must not miss the next change because its number was used before.
    let session = world.sign_in(user, at(30)).await.id;
    assert!(world.store().revoke_session(user, session, act("session.revoked", at(30))).await.unwrap());
    let next = world.store().changes_after(all[2].seq, 10).await.unwrap();
    assert_eq!(next.iter().map(|row| row.change).collect::<Vec<_>>(), [revoked(session, user)]);
}

async fn removes_nothing_of_what_is_young(world: World) {
    let user = world.user("ada").await.id;
    let (session, ended, bucket) =
        (world.sign_in(user, at(100)).await, world.sign_in(user, at(100)).await, new_bucket());
    assert!(world.store().revoke_session(user, ended.id, act("session.revoked", at(100))).await.unwrap());
    fail(&world, bucket, 10, at(100)).await;
    let (rows, trail) = (world.change_rows().await, world.store().recent_audit(100).await.unwrap());
    assert_eq!(purge(&world, before(at(99), at(99), at(99))).await, 0);
    assert_eq!(world.change_rows().await, rows);
    assert_eq!(world.store().attempts(&[bucket]).await.unwrap().len(), 1);
    for kept in [session.id, ended.id] {
        world.session(kept).await;
    }
    assert_eq!(world.store().recent_audit(100).await.unwrap(), trail, "the trail is not for purging");
}
