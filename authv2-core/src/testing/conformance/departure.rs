//! Accounts that are removed: their memberships go with them, at the revisions at which that was judged.

use super::{
    Case,
    act::{act, at, everywhere},
    room,
    tenant::Founded,
    world::{World, expect_same_changes, revoked},
};
use crate::{changes::Change, id::UserId, store::Updated, tenant::Tenant};

pub(super) const CASES: &[Case] = room!["departure":
    ends_its_memberships_as_they_were_judged,
    stays_whole_where_they_were_judged_otherwise,
];

/// A member of three organizations, with a session in one of them.
async fn of_three(world: &World) -> (UserId, Vec<Founded>) {
    let user = world.user("ada").await.id;
    let mut organizations = Vec::new();
    for slug in ["acme", "other", "third"] {
        let organization = world.found(slug).await;
        organization.join(user, vec![everywhere(organization.member_role)]).await;
        organizations.push(organization);
    }
    (user, organizations)
}

async fn ends_its_memberships_as_they_were_judged(world: World) {
    let (user, organizations) = of_three(&world).await;
    let session = world.sign_in(user, at(1)).await;
    let tenant = Tenant { organization: organizations[1].id, store: None };
    world.store().enter(user, session.id, tenant, act("session.switched", at(2))).await.unwrap().unwrap();
    let mut judged = world.memberships(user).await;
    assert_eq!(judged.len(), 3);
    // In whatever order they come.
    judged.reverse();
    judged.swap(0, 1);
    let told = act("user.deleted", at(3));
    world.news();
    let answer = world.store().delete_user(user, judged.clone(), told.clone()).await.unwrap();
    let news = world.news();
    assert_eq!(answer, Updated::Done(()));
    let mut expected = vec![revoked(session.id, user), Change::UserChanged { user }];
    for organization in &organizations {
        let (id, revision) = (organization.id, organization.now().await.revision);
        let seen = judged.iter().find(|at| at.organization == id).unwrap().revision;
        assert!(revision > seen, "every write raises the revision");
        expected.push(Change::MemberChanged { organization: id, member: user.into(), revision });
        assert_eq!(organization.member(user).await, None);
        assert!(world.store().holders(id, organization.member_role).await.unwrap().is_empty());
    }
    expect_same_changes(&news, &expected);
    world.expect_entry(&told, "success").await;
    assert_eq!(world.store().user(user).await.unwrap(), None);
}

async fn stays_whole_where_they_were_judged_otherwise(world: World) {
    let (user, organizations) = of_three(&world).await;
    let judged = world.memberships(user).await;
    let foreign = world.found("foreign").await.now().await;
    let at_revision = |index: usize, revision| {
        let mut wrong = judged.clone();
        wrong[index].revision = revision;
        wrong
    };
    let without = |index: usize| [&judged[..index], &judged[index + 1..]].concat();
    let wrong = [
        vec![],
        without(0),
        without(2),
        [&judged[..], &[foreign]].concat(),
        [&judged[..], &judged[..1]].concat(),
        [&without(1)[..], &[foreign]].concat(),
        at_revision(0, judged[0].revision - 1),
        at_revision(1, judged[1].revision + 1),
        at_revision(2, 0),
    ];
    let (account, session) = (world.reread(user).await, world.sign_in(user, at(1)).await);
    world.news();
    for memberships in wrong {
        let told = act("user.deleted", at(3));
        let answer = world.store().delete_user(user, memberships.clone(), told.clone()).await.unwrap();
        assert_eq!(answer, Updated::Stale, "{memberships:?}");
        assert_eq!(world.news(), []);
        world.expect_no_success(&told).await;
    }
    assert_eq!(world.reread(user).await.version, account.version);
    assert_eq!(world.session(session.id).await.revoked_at, None);
    assert_eq!(world.memberships(user).await, judged, "no revision was raised");
    // A write in between: judged anew, it goes through.
    organizations[2].branch("vienna").await;
    let late = world.store().delete_user(user, judged, act("user.deleted", at(4))).await.unwrap();
    assert_eq!(late, Updated::Stale);
    world.remove(user).await;
}
