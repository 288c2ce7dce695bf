//! Members: added once, listed page by page, given roles of their own organization, removed with their sessions.

use std::collections::BTreeSet;

use super::{
    Case,
    act::{Random, act, at, everywhere, new_account, new_member, only_at},
    room,
    tenant::written,
    world::World,
};
use crate::{
    changes::Change,
    id::{MemberId, RoleId, StoreId, UserId},
    store::{
        AccessRecord, Assignment, AtRevision, Joined, MemberKind, MemberPage, MemberRecord, Revised, RoleBook,
        UserStatus,
    },
    tenant::Tenant,
};

pub(super) const CASES: &[Case] = room!["member":
    joins_with_its_account_and_its_roles,
    joins_once,
    does_not_join_without_an_account,
    is_given_the_roles_named_and_no_others,
    is_given_no_role_of_another_organization,
    is_listed_page_by_page_oldest_first,
    has_the_rights_that_the_revision_told_with_them_has,
    is_found_as_a_holder_over_any_number_of_steps,
    leaves_with_its_roles_and_its_sessions,
    is_written_at_the_revision_seen_only,
];

fn sorted(mut roles: Vec<Assignment>) -> Vec<Assignment> {
    roles.sort_unstable();
    roles
}

async fn joins_with_its_account_and_its_roles(world: World) {
    let acme = world.found("acme").await;
    let (user, vienna) = (world.user("ada").await, acme.branch("vienna").await);
    let roles = vec![only_at(vienna, acme.member_role), everywhere(acme.member_role), everywhere(acme.owner_role)];
    let (told, before) = (act("member.added", at(3)).within(acme.id), acme.now().await);
    world.news();
    let joined = world.store().add_member(before, new_member(user.id, roles.clone()), told.clone()).await.unwrap();
    let (revision, joined) = written(joined);
    let member = MemberId::from(user.id);
    assert_eq!(world.news(), [Change::MemberChanged { organization: acme.id, member, revision }]);
    assert!(revision > before.revision);
    assert_eq!(acme.now().await.revision, revision);
    let Joined::New(record) = joined else { panic!("{joined:?}") };
    assert_eq!((record.id, record.kind, record.joined_at, &record.name), (member, MemberKind::User, at(3), &None));
    assert_eq!(record.roles, sorted(roles));
    let account = record.user.clone().unwrap();
    assert_eq!((account.id, account.email, account.display_name), (user.id, user.email, user.display_name));
    assert_eq!(acme.member(user.id).await, Some(record));
    world.expect_entry(&told, "success").await;

    let mut robot = new_account("robot");
    robot.roles = vec![everywhere(acme.member_role)];
    let added = world.store().add_member(acme.now().await, robot.clone(), act("account.created", at(4))).await.unwrap();
    let expected = MemberRecord {
        id: robot.id,
        kind: MemberKind::ServiceAccount,
        user: None,
        name: Some("robot".to_owned()),
        joined_at: at(4),
        roles: robot.roles,
    };
    assert_eq!(written(added).1, Joined::New(expected.clone()));
    assert_eq!(acme.members(MemberKind::ServiceAccount).await, [expected]);
    assert_eq!(acme.members(MemberKind::User).await.len(), 2, "kinds are listed apart");
}

async fn joins_once(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let user = acme.member_called("ada", vec![everywhere(acme.member_role)]).await;
    let (told, before, seen) = (act("member.added", at(3)), acme.contents().await, acme.now().await);
    world.news();
    let again = new_member(user, vec![everywhere(acme.owner_role)]);
    let answer = world.store().add_member(seen, again, told.clone()).await.unwrap();
    assert_eq!(answer, Revised::Done { revision: seen.revision, value: Joined::Already });
    assert_eq!(world.news(), []);
    world.expect_no_success(&told).await;
    assert_eq!(acme.contents().await, before, "not even the revision");
    other.join(user, vec![]).await;
}

