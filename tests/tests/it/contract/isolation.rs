//! No tenant learns of another: every call that takes an id answers alike for another tenant's and for a random one.
//!
//! The calls come from the served OpenAPI document. One that this file cannot fill in fails the test: a new call has
//! to be told what its parameters name and what a plausible body is.

use std::collections::{BTreeMap, BTreeSet};

use authv2_tests::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{PASSWORD, Store, get, is_live, on_each_store},
    tenancy::{Organization, Person, allow, assert_not_found, deploy, held, held_at, sign_in_to},
};

on_each_store!(every_call_with_an_id_answers_alike_for_a_foreign_and_a_random_one, names_in_bodies_tell_no_more,);

/// What a path parameter names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Names {
    Organization,
    Member,
    ServiceAccount,
    ApiKey,
    Role,
    ResourceType,
    Session,
    Device,
}

/// One thing of each kind, by name.
type Things = BTreeMap<Names, String>;

/// One call of the contract with a parameter in its path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    path: String,
    method: String,
}

impl Call {
    /// Its parameters, in order, and what each names.
    fn parameters(&self) -> Vec<(&str, Names)> {
        let segments: Vec<&str> = self.path.split('/').collect();
        let before = |at: usize| segments.get(at.wrapping_sub(1)).copied().unwrap_or_default();
        let named = segments.iter().enumerate().filter(|(_, segment)| segment.contains('{'));
        named
            .map(|(at, segment)| {
                let names = match (before(at), *segment) {
                    ("orgs", "{org}") => Names::Organization,
                    ("members", "{user_id}") => Names::Member,
                    ("service-accounts", "{id}") => Names::ServiceAccount,
                    ("api-keys", "{id}") => Names::ApiKey,
                    ("roles", "{name}") => Names::Role,
                    ("resource-types", "{type}") => Names::ResourceType,
                    ("sessions", "{id}") => Names::Session,
                    ("devices", "{id}") => Names::Device,
                    (parent, parameter) => panic!("what does {parent}/{parameter} of {self:?} name?"),
                };
                (*segment, names)
            })
            .collect()
    }

    fn filled(&self, things: &Things) -> String {
        self.parameters()
            .into_iter()
            .fold(self.path.clone(), |path, (segment, names)| path.replacen(segment, &things[&names], 1))
    }

    /// A body that the call would take.
    fn body(&self) -> Option<Value> {
        let role = json!({"inherits": [], "grants": [allow("orders:read")]});
        let rest = self.path.strip_prefix("/auth/orgs/{org}").unwrap_or(&self.path);
        match (&*self.method, rest) {
            ("get" | "delete", _) => None,
            ("patch", "") => Some(json!({"name": "Acme"})),
            ("post", "/stores") => Some(json!({"slug": "another", "name": "Another"})),
            ("post", "/members") => Some(json!({"email": "nobody@example.org", "roles": []})),
            ("post", "/service-accounts") => Some(json!({"name": "another", "roles": []})),
            ("post", "/api-keys") => Some(json!({"name": "another", "scopes": ["orders:read"]})),
            ("post", "/api-keys/{id}/rotate") => Some(json!({"grace_seconds": 60})),
            ("put", "/members/{user_id}/roles" | "/service-accounts/{id}/roles") => {
                Some(json!({"roles": [held("member")]}))
            }
            ("put", "/roles/{name}") | ("post", "/roles/{name}/impact") => Some(role),
            ("put", "/resource-types/{type}") => Some(json!({"attributes": {"amount": "long"}})),
            ("put", "/mfa-policy") => Some(json!({"require": "optional"})),
            _ => panic!("what does {self:?} take?"),
        }
    }

    /// Whether what this parameter names need not be there: it is made, or only thought of.
    fn makes(&self, names: Names) -> bool {
        let rest = self.path.strip_prefix("/auth/orgs/{org}").unwrap_or(&self.path);
        match (&*self.method, rest) {
            ("put", "/roles/{name}") | ("post", "/roles/{name}/impact") => names == Names::Role,
            ("put", "/resource-types/{type}") => names == Names::ResourceType,
            _ => false,
        }
    }

    async fn send(&self, person: &Person, things: &Things) -> Answer {
        let method = Method::from_bytes(self.method.to_uppercase().as_bytes()).unwrap();
        person.call(method, &self.filled(things), self.body().as_ref()).await
    }
}

