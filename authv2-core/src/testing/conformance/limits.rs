//! The limit of live sessions per user, one after the other and all at once.

use super::{
    Case,
    act::{DAY, IDLE, act, at, new_bucket, new_session},
    room,
    world::{World, at_once, expect_same_changes, revoked},
};
use crate::{
    id::{SessionId, UserId},
    store::{NewSession, Opened, OverLimit},
};

pub(super) const CASES: &[Case] = room!["limits":
    evicts_the_oldest_sessions_over_the_limit,
    refuses_a_session_over_the_limit,
    counts_only_live_sessions_of_the_same_user,
    keeps_the_limit_under_parallel_evictions,
    keeps_the_limit_under_parallel_refusals,
];

fn limited(user: UserId, second: u64, max_per_user: u32, over_limit: OverLimit) -> NewSession {
    NewSession { max_per_user, over_limit, ..new_session(user, at(second)) }
}

async fn open(world: &World, session: NewSession) -> Opened {
    let login = act("session.login", session.record.created_at);
    world.store().open_session(session, login).await.unwrap()
}

async fn evicts_the_oldest_sessions_over_the_limit(world: World) {
    let user = world.user("ada").await;
    // Opened in another order than their age: what counts is when a session began, not its place in a table.
    let mut ids = [SessionId::new(); 5];
    for second in [3_u64, 1, 5, 2, 4] {
        let signed_in = world.sign_in(user.id, at(second)).await;
        ids[usize::try_from(second).unwrap() - 1] = signed_in.id;
    }
    let [first, second, third, fourth, fifth] = ids;
    world.news();
    let new = limited(user.id, 10, 3, OverLimit::EvictOldest);
    assert!(matches!(open(&world, new.clone()).await, Opened::New(_)));
    expect_same_changes(&world.news(), &[first, second, third].map(|id| revoked(id, user.id)));
    assert_eq!(world.live(user.id, at(10)).await, [new.record.id, fifth, fourth]);
    for id in [first, second, third] {
        assert_eq!(world.session(id).await.revoked_at, Some(at(10)));
    }
}

async fn refuses_a_session_over_the_limit(world: World) {
    let user = world.user("ada").await;
    for second in [1, 2] {
        let answer = open(&world, limited(user.id, second, 2, OverLimit::Reject)).await;
        assert!(matches!(answer, Opened::New(_)), "{answer:?}");
    }
    let (before, live) = (world.reread(user.id).await, world.live(user.id, at(3)).await);
    let mut third = limited(user.id, 3, 2, OverLimit::Reject);
    third.clear = vec![new_bucket()];
    let login = act("session.login", at(3));
    world.news();
    assert_eq!(world.store().open_session(third.clone(), login.clone()).await.unwrap(), Opened::TooMany);
    assert_eq!(world.news(), []);
    assert_eq!(world.store().session(third.record.id).await.unwrap(), None);
    assert_eq!(world.store().session_by_refresh(third.refresh.unwrap()).await.unwrap(), None);
    assert_eq!(world.live(user.id, at(3)).await, live);
    assert_eq!(world.reread(user.id).await, before, "a refused sign-in is no sign-in");
    world.expect_no_success(&login).await;
}

async fn counts_only_live_sessions_of_the_same_user(world: World) {
    let (user, other) = (world.user("ada").await, world.user("bob").await);
    let revoked_one = world.sign_in(user.id, at(1)).await;
    assert!(world.store().revoke_session(user.id, revoked_one.id, act("session.revoked", at(2))).await.unwrap());
    let idle = world.sign_in(user.id, at(3)).await;
    let mut expired = new_session(user.id, at(3));
    expired.record.expires_at = at(DAY);
    expired.record.idle_expires_at = at(2 * DAY) + IDLE;
    world.open(expired).await;
    let his = world.sign_in(other.id, at(2 * DAY)).await;

    world.news();
    let fits = limited(user.id, 2 * DAY, 1, OverLimit::Reject);
    assert!(matches!(open(&world, fits.clone()).await, Opened::New(_)), "the dead take no place");
    let replaces = limited(user.id, 2 * DAY + 1, 1, OverLimit::EvictOldest);
    assert!(matches!(open(&world, replaces.clone()).await, Opened::New(_)));
    expect_same_changes(&world.news(), &[revoked(fits.record.id, user.id)]);
    assert_eq!(world.live(user.id, at(2 * DAY + 1)).await, [replaces.record.id]);
    assert_eq!(world.live(other.id, at(2 * DAY + 1)).await, [his.id]);
    assert_eq!(world.session(idle.id).await.revoked_at, None, "what is dead already is not ended again");
}

async fn keeps_the_limit_under_parallel_evictions(world: World) {
    let user = world.user("ada").await;
    world.news();
    let answers = at_once(32, |index| {
        let world = world.clone();
        let session = limited(user.id, 1, 5, OverLimit::EvictOldest);
        // Each began at another moment of the same second; all are opened at the end of it.
        let session = NewSession {
            record: crate::store::SessionRecord {
                created_at: at(0) + std::time::Duration::from_millis(u64::try_from(index).unwrap()),
                ..session.record
            },
            ..session
        };
        async move { world.store().open_session(session, act("session.login", at(1))).await.unwrap() }
    })
    .await;
    assert!(answers.iter().all(|answer| matches!(answer, Opened::New(_))), "{answers:?}");
    assert_eq!(world.live(user.id, at(1)).await.len(), 5);
    assert_eq!(world.news().len(), 27, "each evicted session is published once");
}

async fn keeps_the_limit_under_parallel_refusals(world: World) {
    let user = world.user("ada").await;
    let answers = at_once(32, |_| {
        let world = world.clone();
        async move { open(&world, limited(user.id, 1, 5, OverLimit::Reject)).await }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Opened::New(_))).count(), 5);
    assert_eq!(answers.iter().filter(|answer| **answer == Opened::TooMany).count(), 27);
    assert_eq!(world.live(user.id, at(1)).await.len(), 5);
    assert_eq!(world.news(), []);
}
