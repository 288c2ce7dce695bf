//! Generations: all sessions of an organization, or all there are, ended by one write that later ones do not feel.

use super::{
    Case,
    act::{DAY, act, at, new_session, rotation},
    refresh::{Verdict, rotate, verdict},
    room,
    tenant::written,
    world::{World, at_once, revoked},
};
use crate::{
    changes::Change,
    clock::Timestamp,
    id::{OrgId, SessionId, UserId},
    store::{Floors, NewSession, Opened, OverLimit, Touch},
    tenant::Tenant,
};

pub(super) const CASES: &[Case] = room!["generation":
    ends_all_sessions_and_no_later_one,
    ends_the_sessions_in_one_organization_alone,
    ends_nothing_where_there_is_no_organization,
    an_ended_generation_is_dead_to_every_verb,
    what_was_ended_with_an_organization_does_not_revive_outside_it,
    a_session_that_comes_in_later_lives,
    counts_only_what_is_left_of_a_generation,
    raises_no_generation_twice_however_many_try,
    touches_no_session_opened_after_the_answer,
    lets_no_ended_session_escape_into_another_organization,
];

/// Ends the sessions of an organization, or all.
async fn end(world: &World, organization: Option<OrgId>, now: Timestamp) -> i64 {
    let told = act("session.revoked_everything", now);
    world.news();
    let generation = world.store().revoke_generation(organization, told.clone()).await.unwrap().unwrap();
    assert_eq!(world.news(), [Change::SessionsRevoked { organization, generation }]);
    world.expect_entry(&told, "success").await;
    generation
}

async fn enter(world: &World, user: UserId, session: SessionId, organization: OrgId) -> bool {
    let tenant = Tenant { organization, store: None };
    world.store().enter(user, session, tenant, act("session.switched", at(2))).await.unwrap().is_some()
}

async fn ends_all_sessions_and_no_later_one(world: World) {
    let (ada, bob) = (world.user("ada").await.id, world.user("bob").await.id);
    assert_eq!(world.store().session_floors().await.unwrap(), Floors::default());
    // All at one moment: nothing but generations tells them apart.
    let now = at(5);
    let before = [world.sign_in(ada, now).await, world.sign_in(bob, now).await];
    let generation = end(&world, None, now).await;
    let after = [world.sign_in(ada, now).await, world.sign_in(bob, now).await];
    for dead in &before {
        let stored = world.session(dead.id).await;
        assert_eq!(stored.revoked_at, Some(now));
        assert!(!stored.is_live(now));
    }
    for (user, live) in [(ada, &after[0]), (bob, &after[1])] {
        assert_eq!(world.live(user, now).await, [live.id]);
        assert_eq!(world.session(live.id).await, live.record);
        assert_eq!(live.record.generation, generation);
    }
    let floors = world.store().session_floors().await.unwrap();
    assert_eq!(floors, Floors::new(generation, []));
    assert!(!before[0].record.is_live_above(&floors, now) && after[0].record.is_live_above(&floors, now));
}

async fn ends_the_sessions_in_one_organization_alone(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let user = world.user("ada").await.id;
    acme.join(user, vec![]).await;
    other.join(user, vec![]).await;
    let [inside, elsewhere, nowhere] =
        [world.sign_in(user, at(1)).await, world.sign_in(user, at(1)).await, world.sign_in(user, at(1)).await];
    assert!(enter(&world, user, inside.id, acme.id).await && enter(&world, user, elsewhere.id, other.id).await);
    let generation = end(&world, Some(acme.id), at(3)).await;
    let mut live = world.live(user, at(3)).await;
    live.sort_unstable();
    assert_eq!(live, [elsewhere.id, nowhere.id]);
    assert_eq!(world.session(inside.id).await.revoked_at, Some(at(3)));
    let floors = world.store().session_floors().await.unwrap();
    assert_eq!(floors, Floors::new(0, [(acme.id, generation)]));
    // The whole deployment's floor covers it from then on.
    let all = end(&world, None, at(4)).await;
    assert_eq!(world.store().session_floors().await.unwrap(), Floors::new(all, []));
    assert_eq!(world.live(user, at(4)).await, []);
}

