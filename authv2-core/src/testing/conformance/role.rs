//! Roles and resource types: written at the revision seen, kept while somebody needs them.

use super::{
    Case,
    act::{act, at, everywhere, new_role, only_at},
    room,
    tenant::written,
    world::World,
};
use crate::{
    changes::Change,
    id::{OrgId, RoleId},
    store::{AtRevision, NewRole, ResourceTypeRecord, Revised, RoleDeletion, RoleRecord},
};

pub(super) const CASES: &[Case] = room!["role":
    is_added_with_its_parents,
    is_replaced_with_its_parents,
    has_a_name_of_its_own_in_the_organization,
    inherits_no_role_of_another_organization,
    is_deleted_once_nobody_holds_or_inherits_it,
    is_written_at_the_revision_seen_only,
    declares_resource_types,
    fills_a_book_of_any_size,
    finds_no_book_where_there_is_no_organization,
];

async fn is_added_with_its_parents(world: World) {
    let acme = world.found("acme").await;
    let parent = acme.role("parent", &[]).await;
    let (told, before) = (act("role.created", at(2)).within(acme.id), acme.now().await);
    let mut new = NewRole { inherits: vec![parent, acme.member_role, parent], ..new_role("clerk") };
    new.description = Some("Sits at the desk".to_owned());
    world.news();
    let (revision, role) = written(world.store().put_role(before, new.clone(), told.clone()).await.unwrap());
    assert_eq!(world.news(), [Change::OrganizationChanged { organization: acme.id, revision }]);
    assert!(revision > before.revision);
    let NewRole { id, name, description, grants, builtin, .. } = new;
    assert_eq!(role, RoleRecord { id, name, description, grants, builtin, revision });
    let book = acme.book().await;
    assert_eq!(book.organization.revision, revision);
    assert!(book.roles.contains(&role));
    let mut parents: Vec<_> = book.inherits.iter().filter(|(heir, _)| *heir == id).map(|(_, of)| *of).collect();
    parents.sort_unstable();
    let mut wanted = vec![parent, acme.member_role];
    wanted.sort_unstable();
    assert_eq!(parents, wanted, "a parent named twice is one parent");
    world.expect_entry(&told, "success").await;
}

async fn is_replaced_with_its_parents(world: World) {
    let acme = world.found("acme").await;
    let (first, second) = (acme.role("first", &[]).await, acme.role("second", &[]).await);
    let role = acme.role("clerk", &[first]).await;
    let heir = acme.role("heir", &[role]).await;
    let user = acme.member_called("ada", vec![everywhere(role)]).await;
    let before = acme.book().await;
    let new = NewRole { id: role, inherits: vec![second], description: Some("new".to_owned()), ..new_role("desk") };
    let written_now = acme.put(new.clone()).await;
    assert_eq!((&written_now.name, &written_now.grants), (&new.name, &new.grants));
    let after = acme.book().await;
    assert_eq!(after.roles.len(), before.roles.len());
    assert_eq!(after.roles.iter().find(|found| found.id == role), Some(&written_now));
    assert_eq!(written_now.revision, after.organization.revision);
    let untouched =
        |book: &crate::store::RoleBook| book.roles.iter().filter(|found| found.id != role).cloned().collect::<Vec<_>>();
    assert_eq!(untouched(&after), untouched(&before));
    assert!(after.inherits.contains(&(role, second)) && !after.inherits.contains(&(role, first)));
    assert!(after.inherits.contains(&(heir, role)), "who inherits it goes on doing so");
    assert_eq!(acme.member(user).await.unwrap().roles, [everywhere(role)], "who holds it goes on doing so");
    acme.put(NewRole { inherits: vec![], ..new }).await;
    assert!(acme.book().await.inherits.iter().all(|(heir, _)| *heir != role));
}

