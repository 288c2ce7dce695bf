//! Password changes: only over the password that was verified, and never with the old one's sessions left alive.

use super::{
    Case,
    act::{act, at, hash_of, new_user, rotation},
    room,
    world::{World, added, at_once, done, expect_same_changes, revoked},
};
use crate::{
    changes::Change,
    id::SessionId,
    store::{Rotated, Updated},
};

pub(super) const CASES: &[Case] = room!["password":
    replaces_the_password_and_ends_the_other_sessions,
    ends_every_session_where_none_is_kept,
    keeps_no_session_of_somebody_else,
    keeps_a_password_that_is_not_the_one_verified,
    gives_an_account_without_a_password_its_first,
    lets_one_of_many_parallel_password_changes_win,
];

async fn replaces_the_password_and_ends_the_other_sessions(world: World) {
    let user = world.user("ada").await;
    let mut sessions = Vec::new();
    for second in 1..=3 {
        sessions.push(world.sign_in(user.id, at(second)).await);
    }
    let (keep, changed) = (sessions.remove(1), act("user.password_changed", at(10)));
    world.news();
    let (current, new) = (Some(hash_of("ada").0), hash_of("new").0);
    let answer = world.store().change_password(user.id, current, new, Some(keep.id), changed.clone()).await.unwrap();
    let told = world.news();
    done(answer);
    let mut expected: Vec<_> = sessions.iter().map(|session| revoked(session.id, user.id)).collect();
    expected.push(Change::UserChanged { user: user.id });
    expect_same_changes(&told, &expected);
    assert_eq!(world.reread(user.id).await.password_hash, Some(hash_of("new")));
    assert_eq!(world.live(user.id, at(11)).await, [keep.id]);
    for session in &sessions {
        assert_eq!(world.session(session.id).await.revoked_at, Some(at(10)));
        let rotated = world.store().rotate_refresh(rotation(session.refresh), act("session.refreshed", at(11))).await;
        assert_eq!(rotated.unwrap(), Rotated::Invalid);
    }
    let kept = world.store().rotate_refresh(rotation(keep.refresh), act("session.refreshed", at(11))).await.unwrap();
    assert!(matches!(kept, Rotated::Fresh(..)), "the kept session goes on: {kept:?}");
    world.expect_entry(&changed, "success").await;
}

async fn ends_every_session_where_none_is_kept(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(1)).await;
    let (current, new) = (Some(hash_of("ada").0), hash_of("new").0);
    let changed = act("user.password_changed", at(10));
    done(world.store().change_password(user.id, current, new, None, changed).await.unwrap());
    assert_eq!(world.session(session.id).await.revoked_at, Some(at(10)));
    assert_eq!(world.live(user.id, at(11)).await, []);
}

async fn keeps_no_session_of_somebody_else(world: World) {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (hers, his) = (world.sign_in(ada.id, at(1)).await, world.sign_in(bob.id, at(1)).await);
    for (second, keep) in [(10, his.id), (11, SessionId::new())] {
        let current = world.reread(ada.id).await.password_hash.unwrap().0;
        let new = hash_of(&second.to_string()).0;
        let changed = act("user.password_changed", at(second));
        done(world.store().change_password(ada.id, Some(current), new, Some(keep), changed).await.unwrap());
        assert_eq!(world.live(ada.id, at(second)).await, []);
        assert_eq!(world.live(bob.id, at(second)).await, [his.id]);
    }
    assert_eq!(world.session(hers.id).await.revoked_at, Some(at(10)));
}

async fn keeps_a_password_that_is_not_the_one_verified(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(1)).await;
    let (before, changed) = (world.reread(user.id).await, act("user.password_changed", at(10)));
    world.news();
    let (wrong, new) = (Some(hash_of("old").0), hash_of("new").0);
    let answer = world.store().change_password(user.id, wrong, new, None, changed.clone()).await.unwrap();
    assert_eq!(answer, Updated::Stale);
    assert_eq!(world.reread(user.id).await, before);
    assert_eq!(world.live(user.id, at(11)).await, [session.id]);
    assert_eq!(world.news(), []);
    world.expect_no_success(&changed).await;
}

async fn gives_an_account_without_a_password_its_first(world: World) {
    let mut new = new_user("ada");
    new.password_hash = None;
    let user = added(world.store().create_user(new, act("user.created", at(0))).await.unwrap());
    assert_eq!(user.password_hash, None);
    let (refused, set) = (act("user.password_changed", at(1)), act("user.password_changed", at(2)));
    let first = hash_of("first").0;
    let answer = world.store().change_password(user.id, Some(hash_of("ada").0), first.clone(), None, refused).await;
    assert_eq!(answer.unwrap(), Updated::Stale, "there is no such password to replace");
    done(world.store().change_password(user.id, None, first, None, set).await.unwrap());
    assert_eq!(world.reread(user.id).await.password_hash, Some(hash_of("first")));
}

async fn lets_one_of_many_parallel_password_changes_win(world: World) {
    let user = world.user("ada").await;
    let answers = at_once(16, |index| {
        let world = world.clone();
        async move {
            let (current, new) = (Some(hash_of("ada").0), hash_of(&index.to_string()));
            let changed = act("user.password_changed", at(1));
            (world.store().change_password(user.id, current, new.0.clone(), None, changed).await.unwrap(), new)
        }
    })
    .await;
    let winners: Vec<_> = answers.into_iter().filter(|(answer, _)| *answer == Updated::Done(())).collect();
    assert_eq!(winners.len(), 1, "exactly one change of a password may win");
    assert_eq!(world.reread(user.id).await.password_hash.as_ref(), Some(&winners[0].1));
}
