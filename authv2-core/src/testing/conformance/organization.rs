//! Organizations and stores: founded once per slug, entered by members only, removed with everything in them.

use super::{
    Case,
    act::{DAY, act, at, everywhere, new_organization, new_session, new_store, only_at},
    room,
    tenant::written,
    world::World,
};
use crate::{
    changes::Change,
    id::{OrgId, SessionId, StoreId, UserId},
    store::{
        AtRevision, MemberKind, MfaDemand, Named, OrganizationChange, OrganizationName, OrganizationRecord, Revised,
        RoleNames, SessionRecord,
    },
    tenant::Tenant,
};

pub(super) const CASES: &[Case] = room!["organization":
    is_founded_with_its_roles_and_its_owner,
    keeps_the_first_organization_of_a_slug,
    is_not_founded_for_a_user_that_is_not_there,
    is_found_by_its_id_and_its_slug_only,
    lists_the_organizations_of_a_user_by_slug,
    changes_what_is_given_and_nothing_else,
    opens_a_store_once_per_slug_of_an_organization,
    takes_a_session_in_and_into_another,
    takes_in_nobody_who_does_not_belong_there,
    opens_sessions_in_a_tenant,
    is_removed_with_everything_in_it,
    is_not_removed_at_another_revision,
    changes_nothing_where_there_is_no_organization,
];

fn by_slug(slug: &str) -> OrganizationName {
    OrganizationName::Slug(slug.to_owned())
}

fn at_organization(organization: OrgId) -> Tenant {
    Tenant { organization, store: None }
}

async fn is_founded_with_its_roles_and_its_owner(world: World) {
    let owner = world.user("ada").await;
    let mut new = new_organization("acme", owner.id);
    new.roles[0].inherits = vec![new.roles[1].id];
    let founding = act("organization.created", at(5)).within(new.id);
    world.news();
    let founded = world.store().create_organization(new.clone(), founding.clone()).await.unwrap();
    let told = world.news();
    let Named::New(record) = founded else { panic!("{founded:?}") };
    let expected = OrganizationRecord {
        id: new.id,
        slug: "acme".to_owned(),
        name: new.name.clone(),
        time_zone: new.time_zone.clone(),
        revision: record.revision,
        created_at: at(5),
        mfa: MfaDemand::Optional,
        mfa_roles: RoleNames::default(),
    };
    assert_eq!(record, expected);
    assert!(
        told.contains(&Change::OrganizationChanged { organization: new.id, revision: record.revision }),
        "{told:?}"
    );
    world.expect_entry(&founding, "success").await;
    assert_eq!(world.entries(&founding).await[0].organization, Some(new.id));

    let book = world.store().role_book(new.id).await.unwrap().unwrap();
    assert_eq!(book.organization, record);
    assert_eq!((book.stores, book.resource_types), (vec![], vec![]));
    let mut roles: Vec<_> = book.roles.iter().map(|role| (role.id, &role.name, &role.grants, role.builtin)).collect();
    roles.sort_unstable();
    let mut wanted: Vec<_> = new.roles.iter().map(|role| (role.id, &role.name, &role.grants, true)).collect();
    wanted.sort_unstable();
    assert_eq!(roles, wanted);
    assert!(book.roles.iter().all(|role| role.revision == record.revision));
    assert_eq!(book.inherits, [(new.roles[0].id, new.roles[1].id)]);
    let member = world.store().member(new.id, owner.id.into()).await.unwrap().unwrap();
    assert_eq!((member.kind, member.joined_at, member.name), (MemberKind::User, at(5), None));
    assert_eq!(member.roles, [everywhere(new.owner_role)]);
    let account = member.user.unwrap();
    assert_eq!((account.id, account.email, account.display_name), (owner.id, owner.email, owner.display_name));
}

async fn keeps_the_first_organization_of_a_slug(world: World) {
    let first = world.found("acme").await;
    let (before, user) = (first.contents().await, world.user("eve").await.id);
    let (second, founding) = (new_organization("acme", user), act("organization.created", at(1)));
    world.news();
    let answer = world.store().create_organization(second.clone(), founding.clone()).await.unwrap();
    assert_eq!(answer, Named::SlugTaken);
    assert_eq!(world.news(), []);
    world.expect_no_success(&founding).await;
    assert_eq!(first.contents().await, before);
    assert_eq!(world.store().role_book(second.id).await.unwrap(), None);
    assert_eq!(world.store().organizations_of(user).await.unwrap(), []);
    assert_eq!(world.store().organization(&by_slug("acme")).await.unwrap().map(|found| found.id), Some(first.id));
}

