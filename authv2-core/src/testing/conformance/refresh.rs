//! Refresh tokens: one use each, the same successor for a lost answer, and the end of the session for a theft.

use super::{
    Case,
    act::{DAY, act, at, new_session, new_token, rotation},
    room,
    world::{SignedIn, World, at_once, revoked},
};
use crate::{
    clock::Timestamp,
    id::UserId,
    secret::SecretHash,
    store::{Rotated, Rotation, Updated, UserStatus},
};

pub(super) const CASES: &[Case] = room!["refresh":
    stores_the_successor_and_extends_the_session,
    gives_the_same_successor_again_within_the_grace,
    refuses_without_consequences_once_the_successor_is_used,
    ends_the_session_of_a_token_used_long_ago,
    refuses_a_token_it_does_not_know,
    refuses_every_token_of_a_dead_session,
    refuses_every_token_of_a_user_who_may_not_sign_in,
    rotates_once_however_many_present_the_token,
    finds_the_session_of_used_and_unused_tokens,
    keeps_the_sessions_of_a_user_apart,
];

/// What an answer comes to, without the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Fresh,
    Again([u8; 16]),
    Invalid,
    Reused,
    Unproven,
    ProofUsed,
}

pub(super) fn verdict(rotated: &Rotated) -> Verdict {
    match rotated {
        Rotated::Fresh(..) => Verdict::Fresh,
        Rotated::Again(_, _, salt) => Verdict::Again(*salt),
        Rotated::Invalid => Verdict::Invalid,
        Rotated::Reused(_) => Verdict::Reused,
        Rotated::Unproven => Verdict::Unproven,
        Rotated::ProofUsed => Verdict::ProofUsed,
    }
}

pub(super) async fn rotate(world: &World, rotation: &Rotation, now: Timestamp) -> Rotated {
    world.store().rotate_refresh(rotation.clone(), act("session.refreshed", now)).await.unwrap()
}

async fn signed_in(world: &World) -> (UserId, SignedIn) {
    let user = world.user("ada").await;
    (user.id, world.sign_in(user.id, at(0)).await)
}

async fn stores_the_successor_and_extends_the_session(world: World) {
    let (user, session) = signed_in(&world).await;
    let (first, refreshed) = (rotation(session.refresh), act("session.refreshed", at(600)));
    world.news();
    let answer = world.store().rotate_refresh(first.clone(), refreshed.clone()).await.unwrap();
    let Rotated::Fresh(record, owner) = answer else { panic!("{answer:?}") };
    assert_eq!((record.id, owner.id), (session.id, user));
    // A store may leave the deadline alone until a tenth of the window has passed.
    let (earliest, latest) = (at(600) + first.idle_ttl * 9 / 10, at(600) + first.idle_ttl);
    assert!(earliest <= record.ends_at() && record.ends_at() <= latest, "{record:?}");
    assert_eq!((record.created_at, record.auth_time), (at(0), at(0)), "a refresh is no sign-in");
    assert_eq!(world.store().session(session.id).await.unwrap(), Some((record, owner)));
    assert_eq!(world.news(), []);
    world.expect_entry(&refreshed, "success").await;

    let second = rotation(first.successor);
    assert_eq!(verdict(&rotate(&world, &second, at(DAY / 2)).await), Verdict::Fresh);
    assert_eq!(world.session(session.id).await.ends_at(), at(DAY / 2) + second.idle_ttl);
    let mut beyond_the_end = rotation(second.successor);
    beyond_the_end.idle_ttl = std::time::Duration::from_secs(60 * DAY);
    assert_eq!(verdict(&rotate(&world, &beyond_the_end, at(DAY)).await), Verdict::Fresh);
    let after = world.session(session.id).await;
    assert_eq!((after.expires_at, after.ends_at()), (session.record.expires_at, session.record.expires_at));
}

async fn gives_the_same_successor_again_within_the_grace(world: World) {
    let (user, session) = signed_in(&world).await;
    let first = rotation(session.refresh);
    assert_eq!(verdict(&rotate(&world, &first, at(100)).await), Verdict::Fresh);
    world.news();
    for second in [100, 101, 109] {
        let again = rotation(session.refresh);
        let answer = rotate(&world, &again, at(second)).await;
        let Rotated::Again(record, owner, salt) = &answer else { panic!("{answer:?}") };
        assert_eq!((record.id, owner.id, *salt), (session.id, user, first.salt));
        assert_eq!(world.store().session_by_refresh(again.successor).await.unwrap(), None, "no second successor");
    }
    assert_eq!(world.news(), []);
    assert_eq!(verdict(&rotate(&world, &rotation(first.successor), at(110)).await), Verdict::Fresh);
}

