//! The mutating verbs of tenancy as trials: what each starts from, the verb itself, and all that it leaves behind.

use super::{
    act::{act, at, everywhere, new_member, new_organization, new_role, new_session, new_store},
    hang_up::{Prepare, Trial},
    hang_up_verbs::trial,
    role::resource_type,
    tenant::Founded,
    usage::{counted, used},
    world::{World, revoked},
};
use crate::{
    changes::Change,
    id::{MemberId, OrgId},
    store::{NewRole, OrganizationChange, OrganizationName, Usage},
    tenant::Tenant,
};

/// Verbs that can be performed any number of times on one store.
pub(super) const REPEATABLE: &[(&str, Prepare)] = &[
    ("create_organization", |world, round| Box::pin(create_organization(world, round))),
    ("update_organization", |world, round| Box::pin(update_organization(world, round))),
    ("delete_organization", |world, round| Box::pin(delete_organization(world, round))),
    ("create_store", |world, round| Box::pin(create_store(world, round))),
    ("enter", |world, round| Box::pin(enter(world, round))),
    ("add_member", |world, round| Box::pin(add_member(world, round))),
    ("assign_roles", |world, round| Box::pin(assign_roles(world, round))),
    ("revoke_generation", |world, round| Box::pin(revoke_generation(world, round))),
    ("remove_member", |world, round| Box::pin(remove_member(world, round))),
    ("delete_user of a member", |world, round| Box::pin(delete_member(world, round))),
    ("put_role", |world, round| Box::pin(put_role(world, round))),
    ("delete_role", |world, round| Box::pin(delete_role(world, round))),
    ("put_resource_type", |world, round| Box::pin(put_resource_type(world, round))),
    ("add_usage", |world, round| Box::pin(add_usage(world, round))),
];

/// An organization of this trial only, and the revision that its next write makes.
async fn fresh(world: &World, verb: &str, round: usize) -> (Founded, i64) {
    let organization = world.found(&format!("{verb}-{round}")).await;
    let next = organization.now().await.revision + 1;
    (organization, next)
}

fn organization_changed(organization: OrgId, revision: i64) -> Change {
    Change::OrganizationChanged { organization, revision }
}

fn member_changed(organization: OrgId, member: impl Into<MemberId>, revision: i64) -> Change {
    Change::MemberChanged { organization, member: member.into(), revision }
}

async fn create_organization(world: World, round: usize) -> Trial {
    let owner = world.user(&format!("founder {round}")).await.id;
    let (new, told) = (new_organization(&format!("create-{round}"), owner), act("organization.created", at(1)));
    let (store, act, id) = (world.store().clone(), told.clone(), new.id);
    let verb = async move {
        store.create_organization(new, act).await.unwrap();
    };
    let changes = vec![organization_changed(id, 1), member_changed(id, owner, 1)];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let found = store.organization(&OrganizationName::Slug(format!("create-{round}"))).await.unwrap();
        let access = store.access(id, owner.into()).await.unwrap();
        vec![
            ("organization", found.is_some()),
            ("roles", store.role_book(id).await.unwrap().is_some_and(|book| book.roles.len() == 2)),
            ("owner", access.is_some_and(|access| access.roles.len() == 1)),
        ]
    })
}

async fn update_organization(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "update", round).await, act("organization.updated", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        let change = OrganizationChange { name: Some("changed".to_owned()), ..OrganizationChange::default() };
        store.update_organization(of.id, change, act).await.unwrap();
    };
    trial(&world, Some(told), vec![organization_changed(of.id, revision)], verb, move |store| async move {
        let now = store.organization(&OrganizationName::Id(of.id)).await.unwrap().unwrap();
        vec![("name", now.name == "changed"), ("revision", now.revision == revision)]
    })
}