async fn is_not_founded_for_a_user_that_is_not_there(world: World) {
    let (new, founding) = (new_organization("acme", UserId::new()), act("organization.created", at(1)));
    world.news();
    let answer = world.store().create_organization(new.clone(), founding.clone()).await.unwrap();
    assert_eq!(answer, Named::Missing);
    assert_eq!(world.news(), []);
    world.expect_no_success(&founding).await;
    assert_eq!(world.store().organization(&by_slug("acme")).await.unwrap(), None);
    world.found("acme").await;
}

async fn is_found_by_its_id_and_its_slug_only(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    for (slug, organization) in [("acme", &acme), ("other", &other)] {
        let by_id = organization.record().await;
        assert_eq!((by_id.slug.as_str(), by_id.id), (slug, organization.id));
        assert_eq!(world.store().organization(&by_slug(slug)).await.unwrap(), Some(by_id));
    }
    assert_eq!(world.store().organization(&OrganizationName::Id(OrgId::new())).await.unwrap(), None);
    for slug in ["", "ACME", "acm", "acme ", "%", "ac_e", "acme'--", &acme.id.to_string()] {
        assert_eq!(world.store().organization(&by_slug(slug)).await.unwrap(), None, "{slug:?}");
    }
}

async fn lists_the_organizations_of_a_user_by_slug(world: World) {
    let user = world.user("ada").await.id;
    for slug in ["b-side", "b", "zeta", "alpha", "b_side"] {
        let organization = world.found(slug).await;
        if slug != "zeta" {
            organization.join(user, vec![]).await;
        }
    }
    let listed = world.store().organizations_of(user).await.unwrap();
    let slugs: Vec<_> = listed.iter().map(|found| found.slug.as_str()).collect();
    assert_eq!(slugs, ["alpha", "b", "b-side", "b_side"]);
    for found in listed {
        assert_eq!(world.store().organization(&OrganizationName::Id(found.id)).await.unwrap(), Some(found));
    }
    assert_eq!(world.store().organizations_of(UserId::new()).await.unwrap(), []);
}

async fn changes_what_is_given_and_nothing_else(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let others = other.contents().await;
    let mut last = acme.record().await;
    let (name, zone) = (Some("Acme & Sons".to_owned()), Some("Asia/Tokyo".to_owned()));
    let changes = [(name.clone(), None), (None, zone.clone()), (None, None), (name, zone)];
    for (name, time_zone) in changes {
        let change = OrganizationChange { name: name.clone(), time_zone: time_zone.clone(), mfa: None };
        let told = act("organization.updated", at(3)).within(acme.id);
        world.news();
        let changed = world.store().update_organization(acme.id, change, told.clone()).await.unwrap().unwrap();
        let (organization, revision) = (acme.id, changed.revision);
        assert_eq!(world.news(), [Change::OrganizationChanged { organization, revision }]);
        assert!(changed.revision > last.revision, "every write raises the revision");
        let expected = OrganizationRecord {
            name: name.unwrap_or(last.name),
            time_zone: time_zone.unwrap_or(last.time_zone),
            revision: changed.revision,
            ..last
        };
        assert_eq!(changed, expected);
        assert_eq!(acme.record().await, changed);
        world.expect_entry(&told, "success").await;
        last = changed;
    }
    assert_eq!(other.contents().await, others);
}