async fn does_not_join_without_an_account(world: World) {
    let acme = world.found("acme").await;
    let (before, told) = (acme.contents().await, act("member.added", at(3)));
    world.news();
    let nobody = new_member(UserId::new(), vec![]);
    assert_eq!(world.store().add_member(acme.now().await, nobody, told.clone()).await.unwrap(), Revised::Missing);
    assert_eq!(world.news(), []);
    world.expect_no_success(&told).await;
    assert_eq!(acme.contents().await, before);
}

async fn is_given_the_roles_named_and_no_others(world: World) {
    let acme = world.found("acme").await;
    let (vienna, graz) = (acme.branch("vienna").await, acme.branch("graz").await);
    let (user, bystander) = (acme.member_called("ada", vec![]).await, acme.member_called("bob", vec![]).await);
    let clerk = acme.role("clerk", &[]).await;
    let sets = [
        vec![everywhere(clerk)],
        vec![only_at(vienna, clerk), only_at(graz, clerk), everywhere(clerk), everywhere(acme.member_role)],
        vec![only_at(graz, clerk), only_at(graz, clerk), everywhere(clerk), everywhere(clerk)],
        vec![],
        vec![only_at(vienna, acme.owner_role)],
    ];
    for roles in sets {
        let (told, before) = (act("member.roles_changed", at(4)).within(acme.id), acme.now().await);
        world.news();
        let member = MemberId::from(user);
        let given = world.store().assign_roles(before, member, roles.clone(), told.clone()).await.unwrap();
        let (revision, record) = written(given);
        assert_eq!(world.news(), [Change::MemberChanged { organization: acme.id, member, revision }]);
        assert!(revision > before.revision);
        let mut wanted = sorted(roles);
        wanted.dedup();
        assert_eq!(record.roles, wanted);
        assert_eq!(acme.member(user).await, Some(record));
        let access = world.store().access(acme.id, member).await.unwrap();
        assert_eq!(access, Some(AccessRecord { revision, roles: wanted }));
        world.expect_entry(&told, "success").await;
    }
    assert_eq!(acme.member(bystander).await.unwrap().roles, []);
}

async fn is_given_no_role_of_another_organization(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let user = acme.member_called("ada", vec![everywhere(acme.member_role)]).await;
    let (vienna, foreign) = (acme.branch("vienna").await, other.branch("vienna").await);
    let (before, others) = (acme.contents().await, other.contents().await);
    let crossing = [
        everywhere(other.member_role),
        only_at(vienna, other.member_role),
        only_at(foreign, acme.member_role),
        everywhere(RoleId::new()),
        only_at(StoreId::new(), acme.member_role),
    ];
    world.news();
    for held in crossing {
        let roles = vec![everywhere(acme.owner_role), held];
        let (given, added) = (act("member.roles_changed", at(4)), act("member.added", at(4)));
        let store = world.store();
        let refused = store.assign_roles(acme.now().await, user.into(), roles.clone(), given.clone()).await;
        assert!(!matches!(refused, Ok(Revised::Done { .. })), "{held:?}: {refused:?}");
        let refused = store.add_member(acme.now().await, new_member(other.owner, roles), added.clone()).await;
        assert!(!matches!(refused, Ok(Revised::Done { .. })), "{held:?}: {refused:?}");
        for act in [given, added] {
            world.expect_no_success(&act).await;
        }
    }
    assert_eq!(world.news(), []);
    assert_eq!((acme.contents().await, other.contents().await), (before, others));
}

async fn is_listed_page_by_page_oldest_first(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    other.member_called("stranger", vec![]).await;
    let vienna = acme.branch("vienna").await;
    let mut added = vec![acme.member(acme.owner).await.unwrap()];
    // Some join at the same moment: their ids decide, and a page may end between two of them.
    for (index, second) in [9, 3, 3, 3, 5, 3, 9, 1].into_iter().enumerate() {
        let user = world.user(&format!("user {index}")).await.id;
        let roles = [everywhere(acme.member_role), only_at(vienna, acme.member_role)][..index % 3].to_vec();
        let new = new_member(user, roles);
        let joined = world.store().add_member(acme.now().await, new, act("member.added", at(second))).await.unwrap();
        let Joined::New(record) = written(joined).1 else { panic!("it must join") };
        added.push(record);
    }
    acme.account("robot", acme.member_role).await;
    added.sort_unstable_by_key(|member| (member.joined_at, member.id));
    assert_eq!(acme.members(MemberKind::User).await, added);
    for limit in [1, 2, 3, 9, 10] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = MemberPage { kind: MemberKind::User, after, limit };
            let page = world.store().members(acme.id, page).await.unwrap();
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(last) = page.last() else { break };
            after = Some((last.joined_at, last.id));
            listed.extend(page);
        }
        assert_eq!(listed, added, "in pages of {limit}");
    }
}