/// Every call of the served document whose path has a parameter.
async fn calls(person: &Person) -> BTreeSet<Call> {
    let document = get(&person.api, "/openapi.json", "").await.json;
    let mut found = BTreeSet::new();
    // What the platform's administration names belongs to no organization.
    let tenants = document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.starts_with("/auth/admin/"));
    for (path, methods) in tenants {
        for method in methods.as_object().unwrap().keys().filter(|_| path.contains('{')) {
            if ["get", "post", "put", "patch", "delete", "head", "options"].contains(&&**method) {
                found.insert(Call { path: path.clone(), method: method.clone() });
            }
        }
    }
    found
}

/// A tenant with one thing of each kind, all held by the person or role that the walk names.
struct Tenant {
    organization: Organization,
    things: Things,
}

impl Tenant {
    async fn found(api: &authv2_tests::client::Api, name: &str) -> Self {
        let organization = Organization::found(api, name, &format!("owner-of-{name}")).await;
        let (role, resource_type) = (format!("role-of-{name}"), format!("type-of-{name}"));
        let store = organization.store("north").await;
        organization.role(&role, json!([allow("orders:read")])).await;
        let path = organization.path(&format!("/resource-types/{resource_type}"));
        let declared = organization.owner.put(&path, json!({"attributes": {"amount": "long"}})).await;
        assert_eq!(declared.status, 201, "{}", declared.text);
        let roles = json!([held(&role), held_at(&role, &store)]);
        let member = organization.member(&format!("member-of-{name}"), roles.clone()).await;
        let account = organization.service_account("robot", roles).await;
        let key = json!({"name": "nightly", "scopes": ["orders:read"]});
        let key = organization.owner.post(&organization.path("/api-keys"), key).await;
        assert_eq!(key.status, 201, "{}", key.text);
        let by_cookie = sign_in_to(api, &organization.owner.email, PASSWORD, json!({"transport": "cookie"})).await;
        assert_eq!(by_cookie.status, 200, "{}", by_cookie.text);
        let devices = organization.owner.get("/auth/devices").await;
        let things = Things::from([
            (Names::Organization, organization.slug.clone()),
            (Names::Member, member.id.clone()),
            (Names::ServiceAccount, account),
            (Names::ApiKey, key.string("/api_key/id").to_owned()),
            (Names::Role, role),
            (Names::ResourceType, resource_type),
            // Another one of the owner's own.
            (Names::Session, organization.owner.at(name).await.tokens.session),
            (Names::Device, devices.string("/devices/0/id").to_owned()),
        ]);
        Self { organization, things }
    }

    /// All that its owner sees of it.
    async fn state(&self) -> Vec<Value> {
        let mut state = Vec::new();
        for rest in ["", "/stores", "/members", "/service-accounts", "/api-keys", "/roles", "/resource-types"] {
            let answer = self.organization.owner.get(&self.organization.path(rest)).await;
            assert_eq!(answer.status, 200, "{rest}: {}", answer.text);
            state.push(answer.json);
        }
        state
    }
}

/// Names of nothing, of the same forms as the real ones.
fn random() -> Things {
    let id = || uuid::Uuid::now_v7().to_string();
    Things::from([
        (Names::Organization, "nobodys-own".to_owned()),
        (Names::Member, id()),
        (Names::ServiceAccount, id()),
        (Names::ApiKey, id()),
        (Names::Role, "role-of-nobody".to_owned()),
        (Names::ResourceType, "type-of-nobody".to_owned()),
        (Names::Session, id()),
        (Names::Device, id()),
    ])
}

async fn every_call_with_an_id_answers_alike_for_a_foreign_and_a_random_one(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let (own, foreign) = (Tenant::found(api, "acme").await, Tenant::found(api, "globex").await);
    let calls = calls(&own.organization.owner).await;
    assert_all_there(&calls);
    let before = foreign.state().await;
    let owner = &own.organization.owner;
    // In its organization, and in none.
    let nowhere = Person::sign_in(api, &owner.email, json!({})).await;
    for person in [owner, &nowhere] {
        for call in &calls {
            for (_, names) in call.parameters().into_iter().filter(|(_, names)| !call.makes(*names)) {
                is_not_found_alike(call, names, person, &own, &foreign).await;
            }
        }
    }
    for call in &calls {
        for (_, names) in call.parameters().into_iter().filter(|(_, names)| call.makes(*names)) {
            is_made_alike(call, names, &own, &foreign).await;
        }
    }
    assert_eq!(foreign.state().await, before, "something of the other tenant changed");
    assert!(is_live(api, &foreign.organization.owner.tokens.access).await);
    own_things_are_found(&calls, &own).await;
}

