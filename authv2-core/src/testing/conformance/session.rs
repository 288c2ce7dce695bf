//! Sessions: listed while they live, ended once and only by their owner, kept alive by use but never revived.

use super::{
    Case,
    act::{DAY, HOUR, IDLE, act, at, new_session},
    room,
    world::{World, at_once, expect_same_changes, revoked},
};
use crate::{
    id::{SessionId, UserId},
    store::Touch,
};

pub(super) const CASES: &[Case] = room!["session":
    lists_the_live_sessions_of_a_user_newest_first,
    ends_one_live_session_of_its_owner,
    ends_nothing_that_is_not_a_live_session_of_the_user,
    ends_a_session_once_however_many_try,
    ends_every_live_session_but_the_kept_one,
    extends_the_idle_deadline_and_never_shortens_it,
    revives_no_dead_session_by_a_late_touch,
    notes_when_a_session_was_last_used,
    takes_many_touches_at_once,
];

fn touch(session: SessionId, seen: u64, idle_until: Option<u64>) -> Touch {
    Touch { session, seen_at: at(seen), idle_expires_at: idle_until.map(at) }
}

async fn lists_the_live_sessions_of_a_user_newest_first(world: World) {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let now = at(2 * DAY);
    let idle = world.sign_in(ada.id, at(1)).await;
    let mut expired = new_session(ada.id, at(2));
    (expired.record.expires_at, expired.record.idle_expires_at) = (at(DAY), at(9 * DAY));
    let expired = world.open(expired).await;
    let middle = world.sign_in(ada.id, at(2 * DAY - 20)).await;
    let newest = world.sign_in(ada.id, at(2 * DAY - 10)).await;
    let oldest = world.sign_in(ada.id, at(2 * DAY - 30)).await;
    let ended = world.sign_in(ada.id, at(2 * DAY - 5)).await;
    assert!(world.store().revoke_session(ada.id, ended.id, act("session.revoked", now)).await.unwrap());
    world.sign_in(bob.id, at(2 * DAY - 1)).await;

    let listed = world.store().sessions_of(ada.id, now).await.unwrap();
    assert_eq!(listed, [newest.record, middle.record, oldest.record]);
    assert_eq!(world.live(UserId::new(), now).await, []);
    for dead in [idle.id, expired.id] {
        assert!(!world.session(dead).await.is_live(now), "dead sessions are found by id");
    }
}

async fn ends_one_live_session_of_its_owner(world: World) {
    let user = world.user("ada").await;
    let (ended, kept) = (world.sign_in(user.id, at(1)).await, world.sign_in(user.id, at(2)).await);
    let logout = act("session.revoked", at(3));
    world.news();
    let answer = world.store().revoke_session(user.id, ended.id, logout.clone()).await.unwrap();
    assert_eq!(world.news(), [revoked(ended.id, user.id)]);
    assert!(answer);
    assert_eq!(world.session(ended.id).await.revoked_at, Some(at(3)));
    assert_eq!(world.live(user.id, at(3)).await, [kept.id]);
    world.expect_entry(&logout, "success").await;
}

async fn ends_nothing_that_is_not_a_live_session_of_the_user(world: World) {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let his = world.sign_in(bob.id, at(1)).await;
    let idle = world.sign_in(ada.id, at(1)).await;
    let ended = world.sign_in(ada.id, at(2 * DAY)).await;
    let now = at(2 * DAY + 10);
    assert!(world.store().revoke_session(ada.id, ended.id, act("session.revoked", at(2 * DAY + 1))).await.unwrap());
    world.store().touch_sessions(vec![touch(his.id, 2, Some(9 * DAY))]).await.unwrap();
    world.news();
    for session in [his.id, idle.id, ended.id, SessionId::new()] {
        let logout = act("session.revoked", now);
        assert!(!world.store().revoke_session(ada.id, session, logout.clone()).await.unwrap());
        assert_eq!(world.entries(&logout).await, [], "nothing was ended");
    }
    assert_eq!(world.news(), []);
    assert_eq!(world.live(bob.id, now).await, [his.id]);
    assert_eq!(world.session(ended.id).await.revoked_at, Some(at(2 * DAY + 1)), "the first moment stays");
}

async fn ends_a_session_once_however_many_try(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(1)).await;
    world.news();
    let answers = at_once(32, |_| {
        let world = world.clone();
        async move { world.store().revoke_session(user.id, session.id, act("session.revoked", at(2))).await.unwrap() }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|ended| *ended).count(), 1);
    assert_eq!(world.news(), [revoked(session.id, user.id)]);
}