async fn has_the_rights_that_the_revision_told_with_them_has(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let vienna = acme.branch("vienna").await;
    let roles = vec![everywhere(acme.owner_role), only_at(vienna, acme.owner_role), only_at(vienna, acme.member_role)];
    let user = acme.member_called("ada", roles.clone()).await;
    let bare = acme.member_called("bob", vec![]).await;
    let revision = acme.now().await.revision;
    let (store, roles) = (world.store(), sorted(roles));
    assert_eq!(store.access(acme.id, user.into()).await.unwrap(), Some(AccessRecord { revision, roles }));
    assert_eq!(store.access(acme.id, bare.into()).await.unwrap(), Some(AccessRecord { revision, roles: vec![] }));
    assert_eq!(store.access(other.id, user.into()).await.unwrap(), None);
    assert_eq!(store.access(acme.id, MemberId::from(UserId::new())).await.unwrap(), None);
    let robot = acme.account("robot", acme.member_role).await;
    let access = store.access(acme.id, robot).await.unwrap().unwrap();
    assert_eq!(access.roles, [everywhere(acme.member_role)]);
}

/// Whether `role` is, or inherits, `wanted`: by looking at every pair again until nothing more is found.
fn reaches(book: &RoleBook, role: RoleId, wanted: RoleId) -> bool {
    let mut reached = BTreeSet::from([role]);
    loop {
        let more: Vec<_> =
            book.inherits.iter().filter(|(heir, _)| reached.contains(heir)).map(|(_, parent)| *parent).collect();
        let before = reached.len();
        reached.extend(more);
        if reached.len() == before {
            return reached.contains(&wanted);
        }
    }
}

async fn is_found_as_a_holder_over_any_number_of_steps(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let (vienna, mut random) = (acme.branch("vienna").await, Random::seeded(7));
    let mut roles = vec![acme.member_role];
    for index in 0..12 {
        let parents = [roles[random.index(roles.len())], roles[random.index(roles.len())]];
        roles.push(acme.role(&format!("role-{index}"), &parents).await);
    }
    for index in 0..10 {
        let role = roles[random.index(roles.len())];
        let held = [everywhere(role), only_at(vienna, roles[random.index(roles.len())]), everywhere(acme.owner_role)];
        let name = format!("user {index}");
        let user = acme.member_called(&name, held[..random.index(4)].to_vec()).await;
        if index % 3 == 0 {
            let disabled = act("user.disabled", at(2));
            world.store().set_status(user, UserStatus::Disabled, None, disabled).await.unwrap();
        }
    }
    acme.account("robot", roles[6]).await;
    other.member_called("stranger", vec![everywhere(other.member_role)]).await;
    let mut members = acme.members(MemberKind::User).await;
    members.extend(acme.members(MemberKind::ServiceAccount).await);
    members.sort_unstable_by_key(|member| member.id);
    let book = acme.book().await;
    for wanted in roles.into_iter().chain([acme.owner_role]) {
        let holders = world.store().holders(acme.id, wanted).await.unwrap();
        let mut expected = Vec::new();
        for member in &members {
            if member.roles.iter().any(|held| reaches(&book, held.role, wanted)) {
                let active = match &member.user {
                    Some(account) => world.reread(account.id).await.status == UserStatus::Active,
                    None => false,
                };
                expected.push((member.id, active, member.roles.clone()));
            }
        }
        let mut found: Vec<_> =
            holders.into_iter().map(|holder| (holder.member, holder.is_active_user, holder.roles)).collect();
        found.sort_unstable_by_key(|(member, ..)| *member);
        assert_eq!(found, expected);
    }
    assert_eq!(world.store().holders(acme.id, RoleId::new()).await.unwrap(), []);
}