async fn delete_organization(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "delete", round).await, act("organization.deleted", at(2)));
    let (session, owner) = (world.sign_in(of.owner, at(1)).await.id, of.owner);
    let tenant = Tenant { organization: of.id, store: None };
    world.store().enter(owner, session, tenant, act("session.switched", at(1))).await.unwrap().unwrap();
    let (store, act, seen) = (world.store().clone(), told.clone(), of.now().await);
    let verb = async move {
        store.delete_organization(seen, act).await.unwrap();
    };
    trial(&world, Some(told), vec![organization_changed(of.id, revision)], verb, move |store| async move {
        vec![
            ("organization", store.role_book(of.id).await.unwrap().is_none()),
            ("membership", store.organizations_of(owner).await.unwrap().is_empty()),
            ("session", store.session(session).await.unwrap().unwrap().0.organization.is_none()),
        ]
    })
}

async fn create_store(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "store", round).await, act("store.created", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.create_store(of.id, new_store("vienna"), act).await.unwrap();
    };
    trial(&world, Some(told), vec![organization_changed(of.id, revision)], verb, move |store| async move {
        let book = store.role_book(of.id).await.unwrap().unwrap();
        vec![("store", book.stores.len() == 1), ("revision", book.organization.revision == revision)]
    })
}

async fn enter(world: World, round: usize) -> Trial {
    let ((of, _), told) = (fresh(&world, "enter", round).await, act("session.switched", at(2)));
    let (session, store, act) = (world.sign_in(of.owner, at(1)).await.id, world.store().clone(), told.clone());
    let (owner, organization) = (of.owner, of.id);
    let verb = async move {
        store.enter(owner, session, Tenant { organization, store: None }, act).await.unwrap();
    };
    let changes = vec![Change::SessionChanged { session, user: owner }];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let now = store.session(session).await.unwrap().unwrap().0;
        vec![("session", now.organization == Some(organization))]
    })
}

async fn revoke_generation(world: World, round: usize) -> Trial {
    let ((of, _), told) = (fresh(&world, "generation", round).await, act("session.revoked_organization", at(2)));
    let (session, store, act) = (world.sign_in(of.owner, at(1)).await.id, world.store().clone(), told.clone());
    let tenant = Tenant { organization: of.id, store: None };
    let inside = store.enter(of.owner, session, tenant, super::act::act("session.switched", at(1))).await.unwrap();
    let (organization, generation) = (of.id, inside.unwrap().generation + 1);
    let verb = async move {
        store.revoke_generation(Some(organization), act).await.unwrap();
    };
    let change = Change::SessionsRevoked { organization: Some(organization), generation };
    trial(&world, Some(told), vec![change], verb, move |store| async move {
        let floors = store.session_floors().await.unwrap();
        vec![
            ("floor", floors.of(Some(organization)) == generation),
            ("session", store.session(session).await.unwrap().unwrap().0.revoked_at == Some(at(2))),
        ]
    })
}

async fn add_member(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "join", round).await, act("member.added", at(1)));
    let user = world.user(&format!("joins {round}")).await.id;
    let (store, act, seen, role) = (world.store().clone(), told.clone(), of.now().await, of.member_role);
    let verb = async move {
        store.add_member(seen, new_member(user, vec![everywhere(role)]), act).await.unwrap();
    };
    trial(&world, Some(told), vec![member_changed(of.id, user, revision)], verb, move |store| async move {
        let access = store.access(of.id, user.into()).await.unwrap();
        vec![
            ("member", store.member(of.id, user.into()).await.unwrap().is_some()),
            ("role", access.is_some_and(|access| access.roles.len() == 1 && access.revision == revision)),
        ]
    })
}

async fn assign_roles(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "assign", round).await, act("member.roles_changed", at(1)));
    let (store, act, seen, role) = (world.store().clone(), told.clone(), of.now().await, of.member_role);
    let member = MemberId::from(of.owner);
    let verb = async move {
        store.assign_roles(seen, member, vec![everywhere(role)], act).await.unwrap();
    };
    trial(&world, Some(told), vec![member_changed(of.id, member, revision)], verb, move |store| async move {
        let access = store.access(of.id, member).await.unwrap().unwrap();
        vec![("role", access.roles == [everywhere(role)]), ("revision", access.revision == revision)]
    })
}

