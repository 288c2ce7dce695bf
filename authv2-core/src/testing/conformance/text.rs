//! Hostile text comes back as it went in, wherever it is stored.

use super::{
    Case,
    act::{act, at, new_account, new_organization, new_role, new_session, new_store, new_user},
    api_key::new_key,
    role::resource_type,
    room,
    tenant::written,
    usage::counted,
    world::{World, added, done},
};
use crate::{
    audit::Outcome,
    store::{
        AtRevision, Joined, KeyUse, Named, NewMember, NewOrganization, NewRole, OrganizationChange, OrganizationName,
        ProfileChange, Redacted, SignInQuery, SigningKeyRecord, Usage,
    },
};

pub(super) const CASES: &[Case] = room!["text":
    keeps_hostile_text_as_it_is,
    keeps_hostile_text_of_tenants_as_it_is,
    finds_nothing_by_a_fragment_of_sql,
];

fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " leading and trailing ",
        "O'Brien \"the\" `quoted` \\ backslash",
        "'; DROP TABLE users; --",
        "' OR '1'='1",
        "$1 ? :name @name {}",
        "%_\\%",
        "line\nbreak\r\n\ttab \u{1} \u{7f}",
        "👩\u{200d}💻 ß İ ﬁ e\u{301} \u{202e}gnol\u{202c} \u{feff}",
        "{\"a\": null}",
        "1e999",
    ]
    .map(str::to_owned)
    .into();
    texts.push("long é".repeat(10_000 / 6));
    texts.push("x".repeat(10_000));
    texts
}

async fn keeps_hostile_text_as_it_is(world: World) {
    for (index, text) in hostile().into_iter().enumerate() {
        let mut new = new_user(&index.to_string());
        (new.email, new.email_key) = (text.clone(), format!("{text}{index}"));
        (new.display_name, new.password_hash) = (Some(text.clone()), Some(Redacted(text.clone())));
        let mut told = act("user.registered", at(0)).on(&text).ended(Outcome::Success, text.clone());
        told.origin.request_id = Some(format!("{text}{index}"));
        let user = added(world.store().create_user(new.clone(), told.clone()).await.unwrap());
        assert_eq!((&user.email, &user.display_name), (&text, &Some(text.clone())));
        assert!(user.password_hash == new.password_hash, "{text:?}");
        assert_eq!(world.store().user_by_email(&new.email_key).await.unwrap().as_ref(), Some(&user));
        let entry = world.entries(&told).await.remove(0);
        assert_eq!((entry.target.as_deref(), entry.reason.as_deref()), (Some(&*text), Some(&*text)));

        let mut session = new_session(user.id, at(1));
        (session.record.ip, session.record.user_agent) = (Some(text.clone()), Some(text.clone()));
        (session.record.amr, session.record.acr) = (text.clone(), text.clone());
        (session.network, session.verified_hash) = (Some(text.clone()), Some(Redacted(text.clone())));
        let opened = world.open(session.clone()).await;
        assert_eq!(world.session(opened.id).await, session.record);
        let (email_key, network) = (new.email_key, Some(text.clone()));
        let query =
            SignInQuery { email_key, network, device: None, presented: None, known_since: at(0), buckets: Vec::new() };
        let facts = world.store().sign_in_facts(query).await.unwrap();
        assert!(facts.known_network, "{text:?}");

        let renamed = ProfileChange { display_name: Some(Some(format!("{text}!"))) };
        let renamed = world.store().update_profile(user.id, renamed, None, act("user.updated", at(2))).await.unwrap();
        assert_eq!(done(renamed).display_name, Some(format!("{text}!")));
        let changed = act("user.password_changed", at(3));
        done(world.store().change_password(user.id, Some(text.clone()), text.clone(), None, changed).await.unwrap());
        let name = String::leak(format!("{text}{index}"));
        assert_eq!(world.store().keep_value(name, text.clone()).await.unwrap(), text);
    }
    let kid = hostile().concat();
    let key = SigningKeyRecord { alg: kid.clone(), ..super::signing_keys::new_key(&kid) };
    super::signing_keys::found_keys(world.store(), key.clone(), act("signing_key.created", at(0))).await;
    assert_eq!(world.store().signing_keys().await.unwrap(), [key]);
}