async fn leaves_with_its_roles_and_its_sessions(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let vienna = acme.branch("vienna").await;
    let user = acme.member_called("ada", vec![everywhere(acme.member_role)]).await;
    other.join(user, vec![]).await;
    let (inside, elsewhere, colleague) =
        (world.sign_in(user, at(1)).await, world.sign_in(user, at(1)).await, world.sign_in(acme.owner, at(1)).await);
    let visits = [
        (user, &inside, Tenant { organization: acme.id, store: Some(vienna) }),
        (user, &elsewhere, Tenant { organization: other.id, store: None }),
        (acme.owner, &colleague, Tenant { organization: acme.id, store: None }),
    ];
    for (user, session, tenant) in visits {
        world.store().enter(user, session.id, tenant, act("session.switched", at(2))).await.unwrap().unwrap();
    }
    let others = other.contents().await;
    let (told, before) = (act("member.removed", at(3)).within(acme.id), acme.now().await);
    world.news();
    let removed = world.store().remove_member(before, user.into(), told.clone()).await.unwrap();
    let (revision, ()) = written(removed);
    let change = Change::MemberChanged { organization: acme.id, member: user.into(), revision };
    assert_eq!(world.news(), [Change::SessionChanged { session: inside.id, user }, change]);
    assert!(revision > before.revision);
    world.expect_entry(&told, "success").await;
    assert_eq!(acme.member(user).await, None);
    assert_eq!(world.store().access(acme.id, user.into()).await.unwrap(), None);
    assert!(world.store().holders(acme.id, acme.member_role).await.unwrap().is_empty());
    assert_eq!(world.session(inside.id).await, inside.record, "the session lives on, in no organization");
    assert_eq!(world.session(elsewhere.id).await.organization, Some(other.id));
    assert_eq!(world.session(colleague.id).await.organization, Some(acme.id));
    assert_eq!(other.contents().await, others);
    let robot = acme.account("robot", acme.member_role).await;
    written(world.store().remove_member(acme.now().await, robot, act("account.deleted", at(4))).await.unwrap());
    assert_eq!(acme.members(MemberKind::ServiceAccount).await, []);
    acme.join(user, vec![]).await;
    assert_eq!(acme.member(user).await.unwrap().roles, [], "who comes back begins without the old roles");
}

async fn is_written_at_the_revision_seen_only(world: World) {
    let acme = world.found("acme").await;
    let user = acme.member_called("ada", vec![everywhere(acme.member_role)]).await;
    let (newcomer, now) = (world.user("bob").await.id, acme.now().await);
    let before = acme.contents().await;
    world.news();
    let store = world.store();
    for revision in [now.revision - 1, now.revision + 1, 0, -1] {
        let wrong = AtRevision { revision, ..now };
        let [add, assign, remove] = ["add", "assign", "remove"].map(|name| act(name, at(5)));
        let added = store.add_member(wrong, new_member(newcomer, vec![]), add.clone()).await.unwrap();
        assert_eq!(added, Revised::Stale);
        let roles = vec![everywhere(acme.owner_role)];
        assert_eq!(store.assign_roles(wrong, user.into(), roles, assign.clone()).await.unwrap(), Revised::Stale);
        assert_eq!(store.remove_member(wrong, user.into(), remove.clone()).await.unwrap(), Revised::Stale);
        for act in [add, assign, remove] {
            world.expect_no_success(&act).await;
        }
    }
    let nobody = MemberId::from(UserId::new());
    assert_eq!(store.assign_roles(now, nobody, vec![], act("assign", at(5))).await.unwrap(), Revised::Missing);
    assert_eq!(store.remove_member(now, nobody, act("remove", at(5))).await.unwrap(), Revised::Missing);
    assert_eq!(world.news(), []);
    assert_eq!(acme.contents().await, before);
}