async fn opens_a_store_once_per_slug_of_an_organization(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let (new, told, before) = (new_store("vienna"), act("store.created", at(7)).within(acme.id), acme.now().await);
    world.news();
    let opened = world.store().create_store(acme.id, new.clone(), told.clone()).await.unwrap();
    let after = acme.now().await;
    assert_eq!(world.news(), [Change::OrganizationChanged { organization: acme.id, revision: after.revision }]);
    let Named::New(store) = opened else { panic!("{opened:?}") };
    assert_eq!((store.id, store.organization, store.created_at), (new.id, acme.id, at(7)));
    assert_eq!((&store.slug, &store.name), (&new.slug, &new.name));
    assert!(after > before);
    world.expect_entry(&told, "success").await;

    let (again, contents) = (act("store.created", at(8)), acme.contents().await);
    assert_eq!(contents.book.as_ref().unwrap().stores, [store]);
    let answer = world.store().create_store(acme.id, new_store("vienna"), again.clone()).await.unwrap();
    assert_eq!(answer, Named::SlugTaken);
    assert_eq!(acme.contents().await, contents, "not even the revision");
    assert_eq!(world.news(), []);
    world.expect_no_success(&again).await;
    other.branch("vienna").await;
    acme.branch("graz").await;
    let slugs: Vec<_> = acme.book().await.stores.into_iter().map(|store| store.slug).collect();
    assert_eq!(slugs.len(), 2, "{slugs:?}");
}

async fn takes_a_session_in_and_into_another(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let (user, vienna) = (world.user("ada").await.id, acme.branch("vienna").await);
    acme.join(user, vec![only_at(vienna, acme.member_role)]).await;
    other.join(user, vec![]).await;
    let (session, bystander) = (world.sign_in(user, at(1)).await, world.sign_in(user, at(1)).await);
    let tenants = [
        at_organization(acme.id),
        Tenant { organization: acme.id, store: Some(vienna) },
        at_organization(other.id),
        Tenant { organization: acme.id, store: Some(vienna) },
        at_organization(acme.id),
    ];
    for tenant in tenants {
        let told = act("session.switched", at(2)).on(session.id);
        world.news();
        let entered = world.store().enter(user, session.id, tenant, told.clone()).await.unwrap().unwrap();
        let expected =
            SessionRecord { organization: Some(tenant.organization), store: tenant.store, ..session.record.clone() };
        assert_eq!(world.news(), [Change::SessionChanged { session: session.id, user }]);
        assert_eq!(entered, expected);
        assert_eq!(world.session(session.id).await, expected);
        world.expect_entry(&told, "success").await;
    }
    assert_eq!(world.session(bystander.id).await, bystander.record);
}

async fn takes_in_nobody_who_does_not_belong_there(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let (vienna, foreign) = (acme.branch("vienna").await, other.branch("vienna").await);
    let session = world.sign_in(acme.owner, at(1)).await;
    let stranger = world.sign_in(other.owner, at(1)).await;
    let ended = world.sign_in(acme.owner, at(1)).await;
    assert!(world.store().revoke_session(acme.owner, ended.id, act("session.revoked", at(2))).await.unwrap());
    let idle = world.sign_in(acme.owner, at(1)).await;
    let store = |organization, store| Tenant { organization, store: Some(store) };
    let refused = [
        ("no member", acme.owner, session.id, at_organization(other.id), at(3)),
        ("no such organization", acme.owner, session.id, at_organization(OrgId::new()), at(3)),
        ("a store of another", acme.owner, session.id, store(acme.id, foreign), at(3)),
        ("another's store as its own", acme.owner, session.id, store(other.id, vienna), at(3)),
        ("no such store", acme.owner, session.id, store(acme.id, StoreId::new()), at(3)),
        ("a session of another user", acme.owner, stranger.id, at_organization(acme.id), at(3)),
        ("another's session as one's own", other.owner, session.id, at_organization(other.id), at(3)),
        ("no such session", acme.owner, SessionId::new(), at_organization(acme.id), at(3)),
        ("an ended session", acme.owner, ended.id, at_organization(acme.id), at(3)),
        ("an idle session", acme.owner, idle.id, at_organization(acme.id), at(2 * DAY)),
    ];
    for (what, user, id, tenant, now) in refused {
        let told = act("session.switched", now);
        assert_eq!(world.store().enter(user, id, tenant, told.clone()).await.unwrap(), None, "{what}");
        world.expect_no_success(&told).await;
    }
    for signed_in in [session, stranger, idle] {
        assert_eq!(world.session(signed_in.id).await, signed_in.record);
    }
}

async fn opens_sessions_in_a_tenant(world: World) {
    let acme = world.found("acme").await;
    let vienna = acme.branch("vienna").await;
    let mut new = new_session(acme.owner, at(1));
    (new.record.organization, new.record.store) = (Some(acme.id), Some(vienna));
    let opened = world.open(new.clone()).await;
    assert_eq!(world.session(opened.id).await, new.record);
}