async fn ends_nothing_where_there_is_no_organization(world: World) {
    let user = world.user("ada").await.id;
    let session = world.sign_in(user, at(1)).await;
    let told = act("session.revoked_organization", at(2));
    assert_eq!(world.store().revoke_generation(Some(OrgId::new()), told.clone()).await.unwrap(), None);
    assert_eq!(world.news(), []);
    assert_eq!(world.entries(&told).await, []);
    assert_eq!(world.live(user, at(2)).await, [session.id]);
    assert_eq!(world.store().session_floors().await.unwrap(), Floors::default());
}

async fn an_ended_generation_is_dead_to_every_verb(world: World) {
    let acme = world.found("acme").await;
    let user = acme.owner;
    let session = world.sign_in(user, at(1)).await;
    end(&world, None, at(2)).await;
    let (store, now) = (world.store(), at(3));
    let by_id = world.session(session.id).await;
    let by_refresh = store.session_by_refresh(session.refresh).await.unwrap().unwrap().0;
    assert!(!by_id.is_live(now) && !by_refresh.is_live(now));
    assert_eq!(verdict(&rotate(&world, &rotation(session.refresh), now).await), Verdict::Invalid);
    assert!(!enter(&world, user, session.id, acme.id).await);
    let touch = Touch { session: session.id, seen_at: now, idle_expires_at: Some(at(9 * DAY)) };
    store.touch_sessions(vec![touch]).await.unwrap();
    assert!(!store.revoke_session(user, session.id, act("session.revoked", now)).await.unwrap());
    assert_eq!(store.revoke_sessions(user, None, act("session.revoked_all", now)).await.unwrap(), 0);
    let change = crate::store::ContextChange { network: true, device: true };
    assert_eq!(store.note_context(user, session.id, change, act("session.context", now)).await.unwrap(), None);
    assert_eq!(store.live_sessions(now).await.unwrap(), []);
    assert_eq!(world.live(user, now).await, []);
    let stored = world.session(session.id).await;
    assert_eq!((stored.last_seen_at, stored.revoked_at), (at(1), Some(at(2))));
    assert_eq!(world.news(), []);
}

async fn what_was_ended_with_an_organization_does_not_revive_outside_it(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let user = world.user("ada").await.id;
    acme.join(user, vec![]).await;
    other.join(user, vec![]).await;
    let (left, removed) = (world.sign_in(user, at(1)).await, world.sign_in(acme.owner, at(1)).await);
    assert!(enter(&world, user, left.id, acme.id).await && enter(&world, acme.owner, removed.id, acme.id).await);
    end(&world, Some(acme.id), at(3)).await;
    assert!(!enter(&world, user, left.id, other.id).await, "it goes nowhere");
    written(world.store().remove_member(acme.now().await, user.into(), act("member.removed", at(4))).await.unwrap());
    written(world.store().delete_organization(acme.now().await, act("organization.deleted", at(5))).await.unwrap());
    for dead in [left, removed] {
        assert_eq!(world.session(dead.id).await.revoked_at, Some(at(3)));
        assert_eq!(verdict(&rotate(&world, &rotation(dead.refresh), at(6)).await), Verdict::Invalid);
    }
}

async fn a_session_that_comes_in_later_lives(world: World) {
    let acme = world.found("acme").await;
    let session = world.sign_in(acme.owner, at(1)).await;
    let generation = end(&world, Some(acme.id), at(2)).await;
    assert!(enter(&world, acme.owner, session.id, acme.id).await);
    let entered = world.session(session.id).await;
    assert_eq!((entered.revoked_at, entered.generation), (None, generation));
    let mut inside = new_session(acme.owner, at(2));
    inside.record.organization = Some(acme.id);
    let inside = world.open(inside).await;
    let mut live = world.live(acme.owner, at(2)).await;
    live.sort_unstable();
    assert_eq!(live, [session.id, inside.id]);
    assert_eq!(verdict(&rotate(&world, &rotation(session.refresh), at(3)).await), Verdict::Fresh);
}