/// The contract's calls: a document that leaves them out would prove nothing.
fn assert_all_there(calls: &BTreeSet<Call>) {
    for (path, methods) in [
        ("", "get patch delete"),
        ("/mfa-policy", "get put"),
        ("/stores", "get post"),
        ("/members", "get post"),
        ("/members/{user_id}/roles", "put"),
        ("/members/{user_id}", "delete"),
        ("/roles", "get"),
        ("/roles/{name}", "get put delete"),
        ("/roles/{name}/impact", "post"),
        ("/resource-types/{type}", "get put"),
        ("/service-accounts", "get post"),
        ("/service-accounts/{id}/roles", "put"),
        ("/service-accounts/{id}", "delete"),
        ("/api-keys", "get post"),
        ("/api-keys/{id}", "get delete"),
        ("/api-keys/{id}/rotate", "post"),
    ] {
        for method in methods.split(' ') {
            let call = Call { path: format!("/auth/orgs/{{org}}{path}"), method: method.to_owned() };
            assert!(calls.contains(&call), "{call:?} is not in the document");
        }
    }
}

/// One's own things, with one of them under another name.
fn with(own: &Tenant, names: Names, name: &str) -> Things {
    let mut things = own.things.clone();
    things.insert(names, name.to_owned());
    things
}

/// Puts another tenant's name, a random one and nonsense into one parameter: nobody could tell which it was.
async fn is_not_found_alike(call: &Call, names: Names, person: &Person, own: &Tenant, foreign: &Tenant) {
    let random = random();
    let mut tried = vec![with(own, names, &foreign.things[&names]), with(own, names, &random[&names])];
    if names == Names::Organization {
        // By its id too, and with all that is the other's beside it.
        tried.push(with(own, names, &foreign.organization.id));
        tried.push(with(own, names, &uuid::Uuid::now_v7().to_string()));
        tried.push(foreign.things.clone());
        tried.push(random);
    } else {
        tried.extend(["nonsense", "%00", "..%2f..", "*"].map(|name| with(own, names, name)));
    }
    let mut first: Option<(String, String, Vec<String>)> = None;
    for things in &tried {
        let answer = call.send(person, things).await;
        let told = format!("{call:?} with {things:?}: {}", answer.text);
        assert_eq!(answer.status, 404, "{told}");
        assert_not_found(&answer);
        let text = answer.text.replace(answer.string("/request_id"), "");
        let mut fields: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        fields.sort_unstable();
        let (before, first_text, first_fields) =
            first.get_or_insert_with(|| (told.clone(), text.clone(), fields.clone()));
        assert_eq!((&*first_text, &*first_fields), (&text, &fields), "{before}\n{told}");
    }
}

/// A name that one's own tenant does not have yet is free there, whether another tenant has it or nobody.
async fn is_made_alike(call: &Call, names: Names, own: &Tenant, foreign: &Tenant) {
    let mut statuses = Vec::new();
    for name in [&foreign.things[&names], &random()[&names]] {
        let answer = call.send(&own.organization.owner, &with(own, names, name)).await;
        assert!([200, 201].contains(&answer.status), "{call:?} with {name}: {}", answer.text);
        statuses.push(answer.status);
    }
    assert_eq!(statuses[0], statuses[1], "{call:?}");
}

/// The same calls find what is one's own: else all of the above might be a 404 for want of the route.
async fn own_things_are_found(calls: &BTreeSet<Call>, own: &Tenant) {
    let mut in_order: Vec<&Call> = calls.iter().collect();
    // What removes something comes last, and the organization at the very end.
    in_order.sort_by_key(|call| (call.method == "delete", std::cmp::Reverse(call.path.len())));
    for call in in_order {
        let answer = call.send(&own.organization.owner, &own.things).await;
        // A member to add is the only one that is not there, a role in use stays, and a policy takes a second factor.
        let absent = ["user_not_found", "role_in_use", "step_up_required"].contains(&answer.code());
        assert!((200..300).contains(&answer.status) || absent, "{call:?}: {} {}", answer.status, answer.text);
    }
}