async fn is_removed_with_everything_in_it(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let vienna = acme.branch("vienna").await;
    let heir = acme.role("heir", &[acme.member_role]).await;
    let user = acme.member_called("ada", vec![everywhere(heir), only_at(vienna, acme.member_role)]).await;
    other.join(user, vec![]).await;
    acme.account("robot", heir).await;
    let (inside, elsewhere) = (world.sign_in(user, at(1)).await, world.sign_in(user, at(1)).await);
    let store = Tenant { organization: acme.id, store: Some(vienna) };
    world.store().enter(user, inside.id, store, act("session.switched", at(2))).await.unwrap().unwrap();
    let tenant = at_organization(other.id);
    let kept = world.store().enter(user, elsewhere.id, tenant, act("session.switched", at(2))).await.unwrap().unwrap();
    let (others, at_now) = (other.contents().await, acme.now().await);

    let told = act("organization.deleted", at(3)).within(acme.id);
    world.news();
    let revision = written(world.store().delete_organization(at_now, told.clone()).await.unwrap()).0;
    assert_eq!(world.news(), [Change::OrganizationChanged { organization: acme.id, revision }]);
    assert!(revision > at_now.revision);
    world.expect_entry(&told, "success").await;
    let left = acme.contents().await;
    assert_eq!((left.book, left.users, left.accounts), (None, vec![], vec![]));
    assert_eq!(world.store().access(acme.id, user.into()).await.unwrap(), None);
    let found = world.store().organization(&by_slug("acme")).await.unwrap();
    assert_eq!(found, None);
    let listed = world.store().organizations_of(user).await.unwrap();
    assert_eq!(listed.iter().map(|found| found.id).collect::<Vec<_>>(), [other.id]);
    assert_eq!(world.session(inside.id).await, inside.record, "the session lives on, in no organization");
    assert_eq!(world.session(elsewhere.id).await, kept);
    assert_eq!(other.contents().await, others);
    let again = act("organization.deleted", at(4));
    assert_eq!(world.store().delete_organization(at_now, again).await.unwrap(), Revised::Missing);
    let anew = new_organization("acme", user);
    assert!(matches!(
        world.store().create_organization(anew, act("organization.created", at(5))).await.unwrap(),
        Named::New(_)
    ));
}

async fn is_not_removed_at_another_revision(world: World) {
    let acme = world.found("acme").await;
    let stale = acme.now().await;
    acme.branch("vienna").await;
    let (session, before) = (world.sign_in(acme.owner, at(1)).await, acme.contents().await);
    let tenant = at_organization(acme.id);
    world.store().enter(acme.owner, session.id, tenant, act("session.switched", at(2))).await.unwrap().unwrap();
    for revision in [stale.revision, acme.now().await.revision + 1, 0, -1, i64::MAX] {
        let told = act("organization.deleted", at(3));
        world.news();
        let wrong = AtRevision { organization: acme.id, revision };
        assert_eq!(world.store().delete_organization(wrong, told.clone()).await.unwrap(), Revised::Stale);
        assert_eq!(world.news(), []);
        world.expect_no_success(&told).await;
    }
    assert_eq!(acme.contents().await, before);
    assert_eq!(world.session(session.id).await.organization, Some(acme.id));
}

async fn changes_nothing_where_there_is_no_organization(world: World) {
    let nowhere = OrgId::new();
    let (update, open, delete) = (act("a.update", at(1)), act("a.store", at(1)), act("a.delete", at(1)));
    let store = world.store();
    let change = OrganizationChange { name: Some("x".to_owned()), ..OrganizationChange::default() };
    assert_eq!(store.update_organization(nowhere, change, update.clone()).await.unwrap(), None);
    assert_eq!(store.create_store(nowhere, new_store("x"), open.clone()).await.unwrap(), Named::Missing);
    let at_one = AtRevision { organization: nowhere, revision: 1 };
    assert_eq!(store.delete_organization(at_one, delete.clone()).await.unwrap(), Revised::Missing);
    assert_eq!(world.news(), []);
    for act in [update, open, delete] {
        assert_eq!(world.entries(&act).await, [], "{} did not happen", act.action);
    }
}