async fn ends_every_live_session_but_the_kept_one(world: World) {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let idle = world.sign_in(ada.id, at(1)).await;
    let now = 2 * DAY;
    let (first, kept) = (world.sign_in(ada.id, at(now)).await, world.sign_in(ada.id, at(now + 1)).await);
    let (third, his) = (world.sign_in(ada.id, at(now + 2)).await, world.sign_in(bob.id, at(now + 2)).await);
    let logout = act("session.revoked_others", at(now + 10));
    world.news();
    let ended = world.store().revoke_sessions(ada.id, Some(kept.id), logout.clone()).await.unwrap();
    expect_same_changes(&world.news(), &[revoked(first.id, ada.id), revoked(third.id, ada.id)]);
    assert_eq!(ended, 2);
    assert_eq!(world.live(ada.id, at(now + 10)).await, [kept.id]);
    assert_eq!(world.session(idle.id).await.revoked_at, None, "what is dead already is not ended again");
    world.expect_entry(&logout, "success").await;

    // Somebody else's session cannot be kept, nor is it touched.
    let everywhere = act("session.revoked_all", at(now + 20));
    assert_eq!(world.store().revoke_sessions(ada.id, Some(his.id), everywhere).await.unwrap(), 1);
    assert_eq!(world.news(), [revoked(kept.id, ada.id)]);
    assert_eq!(world.live(ada.id, at(now + 20)).await, []);
    assert_eq!(world.live(bob.id, at(now + 20)).await, [his.id]);
    let again = world.store().revoke_sessions(ada.id, None, act("session.revoked_all", at(now + 30))).await.unwrap();
    assert_eq!((again, world.news()), (0, vec![]));
}

async fn extends_the_idle_deadline_and_never_shortens_it(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(0)).await;
    let before = world.session(session.id).await.idle_expires_at;
    for (deadline, expected) in [(Some(DAY - 60), before), (None, before), (Some(DAY + HOUR), at(DAY + HOUR))] {
        world.store().touch_sessions(vec![touch(session.id, 60, deadline)]).await.unwrap();
        assert_eq!(world.session(session.id).await.idle_expires_at, expected);
    }
    // The absolute end does not move, however far the idle deadline reaches.
    world.store().touch_sessions(vec![touch(session.id, DAY, Some(400 * DAY))]).await.unwrap();
    let after = world.session(session.id).await;
    assert_eq!((after.expires_at, after.ends_at()), (session.record.expires_at, session.record.expires_at));
}

async fn revives_no_dead_session_by_a_late_touch(world: World) {
    let user = world.user("ada").await;
    let (idle, ended) = (world.sign_in(user.id, at(0)).await, world.sign_in(user.id, at(0)).await);
    assert!(world.store().revoke_session(user.id, ended.id, act("session.revoked", at(10))).await.unwrap());
    let dead = [world.session(idle.id).await, world.session(ended.id).await];
    let late = DAY + 10;
    assert!(at(0) + IDLE < at(late));
    let touches = [idle.id, ended.id, SessionId::new()].map(|id| touch(id, late, Some(late + DAY)));
    world.store().touch_sessions(touches.to_vec()).await.unwrap();
    assert_eq!(world.live(user.id, at(late)).await, []);
    assert_eq!([world.session(idle.id).await, world.session(ended.id).await], dead);
    assert_eq!(world.store().session(touches[2].session).await.unwrap(), None);
}

async fn notes_when_a_session_was_last_used(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(0)).await;
    world.store().touch_sessions(vec![touch(session.id, 60, None)]).await.unwrap();
    assert_eq!(world.session(session.id).await.last_seen_at, at(60));
    // Written behind by several nodes: an earlier use may be told later.
    world.store().touch_sessions(vec![touch(session.id, 30, None)]).await.unwrap();
    assert_eq!(world.session(session.id).await.last_seen_at, at(60));
    world.store().touch_sessions(Vec::new()).await.unwrap();
}

async fn takes_many_touches_at_once(world: World) {
    let user = world.user("ada").await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(world.sign_in(user.id, at(0)).await.id);
    }
    let touches = (1..=600).map(|second| {
        let index = usize::try_from(second).unwrap() % sessions.len();
        touch(sessions[index], second, Some(DAY + second))
    });
    world.store().touch_sessions(touches.collect()).await.unwrap();
    for (index, session) in sessions.iter().enumerate() {
        let last = (597..=600).find(|second| usize::try_from(*second).unwrap() % sessions.len() == index).unwrap();
        let stored = world.session(*session).await;
        assert_eq!((stored.last_seen_at, stored.idle_expires_at), (at(last), at(DAY + last)));
    }
}