/// Names of another tenant inside a body: whatever is said of them is said of random ones too.
async fn names_in_bodies_tell_no_more(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let (own, foreign) = (Tenant::found(api, "acme").await, Tenant::found(api, "globex").await);
    let east = foreign.organization.store("east").await;
    let owner = &own.organization.owner;
    let accomplice = Person::new(api, "accomplice").await;
    let (role, nobody) = (&*foreign.things[&Names::Role], uuid::Uuid::now_v7().to_string());
    let member = own.organization.path(&format!("/members/{}/roles", own.things[&Names::Member]));
    let account = own.organization.path(&format!("/service-accounts/{}/roles", own.things[&Names::ServiceAccount]));
    let new_role = own.organization.path("/roles/new");
    let add = |roles: Value| json!({"user_id": accomplice.id, "roles": roles});
    for (given, random) in [(role, "role-of-nobody"), (&*east, &*nobody), ("east", "west")] {
        let assigned = |name: &str| if given == role { held(name) } else { held_at("member", name) };
        for name in [given, random] {
            for answer in [
                owner.post(&own.organization.path("/members"), add(json!([assigned(name)]))).await,
                owner.put(&member, json!({"roles": [assigned(name)]})).await,
                owner.put(&account, json!({"roles": [assigned(name)]})).await,
                owner
                    .post(&own.organization.path("/service-accounts"), json!({"name": "x", "roles": [assigned(name)]}))
                    .await,
            ] {
                assert_eq!(answer.status, 422, "{name}: {}", answer.text);
            }
        }
        let alike = |name: &'_ str| json!({"roles": [assigned(name)]});
        assert_alike(&owner.put(&member, alike(given)).await, given, &owner.put(&member, alike(random)).await, random);
        assert_alike(
            &owner.put(&account, alike(given)).await,
            given,
            &owner.put(&account, alike(random)).await,
            random,
        );
    }
    let inherits = |name: &str| json!({"inherits": [name], "grants": []});
    let (theirs, nobodys) = (inherits(role), inherits("role-of-nobody"));
    assert_alike(&owner.put(&new_role, theirs).await, role, &owner.put(&new_role, nobodys).await, "role-of-nobody");

    let (globex, id) = (&foreign.organization, foreign.organization.id.as_str());
    for (given, random, place) in [
        (&*globex.slug, "nobodys-own", "organization"),
        (id, &*nobody, "organization"),
        (&*east, &*nobody, "store"),
        ("east", "west", "store"),
    ] {
        let naming = |name: &str| match place {
            "store" => json!({"organization": "acme", "store": name}),
            _ => json!({"organization": name}),
        };
        let switched = |name: &str| owner.post("/auth/session/switch", naming(name));
        assert_alike(&switched(given).await, given, &switched(random).await, random);
        let signed_in = |name: &str| {
            let place = naming(name);
            async { sign_in_to(api, &owner.email, PASSWORD, place).await }
        };
        assert_alike(&signed_in(given).await, given, &signed_in(random).await, random);
    }
    let keys = own.organization.path("/api-keys");
    let key = |field: &str, name: &str| {
        let mut body = json!({"name": "nightly", "scopes": ["orders:read"]});
        body[field] = name.into();
        owner.post(&keys, body)
    };
    let robot = &*foreign.things[&Names::ServiceAccount];
    for (field, given, random) in
        [("store", &*east, &*nobody), ("store", "east", "west"), ("service_account", robot, &*nobody)]
    {
        assert_alike(&key(field, given).await, given, &key(field, random).await, random);
    }
    for (given, random) in [(&*east, &*nobody), ("east", "west")] {
        let check = |name: &str| owner.post("/auth/permissions/check", json!({"permission": "a:b", "store": name}));
        assert_alike(&check(given).await, given, &check(random).await, random);
    }
}

/// The same answer to both, but for the request's id and the name that was sent.
#[track_caller]
fn assert_alike(one: &Answer, given: &str, other: &Answer, random: &str) {
    let plain = |answer: &Answer, name: &str| {
        let text = match answer.string("/request_id") {
            "" => answer.text.clone(),
            id => answer.text.replace(id, ""),
        };
        (answer.status, text.replace(name, "NAME"))
    };
    assert_eq!(plain(one, given), plain(other, random));
}