async fn keeps_hostile_text_of_tenants_as_it_is(world: World) {
    let (owner, store) = (world.user("ada").await.id, world.store());
    for (index, text) in hostile().into_iter().enumerate() {
        let slug = format!("{text}{index}");
        let new = NewOrganization { name: text.clone(), time_zone: text.clone(), ..new_organization(&slug, owner) };
        let id = new.id;
        let founded = store.create_organization(new, act("organization.created", at(0))).await.unwrap();
        let Named::New(founded) = founded else { panic!("{founded:?}") };
        assert_eq!((&founded.slug, &founded.name, &founded.time_zone), (&slug, &text, &text));
        assert_eq!(store.organization(&OrganizationName::Slug(slug.clone())).await.unwrap(), Some(founded.clone()));
        let change = OrganizationChange { name: Some(slug.clone()), ..OrganizationChange::default() };
        let renamed = store.update_organization(id, change, act("organization.updated", at(1))).await.unwrap();
        assert_eq!(renamed.unwrap().name, slug);

        let branch = crate::store::NewStore { name: text.clone(), ..new_store(&slug) };
        let opened = store.create_store(id, branch, act("store.created", at(1))).await.unwrap();
        let Named::New(branch) = opened else { panic!("{opened:?}") };
        assert_eq!((&branch.slug, &branch.name), (&slug, &text));
        let at_now = |revision| AtRevision { organization: id, revision };
        let role = NewRole { description: Some(text.clone()), grants: text.clone(), ..new_role(&slug) };
        let seen = at_now(founded.revision + 2);
        let (revision, role) = written(store.put_role(seen, role, act("role.created", at(1))).await.unwrap());
        assert_eq!((&role.name, &role.description, &role.grants), (&slug, &Some(text.clone()), &text));
        let declared = resource_type(&slug, &text);
        let told = act("resource_type.declared", at(1));
        let put = store.put_resource_type(at_now(revision), declared.clone(), told).await.unwrap();
        let (revision, ()) = written(put);
        let account = NewMember { name: Some(text.clone()), ..new_account("") };
        let joined = store.add_member(at_now(revision), account, act("account.created", at(1))).await.unwrap();
        let (revision, Joined::New(account)) = written(joined) else { panic!("it must be added") };
        assert_eq!(account.name.as_ref(), Some(&text));
        let book = store.role_book(id).await.unwrap().unwrap();
        assert!(book.roles.contains(&role) && book.stores.contains(&branch) && book.resource_types.contains(&declared));
        let mut new = new_key(id, owner, 2);
        (new.key.name, new.key.environment) = (text.clone(), text.clone());
        (new.key.scopes, new.key.last_used_ip) = (vec![text.clone(), slug.clone()], None);
        new.key.metadata = [(slug.clone(), text.clone().into())].into_iter().collect();
        let made = store.create_api_key(at_now(revision), new.clone(), act("api_key.created", at(2))).await.unwrap();
        written(made);
        let used = KeyUse { organization: id, key: new.key.id, used_at: at(3), ip: Some(text.clone()) };
        store.note_key_uses(vec![used]).await.unwrap();
        new.key.last_used_at = Some(at(3));
        new.key.last_used_ip = Some(text.clone());
        assert_eq!(store.api_key(id, new.key.id).await.unwrap().map(|(key, _)| key), Some(new.key));
        let count = counted(id, 1, &text, "allowed", 1);
        let usage = Usage { decisions: vec![count.clone()], members: vec![] };
        store.add_usage(usage, vec![]).await.unwrap();
        assert_eq!(store.decision_counts(id, 0).await.unwrap(), [count]);
    }
}

async fn finds_nothing_by_a_fragment_of_sql(world: World) {
    world.user("ada").await;
    world.found("acme").await;
    for text in hostile() {
        assert_eq!(world.store().organization(&OrganizationName::Slug(text.clone())).await.unwrap(), None, "{text:?}");
        assert_eq!(world.store().user_by_email(&text).await.unwrap(), None, "{text:?}");
        let query = SignInQuery {
            email_key: text.clone(),
            network: Some(text),
            device: None,
            presented: None,
            known_since: at(0),
            buckets: vec![],
        };
        let facts = world.store().sign_in_facts(query).await.unwrap();
        assert_eq!((facts.user, facts.known_network, facts.attempts), (None, false, vec![]));
    }
}