async fn has_a_name_of_its_own_in_the_organization(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    acme.role("clerk", &[]).await;
    let desk = acme.role("desk", &[]).await;
    let before = acme.contents().await;
    world.news();
    for role in [new_role("clerk"), NewRole { id: desk, ..new_role("clerk") }] {
        let told = act("role.updated", at(3));
        let refused = world.store().put_role(acme.now().await, role, told.clone()).await;
        assert!(!matches!(refused, Ok(Revised::Done { .. })), "{refused:?}");
        world.expect_no_success(&told).await;
    }
    assert_eq!(world.news(), []);
    assert_eq!(acme.contents().await, before);
    other.role("clerk", &[]).await;
}

async fn inherits_no_role_of_another_organization(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let (clerk, foreign) = (acme.role("clerk", &[]).await, other.role("clerk", &[]).await);
    let (before, others) = (acme.contents().await, other.contents().await);
    world.news();
    let crossing = [
        NewRole { inherits: vec![acme.member_role, foreign], ..new_role("heir") },
        NewRole { id: clerk, inherits: vec![foreign], ..new_role("clerk") },
        NewRole { inherits: vec![RoleId::new()], ..new_role("heir") },
        // Somebody else's role is not to be written, and not to be moved over here.
        NewRole { id: foreign, ..new_role("taken") },
    ];
    for role in crossing {
        let told = act("role.updated", at(3));
        let refused = world.store().put_role(acme.now().await, role.clone(), told.clone()).await;
        assert!(!matches!(refused, Ok(Revised::Done { .. })), "{role:?}: {refused:?}");
        world.expect_no_success(&told).await;
    }
    assert_eq!(world.news(), []);
    assert_eq!((acme.contents().await, other.contents().await), (before, others));
}

async fn is_deleted_once_nobody_holds_or_inherits_it(world: World) {
    let acme = world.found("acme").await;
    let vienna = acme.branch("vienna").await;
    let role = acme.role("clerk", &[acme.member_role]).await;
    let heir = acme.role("heir", &[role]).await;
    let user = acme.member_called("ada", vec![only_at(vienna, role)]).await;
    let delete = |role| {
        let acme = acme.clone();
        async move {
            let (told, seen) = (act("role.deleted", at(3)).within(acme.id), acme.now().await);
            acme.world.news();
            let answer = acme.world.store().delete_role(seen, role, told.clone()).await.unwrap();
            (answer, acme.world.news(), told, seen)
        }
    };
    let before = acme.contents().await;
    for used in [role, acme.member_role, acme.owner_role] {
        let (answer, news, told, seen) = delete(used).await;
        assert_eq!(answer, Revised::Done { revision: seen.revision, value: RoleDeletion::InUse });
        assert_eq!(news, []);
        world.expect_no_success(&told).await;
    }
    assert_eq!(acme.contents().await, before, "not even the revision");
    let (answer, ..) = delete(RoleId::new()).await;
    assert_eq!(answer, Revised::Missing);

    let unassign = act("member.roles_changed", at(3));
    written(world.store().assign_roles(acme.now().await, user.into(), vec![], unassign).await.unwrap());
    assert!(matches!(delete(role).await.0, Revised::Done { value: RoleDeletion::InUse, .. }), "it has an heir");
    for unused in [heir, role] {
        let (answer, news, told, seen) = delete(unused).await;
        let (revision, done) = written(answer);
        assert_eq!(done, RoleDeletion::Done);
        assert!(revision > seen.revision);
        assert_eq!(news, [Change::OrganizationChanged { organization: acme.id, revision }]);
        world.expect_entry(&told, "success").await;
    }
    let book = acme.book().await;
    assert_eq!((book.roles.len(), book.inherits), (2, vec![]));
    assert_eq!(delete(role).await.0, Revised::Missing);
    acme.role("clerk", &[]).await;
}

