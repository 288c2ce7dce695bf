//! The context of sessions: what changed is noted once for each kind, and makes a session look riskier.

use super::{
    Case,
    act::{DAY, act, at},
    room,
    world::{World, at_once},
};
use crate::{
    changes::Change,
    id::{SessionId, UserId},
    store::{ContextChange, Risk, SessionRecord},
};

pub(super) const CASES: &[Case] = room!["context":
    raises_the_risk_once_for_each_kind_of_change,
    raises_it_at_once_where_both_changed,
    notes_a_change_once_however_many_requests_bring_it,
    notes_nothing_of_what_is_not_a_live_session_of_the_user,
];

const NETWORK: ContextChange = ContextChange { network: true, device: false };
const DEVICE: ContextChange = ContextChange { network: false, device: true };
const BOTH: ContextChange = ContextChange { network: true, device: true };

async fn note(world: &World, user: UserId, session: SessionId, change: ContextChange) -> Option<SessionRecord> {
    world.store().note_context(user, session, change, act("session.context_changed", at(2))).await.unwrap()
}

async fn raises_the_risk_once_for_each_kind_of_change(world: World) {
    let user = world.user("ada").await.id;
    let (session, bystander) = (world.sign_in(user, at(1)).await, world.sign_in(user, at(1)).await);
    let medium = SessionRecord { risk: Risk::Medium, device_changed: true, ..session.record.clone() };
    let high = SessionRecord { risk: Risk::High, network_changed: true, ..medium.clone() };
    for (change, expected) in
        [(DEVICE, Some(&medium)), (DEVICE, None), (BOTH, Some(&high)), (NETWORK, None), (BOTH, None)]
    {
        let told = act("session.context_changed", at(2));
        world.news();
        let noted = world.store().note_context(user, session.id, change, told.clone()).await.unwrap();
        assert_eq!(noted.as_ref(), expected);
        match expected {
            Some(expected) => {
                assert_eq!(world.news(), [Change::SessionChanged { session: session.id, user }]);
                world.expect_entry(&told, "success").await;
                assert_eq!(world.session(session.id).await, *expected);
            }
            None => {
                assert_eq!(world.news(), []);
                assert_eq!(world.entries(&told).await, [], "it was noted before");
            }
        }
    }
    assert_eq!(world.session(bystander.id).await, bystander.record);
}

async fn raises_it_at_once_where_both_changed(world: World) {
    let user = world.user("ada").await.id;
    let session = world.sign_in(user, at(1)).await;
    let noted = note(&world, user, session.id, BOTH).await.unwrap();
    assert_eq!((noted.risk, noted.network_changed, noted.device_changed), (Risk::High, true, true));
}

async fn notes_a_change_once_however_many_requests_bring_it(world: World) {
    let user = world.user("ada").await.id;
    let session = world.sign_in(user, at(1)).await;
    world.news();
    let answers = at_once(16, |index| {
        let world = world.clone();
        async move { note(&world, user, session.id, if index % 2 == 0 { NETWORK } else { DEVICE }).await }
    })
    .await;
    assert_eq!(answers.into_iter().flatten().count(), 2, "one of each kind");
    assert_eq!(world.news().len(), 2);
    assert_eq!(world.session(session.id).await.risk, Risk::High);
}

async fn notes_nothing_of_what_is_not_a_live_session_of_the_user(world: World) {
    let (ada, bob) = (world.user("ada").await.id, world.user("bob").await.id);
    let (own, ended) = (world.sign_in(ada, at(1)).await, world.sign_in(ada, at(1)).await);
    assert!(world.store().revoke_session(ada, ended.id, act("session.revoked", at(2))).await.unwrap());
    world.news();
    for (user, session) in [(bob, own.id), (ada, ended.id), (ada, SessionId::new())] {
        assert_eq!(note(&world, user, session, BOTH).await, None);
    }
    let late = act("session.context_changed", at(2 * DAY));
    assert_eq!(world.store().note_context(ada, own.id, BOTH, late).await.unwrap(), None);
    assert_eq!(world.news(), []);
    assert_eq!(world.session(own.id).await, own.record);
}