async fn remove_member(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "remove", round).await, act("member.removed", at(2)));
    // Opened there: coming in later would leave the very change that leaving does.
    let mut inside = new_session(of.owner, at(1));
    inside.record.organization = Some(of.id);
    let (owner, session) = (of.owner, world.open(inside).await.id);
    let (store, act, seen) = (world.store().clone(), told.clone(), of.now().await);
    let verb = async move {
        store.remove_member(seen, owner.into(), act).await.unwrap();
    };
    let changes = vec![Change::SessionChanged { session, user: owner }, member_changed(of.id, owner, revision)];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let now = store.organization(&OrganizationName::Id(of.id)).await.unwrap().unwrap();
        vec![
            ("member", store.access(of.id, owner.into()).await.unwrap().is_none()),
            ("session", store.session(session).await.unwrap().unwrap().0.organization.is_none()),
            ("revision", now.revision == revision),
        ]
    })
}

async fn delete_member(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "orphan", round).await, act("user.deleted", at(2)));
    let (owner, session) = (of.owner, world.sign_in(of.owner, at(1)).await.id);
    let (store, act, judged) = (world.store().clone(), told.clone(), world.memberships(owner).await);
    let verb = async move {
        store.delete_user(owner, judged, act).await.unwrap();
    };
    let changes =
        vec![member_changed(of.id, owner, revision), revoked(session, owner), Change::UserChanged { user: owner }];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let now = store.organization(&OrganizationName::Id(of.id)).await.unwrap().unwrap();
        vec![
            ("user", store.user(owner).await.unwrap().is_none()),
            ("member", store.access(of.id, owner.into()).await.unwrap().is_none()),
            ("revision", now.revision == revision),
        ]
    })
}

async fn put_role(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "role", round).await, act("role.created", at(1)));
    let (store, act, seen) = (world.store().clone(), told.clone(), of.now().await);
    let role = NewRole { inherits: vec![of.member_role], ..new_role("clerk") };
    let verb = async move {
        store.put_role(seen, role, act).await.unwrap();
    };
    trial(&world, Some(told), vec![organization_changed(of.id, revision)], verb, move |store| async move {
        let book = store.role_book(of.id).await.unwrap().unwrap();
        vec![
            ("role", book.roles.len() == 3),
            ("parent", book.inherits.len() == 1),
            ("revision", book.organization.revision == revision),
        ]
    })
}

async fn delete_role(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "unrole", round).await, act("role.deleted", at(1)));
    let (store, act, seen, role) = (world.store().clone(), told.clone(), of.now().await, of.member_role);
    let verb = async move {
        store.delete_role(seen, role, act).await.unwrap();
    };
    trial(&world, Some(told), vec![organization_changed(of.id, revision)], verb, move |store| async move {
        let book = store.role_book(of.id).await.unwrap().unwrap();
        vec![("role", book.roles.len() == 1), ("revision", book.organization.revision == revision)]
    })
}

async fn put_resource_type(world: World, round: usize) -> Trial {
    let ((of, revision), told) = (fresh(&world, "type", round).await, act("resource_type.declared", at(1)));
    let (store, act, seen) = (world.store().clone(), told.clone(), of.now().await);
    let verb = async move {
        store.put_resource_type(seen, resource_type("orders", "{}"), act).await.unwrap();
    };
    trial(&world, Some(told), vec![organization_changed(of.id, revision)], verb, move |store| async move {
        let book = store.role_book(of.id).await.unwrap().unwrap();
        vec![("resource type", book.resource_types.len() == 1), ("revision", book.organization.revision == revision)]
    })
}

async fn add_usage(world: World, round: usize) -> Trial {
    let ((of, _), told) = (fresh(&world, "usage", round).await, act("permission.denied", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let usage = Usage {
        decisions: vec![counted(of.id, 1, "orders:read", "denied", 1)],
        members: vec![used(of.id, of.owner, 5)],
    };
    let verb = async move { store.add_usage(usage, vec![act]).await.unwrap() };
    trial(&world, Some(told), vec![], verb, move |store| async move {
        let idle = store.idle_members(of.id, at(10), 10).await.unwrap();
        vec![
            ("count", store.decision_counts(of.id, 0).await.unwrap().len() == 1),
            ("last use", idle.iter().any(|idle| idle.used_at == Some(at(5)))),
        ]
    })
}