async fn refuses_without_consequences_once_the_successor_is_used(world: World) {
    let (user, session) = signed_in(&world).await;
    let first = rotation(session.refresh);
    let second = rotation(first.successor);
    for (rotation, second) in [(&first, 100), (&second, 102)] {
        assert_eq!(verdict(&rotate(&world, rotation, at(second)).await), Verdict::Fresh);
    }
    let before = world.session(session.id).await;
    world.news();
    let late = act("session.refreshed", at(105));
    let answer = world.store().rotate_refresh(rotation(session.refresh), late.clone()).await.unwrap();
    assert_eq!(answer, Rotated::Invalid);
    assert_eq!(world.session(session.id).await, before);
    assert_eq!(world.news(), []);
    world.expect_no_success(&late).await;
    assert_eq!(world.live(user, at(105)).await, [session.id]);
    assert_eq!(verdict(&rotate(&world, &rotation(first.successor), at(105)).await), Verdict::Again(second.salt));
    assert_eq!(verdict(&rotate(&world, &rotation(second.successor), at(106)).await), Verdict::Fresh);
}

async fn ends_the_session_of_a_token_used_long_ago(world: World) {
    let user = world.user("ada").await.id;
    // Whether the thief or the owner used the successor makes no difference.
    for successor_used in [false, true] {
        let (session, bystander) = (world.sign_in(user, at(0)).await, world.sign_in(user, at(0)).await);
        let first = rotation(session.refresh);
        assert_eq!(verdict(&rotate(&world, &first, at(100)).await), Verdict::Fresh);
        let mut newest = first.successor;
        if successor_used {
            let second = rotation(first.successor);
            assert_eq!(verdict(&rotate(&world, &second, at(101)).await), Verdict::Fresh);
            newest = second.successor;
        }
        let theft = act("session.refreshed", at(120));
        world.news();
        let answer = world.store().rotate_refresh(rotation(session.refresh), theft.clone()).await.unwrap();
        assert_eq!(world.news(), [revoked(session.id, user)]);
        let Rotated::Reused(record) = &answer else { panic!("{answer:?}") };
        assert_eq!((record.id, record.revoked_at), (session.id, Some(at(120))));
        assert_eq!(world.session(session.id).await, *record);
        let entries = world.entries(&theft).await;
        assert_eq!(entries.len(), 1, "the end of the session is recorded once: {entries:?}");
        assert_ne!(entries[0].outcome, "success", "the refresh itself did not succeed");
        for token in [session.refresh, first.successor, newest] {
            assert_eq!(verdict(&rotate(&world, &rotation(token), at(121)).await), Verdict::Invalid);
        }
        assert_eq!(world.news(), [], "it ends once");
        assert!(world.session(bystander.id).await.is_live(at(121)), "the user's other sessions go on");
    }
}

async fn refuses_a_token_it_does_not_know(world: World) {
    signed_in(&world).await;
    let (stray, refreshed) = (rotation(new_token()), act("session.refreshed", at(1)));
    assert_eq!(world.store().rotate_refresh(stray.clone(), refreshed.clone()).await.unwrap(), Rotated::Invalid);
    assert_eq!(world.store().session_by_refresh(stray.successor).await.unwrap(), None);
    world.expect_no_success(&refreshed).await;
}

/// Requires that neither the used nor the unused token is accepted, and that trying changes nothing.
async fn expect_both_refused(world: &World, used: SecretHash, unused: SecretHash, now: Timestamp) {
    world.news();
    let before = world.store().session_by_refresh(used).await.unwrap();
    for token in [unused, used] {
        let attempt = rotation(token);
        assert_eq!(rotate(world, &attempt, now).await, Rotated::Invalid);
        assert_eq!(world.store().session_by_refresh(attempt.successor).await.unwrap(), None);
    }
    assert_eq!(world.news(), []);
    assert_eq!(world.store().session_by_refresh(used).await.unwrap(), before);
}

