//! Tenants apart: a verb that is given one organization, and an id of another, finds nothing and changes nothing.

use super::{
    Case,
    act::{act, at, everywhere, new_account, new_role, new_store, only_at},
    role::resource_type,
    room,
    tenant::{Founded, written},
    usage::{counted, used},
    world::World,
};
use crate::{
    id::{MemberId, OrgId, RoleId, StoreId},
    store::{AtRevision, MemberKind, MemberPage, NewMember, NewRole, Revised, Usage},
    tenant::Tenant,
};

pub(super) const CASES: &[Case] = room!["isolation":
    finds_nothing_of_another_organization,
    changes_nothing_of_another_organization,
    moves_nothing_by_a_known_id,
];

/// An organization with some of everything.
struct Furnished {
    organization: Founded,
    role: RoleId,
    branch: StoreId,
    user: MemberId,
    account: MemberId,
}

async fn furnished(world: &World, slug: &str) -> Furnished {
    let organization = world.found(slug).await;
    let branch = organization.branch("vienna").await;
    let role = organization.role("clerk", &[organization.member_role]).await;
    let held = vec![everywhere(role), only_at(branch, organization.member_role)];
    let user = organization.member_called(&format!("clerk of {slug}"), held).await.into();
    let account = organization.account("robot", role).await;
    let declare = act("resource_type.declared", at(1));
    let declared = resource_type("orders", r#"{"amount":"long"}"#);
    written(world.store().put_resource_type(organization.now().await, declared, declare).await.unwrap());
    let decisions = vec![counted(organization.id, 1, "orders:read", "allowed", 5)];
    let members = vec![used(organization.id, user, 5)];
    world.store().add_usage(Usage { decisions, members }, vec![]).await.unwrap();
    Furnished { organization, role, branch, user, account }
}

async fn finds_nothing_of_another_organization(world: World) {
    let (acme, other) = (furnished(&world, "acme").await, furnished(&world, "other").await);
    let store = world.store();
    for (of, foreign) in [(&acme, &other), (&other, &acme)] {
        for organization in [of.organization.id, OrgId::new()] {
            for member in [foreign.user, foreign.account, foreign.organization.owner.into()] {
                assert_eq!(store.member(organization, member).await.unwrap(), None);
                assert_eq!(store.access(organization, member).await.unwrap(), None);
            }
            for role in [foreign.role, foreign.organization.member_role, foreign.organization.owner_role] {
                assert_eq!(store.holders(organization, role).await.unwrap(), []);
            }
        }
        let book = of.organization.book().await;
        let foreign_book = foreign.organization.book().await;
        assert!(book.roles.iter().all(|role| foreign_book.roles.iter().all(|theirs| theirs.id != role.id)));
        assert!(book.stores.iter().all(|store| store.organization == of.organization.id));
        assert_eq!((book.roles.len(), book.inherits.len(), book.stores.len(), book.resource_types.len()), (3, 1, 1, 1));
        for kind in [MemberKind::User, MemberKind::ServiceAccount] {
            let members = of.organization.members(kind).await;
            assert!(members.iter().all(|member| member.id != foreign.user && member.id != foreign.account));
            // A cursor of another list leads nowhere else.
            let theirs = foreign.organization.members(kind).await;
            let first = theirs.first().unwrap();
            let page = MemberPage { kind, after: Some((first.joined_at, first.id)), limit: 100 };
            let after = store.members(of.organization.id, page).await.unwrap();
            assert!(after.iter().all(|member| members.contains(member)));
        }
        let counts = store.decision_counts(of.organization.id, 0).await.unwrap();
        assert!(counts.iter().all(|count| count.organization == of.organization.id));
        let idle = store.idle_members(of.organization.id, at(1_000), 100).await.unwrap();
        assert!(idle.iter().all(|idle| idle.member != foreign.user && idle.member != foreign.account), "{idle:?}");
    }
}

async fn changes_nothing_of_another_organization(world: World) {
    let (acme, other) = (furnished(&world, "acme").await, furnished(&world, "other").await);
    let session = world.sign_in(acme.organization.owner, at(1)).await;
    let at_now = acme.organization.now().await;
    let (before, others) = (acme.organization.contents().await, other.organization.contents().await);
    let (store, told) = (world.store(), || act("somebody.elses", at(2)));
    world.news();

    // One's own organization and revision, another's things.
    for member in [other.user, other.account] {
        let roles = vec![everywhere(acme.role)];
        assert_eq!(store.assign_roles(at_now, member, roles, told()).await.unwrap(), Revised::Missing);
        assert_eq!(store.remove_member(at_now, member, told()).await.unwrap(), Revised::Missing);
    }
    assert_eq!(store.delete_role(at_now, other.role, told()).await.unwrap(), Revised::Missing);
    let refused = store.put_role(at_now, NewRole { id: other.role, ..new_role("mine") }, told()).await;
    assert!(!matches!(refused, Ok(Revised::Done { .. })), "{refused:?}");
    let into_theirs = Tenant { organization: acme.organization.id, store: Some(other.branch) };
    assert_eq!(store.enter(acme.organization.owner, session.id, into_theirs, told()).await.unwrap(), None);
    let usage = Usage { decisions: vec![], members: vec![used(acme.organization.id, other.user, 900)] };
    store.add_usage(usage, vec![]).await.unwrap();

    // Another's organization, at one's own revision: told apart by nothing but the revision.
    let revision = at_now.revision + 100;
    let theirs = AtRevision { organization: other.organization.id, revision };
    assert_eq!(store.remove_member(theirs, other.user, told()).await.unwrap(), Revised::Stale);
    assert_eq!(store.delete_organization(theirs, told()).await.unwrap(), Revised::Stale);

    assert_eq!(world.news(), []);
    assert_eq!(acme.organization.contents().await, before);
    assert_eq!(other.organization.contents().await, others);
    let idle = store.idle_members(other.organization.id, at(1_000), 100).await.unwrap();
    assert!(idle.iter().any(|idle| idle.member == other.user && idle.used_at == Some(at(5))), "{idle:?}");
    assert_eq!(world.session(session.id).await, session.record);
}

async fn moves_nothing_by_a_known_id(world: World) {
    let (acme, other) = (furnished(&world, "acme").await, furnished(&world, "other").await);
    let others = other.organization.contents().await;
    // New things under ids that others have: whatever the answer is, theirs stay where and as they are.
    let store = world.store();
    let branch = crate::store::NewStore { id: other.branch, ..new_store("taken") };
    let _ = store.create_store(acme.organization.id, branch, act("a", at(2))).await;
    let role = NewRole { id: other.role, ..new_role("taken") };
    let _ = store.put_role(acme.organization.now().await, role, act("a", at(2))).await;
    let account = NewMember { id: other.account, roles: vec![everywhere(acme.role)], ..new_account("taken") };
    let _ = store.add_member(acme.organization.now().await, account, act("a", at(2))).await;
    assert_eq!(other.organization.contents().await, others);
    let theirs = store.access(other.organization.id, other.account).await.unwrap().unwrap();
    assert_eq!(theirs.roles, [everywhere(other.role)]);
    assert!(acme.organization.book().await.stores.iter().all(|store| store.id != other.branch));
    assert!(acme.organization.book().await.roles.iter().all(|role| role.id != other.role));
}