async fn is_written_at_the_revision_seen_only(world: World) {
    let acme = world.found("acme").await;
    let (role, now) = (acme.role("clerk", &[]).await, acme.now().await);
    let before = acme.contents().await;
    let store = world.store();
    world.news();
    for revision in [now.revision - 1, now.revision + 1, 0, -1] {
        let wrong = AtRevision { revision, ..now };
        let [put, add, delete, declare] = ["put", "add", "delete", "declare"].map(|name| act(name, at(5)));
        let replaced = NewRole { id: role, ..new_role("desk") };
        assert_eq!(store.put_role(wrong, replaced, put.clone()).await.unwrap(), Revised::Stale);
        assert_eq!(store.put_role(wrong, new_role("desk"), add.clone()).await.unwrap(), Revised::Stale);
        assert_eq!(store.delete_role(wrong, role, delete.clone()).await.unwrap(), Revised::Stale);
        let declared = resource_type("orders", "{}");
        assert_eq!(store.put_resource_type(wrong, declared, declare.clone()).await.unwrap(), Revised::Stale);
        for act in [put, add, delete, declare] {
            world.expect_no_success(&act).await;
        }
    }
    let nowhere = AtRevision { organization: OrgId::new(), revision: 1 };
    assert_eq!(store.put_role(nowhere, new_role("desk"), act("put", at(5))).await.unwrap(), Revised::Missing);
    assert_eq!(store.delete_role(nowhere, role, act("delete", at(5))).await.unwrap(), Revised::Missing);
    let declared = store.put_resource_type(nowhere, resource_type("orders", "{}"), act("declare", at(5))).await;
    assert_eq!(declared.unwrap(), Revised::Missing);
    assert_eq!(world.news(), []);
    assert_eq!(acme.contents().await, before);
}

pub(super) fn resource_type(name: &str, attributes: &str) -> ResourceTypeRecord {
    ResourceTypeRecord { name: name.to_owned(), attributes: attributes.to_owned() }
}

async fn declares_resource_types(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let declarations = [
        resource_type("orders", r#"{"amount":"long"}"#),
        resource_type("invoices", "{}"),
        resource_type("orders", r#"{"amount":"long","tags":"string_set"}"#),
    ];
    for declared in declarations.clone() {
        let (told, before) = (act("resource_type.declared", at(3)).within(acme.id), acme.now().await);
        world.news();
        let answer = world.store().put_resource_type(before, declared, told.clone()).await.unwrap();
        let (revision, ()) = written(answer);
        assert_eq!(world.news(), [Change::OrganizationChanged { organization: acme.id, revision }]);
        assert!(revision > before.revision);
        world.expect_entry(&told, "success").await;
    }
    let [_, invoices, orders] = declarations;
    assert_eq!(acme.book().await.resource_types, [invoices, orders]);
    assert_eq!(other.book().await.resource_types, []);
}

async fn fills_a_book_of_any_size(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    other.role("foreign", &[other.member_role]).await;
    other.branch("foreign").await;
    let (mut roles, mut inherits) = (vec![acme.owner_role, acme.member_role], Vec::new());
    for index in 0..40 {
        let parent = roles[index];
        let role = acme.role(&format!("role-{index}"), &[parent]).await;
        roles.push(role);
        inherits.push((role, parent));
    }
    let mut stores = Vec::new();
    for index in 0..5 {
        stores.push(acme.branch(&format!("store-{index}")).await);
    }
    let book = acme.book().await;
    assert_eq!(book.organization, acme.record().await);
    roles.sort_unstable();
    inherits.sort_unstable();
    stores.sort_unstable();
    let sorted = |mut ids: Vec<RoleId>| {
        ids.sort_unstable();
        ids
    };
    assert_eq!(sorted(book.roles.iter().map(|role| role.id).collect()), roles);
    let mut found = book.inherits;
    found.sort_unstable();
    assert_eq!(found, inherits);
    let mut found: Vec<_> = book.stores.iter().map(|store| store.id).collect();
    found.sort_unstable();
    assert_eq!(found, stores);
}

async fn finds_no_book_where_there_is_no_organization(world: World) {
    world.found("acme").await;
    assert_eq!(world.store().role_book(OrgId::new()).await.unwrap(), None);
}