async fn refuses_every_token_of_a_dead_session(world: World) {
    let user = world.user("ada").await.id;
    let mut ends_soon = new_session(user, at(0));
    (ends_soon.record.expires_at, ends_soon.record.idle_expires_at) = (at(300), at(9 * DAY));
    let (expired, idle, ended) =
        (world.open(ends_soon).await, world.sign_in(user, at(0)).await, world.sign_in(user, at(0)).await);
    let mut pairs = Vec::new();
    for session in [&expired, &idle, &ended] {
        let first = rotation(session.refresh);
        assert_eq!(verdict(&rotate(&world, &first, at(100)).await), Verdict::Fresh);
        pairs.push((session.refresh, first.successor));
    }
    assert!(world.store().revoke_session(user, ended.id, act("session.revoked", at(101))).await.unwrap());
    // Inside the grace and long after it; at the very deadline, too, a session is over.
    expect_both_refused(&world, pairs[2].0, pairs[2].1, at(102)).await;
    expect_both_refused(&world, pairs[2].0, pairs[2].1, at(500)).await;
    expect_both_refused(&world, pairs[0].0, pairs[0].1, at(300)).await;
    expect_both_refused(&world, pairs[1].0, pairs[1].1, at(100 + DAY)).await;
}

async fn refuses_every_token_of_a_user_who_may_not_sign_in(world: World) {
    for (name, status) in [("ada", UserStatus::Disabled), ("bob", UserStatus::Locked)] {
        let user = world.user(name).await.id;
        let session = world.sign_in(user, at(0)).await;
        let first = rotation(session.refresh);
        assert_eq!(verdict(&rotate(&world, &first, at(100)).await), Verdict::Fresh);
        world.store().set_status(user, status, None, act("user.status", at(101))).await.unwrap();
        expect_both_refused(&world, session.refresh, first.successor, at(102)).await;
    }
    let user = world.user("eve").await.id;
    let session = world.sign_in(user, at(0)).await;
    assert_eq!(
        world.store().delete_user(user, Vec::new(), act("user.deleted", at(1))).await.unwrap(),
        Updated::Done(())
    );
    assert_eq!(rotate(&world, &rotation(session.refresh), at(2)).await, Rotated::Invalid);
}

async fn rotates_once_however_many_present_the_token(world: World) {
    let (user, session) = signed_in(&world).await;
    world.news();
    let answers = at_once(32, |_| {
        let world = world.clone();
        async move {
            let attempt = rotation(session.refresh);
            let answer = rotate(&world, &attempt, at(100)).await;
            (attempt, verdict(&answer))
        }
    })
    .await;
    let (fresh, others): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, verdict)| *verdict == Verdict::Fresh);
    assert_eq!(fresh.len(), 1, "exactly one rotation may win");
    let winner = &fresh[0].0;
    for (attempt, verdict) in others {
        assert_eq!(*verdict, Verdict::Again(winner.salt));
        assert_eq!(world.store().session_by_refresh(attempt.successor).await.unwrap(), None, "no second successor");
    }
    assert_eq!(world.news(), [], "a crowd is no theft");
    assert_eq!(world.live(user, at(100)).await, [session.id]);
    assert_eq!(verdict(&rotate(&world, &rotation(winner.successor), at(101)).await), Verdict::Fresh);
}

async fn finds_the_session_of_used_and_unused_tokens(world: World) {
    let (_, session) = signed_in(&world).await;
    let first = rotation(session.refresh);
    assert_eq!(verdict(&rotate(&world, &first, at(100)).await), Verdict::Fresh);
    let expected = world.store().session(session.id).await.unwrap();
    for token in [session.refresh, first.successor] {
        assert_eq!(world.store().session_by_refresh(token).await.unwrap(), expected);
    }
}

async fn keeps_the_sessions_of_a_user_apart(world: World) {
    let (user, session) = signed_in(&world).await;
    let other = world.sign_in(user, at(0)).await;
    let (hers, another) = (rotation(session.refresh), rotation(other.refresh));
    for rotation in [&hers, &another] {
        assert_eq!(verdict(&rotate(&world, rotation, at(100)).await), Verdict::Fresh);
    }
    assert_eq!(verdict(&rotate(&world, &rotation(session.refresh), at(200)).await), Verdict::Reused);
    assert_eq!(verdict(&rotate(&world, &rotation(another.successor), at(201)).await), Verdict::Fresh);
    assert_eq!(world.live(user, at(201)).await, [other.id]);
}