async fn counts_only_what_is_left_of_a_generation(world: World) {
    let user = world.user("ada").await.id;
    for _ in 0..3 {
        world.sign_in(user, at(1)).await;
    }
    end(&world, None, at(2)).await;
    let limited = |over_limit| NewSession { max_per_user: 1, over_limit, ..new_session(user, at(2)) };
    let first = limited(OverLimit::Reject);
    let answer = world.store().open_session(first.clone(), act("session.login", at(2))).await.unwrap();
    assert!(matches!(answer, Opened::New(_)), "the dead take no place: {answer:?}");
    let refused = world.store().open_session(limited(OverLimit::Reject), act("session.login", at(2))).await.unwrap();
    assert_eq!(refused, Opened::TooMany);
    world.news();
    let second = world.open(limited(OverLimit::EvictOldest)).await;
    assert_eq!(world.news(), [revoked(first.record.id, user)], "the dead are not evicted again");
    assert_eq!(world.live(user, at(2)).await, [second.id]);
}

async fn raises_no_generation_twice_however_many_try(world: World) {
    let acme = world.found("acme").await;
    let mut generations = at_once(16, |index| {
        let world = world.clone();
        let organization = (index % 2 == 0).then_some(acme.id);
        let told = act("session.revoked_everything", at(1));
        async move { world.store().revoke_generation(organization, told).await.unwrap().unwrap() }
    })
    .await;
    generations.sort_unstable();
    assert_eq!(generations, (1..=16).collect::<Vec<_>>());
    let floors = world.store().session_floors().await.unwrap();
    let mut followed = Floors::default();
    for change in world.news() {
        if let Change::SessionsRevoked { organization, generation } = change {
            followed.raise(organization, generation);
        }
    }
    assert_eq!(followed, floors, "who follows the feed knows the same floors");
}

async fn touches_no_session_opened_after_the_answer(world: World) {
    let mut users = Vec::new();
    for index in 0..4 {
        users.push(world.user(&format!("user {index}")).await.id);
    }
    let answers = at_once(16, |index| {
        let (world, user) = (world.clone(), users[index % 4]);
        async move {
            // All at the same moment, whatever the order: what counts is who was answered first.
            if index % 4 == 0 {
                let told = act("session.revoked_everything", at(1));
                let ended = world.store().revoke_generation(None, told).await.unwrap().unwrap();
                let own = world.sign_in(user, at(1)).await;
                assert!(own.record.generation >= ended, "it was opened after the answer");
                None
            } else {
                Some(world.sign_in(user, at(1)).await)
            }
        }
    })
    .await;
    let floors = world.store().session_floors().await.unwrap();
    for session in answers.into_iter().flatten() {
        let stored = world.session(session.id).await;
        assert_eq!(stored.is_live(at(1)), session.record.is_live_above(&floors, at(1)), "SQL and memory agree");
    }
}

async fn lets_no_ended_session_escape_into_another_organization(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let user = world.user("ada").await.id;
    other.join(user, vec![]).await;
    for round in 0..24 {
        acme.join(user, vec![]).await;
        let session = world.sign_in(user, at(1)).await.id;
        assert!(enter(&world, user, session, acme.id).await);
        let seen = acme.now().await;
        let looks = at_once(3, |task| {
            let (world, acme, other) = (world.clone(), acme.id, other.id);
            async move {
                match task {
                    0 => {
                        let told = act("session.revoked_organization", at(2));
                        world.store().revoke_generation(Some(acme), told).await.unwrap().unwrap();
                        Some(world.session(session).await.revoked_at.is_some())
                    }
                    1 => {
                        enter(&world, user, session, other).await;
                        None
                    }
                    _ => {
                        let told = act("member.removed", at(2));
                        written(world.store().remove_member(seen, user.into(), told).await.unwrap());
                        None
                    }
                }
            }
        })
        .await;
        let was_ended = looks.into_iter().flatten().any(|ended| ended);
        let is_ended = world.session(session).await.revoked_at.is_some();
        assert_eq!(is_ended, was_ended, "round {round}: what was ended by the answer stays so, and nothing else ends");
    }
}
