//! What the tests of tenancy share: people, the organizations they found, and what roles say.

use authv2_tests::client::{Answer, Api};
use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::{Deployment, PASSWORD, Store, Tokens, assert_problem, post, quick, refresh, register};

pub(crate) async fn deploy(store: Store) -> Deployment {
    store.deploy_confined(quick()).await
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) api: Api,
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) tokens: Tokens,
}

impl Person {
    /// Makes the account `name@example.org` and signs in to it, in no organization.
    pub(crate) async fn new(api: &Api, name: &str) -> Self {
        let email = format!("{name}@example.org");
        register(api, &email).await;
        Self::sign_in(api, &email, json!({})).await
    }

    /// Signs in once more; `place` names organization and store, if any.
    pub(crate) async fn sign_in(api: &Api, email: &str, place: Value) -> Self {
        let answer = sign_in_to(api, email, PASSWORD, place).await;
        let id = answer.string("/user/id").to_owned();
        Self { api: api.clone(), id, email: email.to_owned(), tokens: Tokens::of(&answer) }
    }

    /// The same session with its next tokens, on a server that was started anew. They tell of the sign-in what the session
    /// does; the ones before keep what they were issued with.
    pub(crate) async fn refreshed(&self, api: &Api) -> Self {
        let tokens = Tokens::of(&refresh(api, &self.tokens.refresh).await);
        Self { api: api.clone(), tokens, ..self.clone() }
    }

    /// The same person in another session, in an organization.
    pub(crate) async fn at(&self, organization: &str) -> Self {
        Self::sign_in(&self.api, &self.email, json!({"organization": organization})).await
    }

    /// The same person in another session, bound to a store.
    pub(crate) async fn at_store(&self, organization: &str, store: &str) -> Self {
        Self::sign_in(&self.api, &self.email, json!({"organization": organization, "store": store})).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.api.call(method, path, &self.tokens.access, body).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(&body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, Some(&body)).await
    }

    /// What a check answers, in the organization of the session.
    pub(crate) async fn check(&self, body: Value) -> Answer {
        let answer = self.post("/auth/permissions/check", body.clone()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text);
        assert!(answer.json["allowed"].is_boolean(), "{}", answer.text);
        answer
    }

    /// Whether a check says yes.
    pub(crate) async fn passes(&self, body: Value) -> bool {
        self.check(body).await.json["allowed"] == true
    }

    /// Whether it may do this at the organization, or the store, of its session.
    pub(crate) async fn may(&self, permission: &str) -> bool {
        self.passes(json!({"permission": permission})).await
    }
}

pub(crate) async fn sign_in_to(api: &Api, email: &str, password: &str, place: Value) -> Answer {
    let mut body = json!({"email": email, "password": password});
    for (name, value) in place.as_object().unwrap() {
        body[name] = value.clone();
    }
    post(api, "/auth/login", "", body).await
}

/// An organization, and its owner in a session of it.
#[derive(Debug, Clone)]
pub(crate) struct Organization {
    pub(crate) id: String,
    pub(crate) slug: String,
    pub(crate) owner: Person,
}

impl Organization {
    /// Makes the account of the owner, too.
    pub(crate) async fn found(api: &Api, slug: &str, owner: &str) -> Self {
        let founder = Person::new(api, owner).await;
        Self::found_by(&founder, slug).await
    }

    pub(crate) async fn found_by(founder: &Person, slug: &str) -> Self {
        let founded = founder.post("/auth/orgs", json!({"slug": slug, "name": slug.to_uppercase()})).await;
        assert_eq!(founded.status, 201, "{}", founded.text);
        let id = founded.string("/organization/id").to_owned();
        Self { id, slug: slug.to_owned(), owner: founder.at(slug).await }
    }

    /// The path of something in it.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/auth/orgs/{}{rest}", self.slug)
    }

    /// Writes a role as its owner.
    pub(crate) async fn role(&self, name: &str, grants: Value) {
        self.role_with(name, json!({"inherits": [], "grants": grants})).await;
    }

    pub(crate) async fn role_with(&self, name: &str, body: Value) {
        let answer = self.owner.put(&self.path(&format!("/roles/{name}")), body).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
    }

    /// Opens a store as its owner; the store's id.
    pub(crate) async fn store(&self, slug: &str) -> String {
        let answer = self.owner.post(&self.path("/stores"), json!({"slug": slug, "name": slug.to_uppercase()})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.string("/store/id").to_owned()
    }

    /// Makes the account `name@example.org`, a member of it with these roles, in a session of it.
    pub(crate) async fn member(&self, name: &str, roles: Value) -> Person {
        let person = Person::new(&self.owner.api, name).await;
        self.admit(&person, roles).await;
        person.at(&self.slug).await
    }

    /// Adds a member as its owner.
    pub(crate) async fn admit(&self, person: &Person, roles: Value) {
        let answer = self.owner.post(&self.path("/members"), json!({"user_id": person.id, "roles": roles})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Gives a member these roles instead of the ones it had, as `by`.
    pub(crate) async fn assign(&self, by: &Person, person: &Person, roles: Value) -> Answer {
        by.put(&self.path(&format!("/members/{}/roles", person.id)), json!({"roles": roles})).await
    }

    /// The same as its owner, and it works.
    pub(crate) async fn set_roles(&self, person: &Person, roles: Value) {
        let answer = self.assign(&self.owner, person, roles).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }

    /// A service account made by its owner; its id.
    pub(crate) async fn service_account(&self, name: &str, roles: Value) -> String {
        let answer = self.owner.post(&self.path("/service-accounts"), json!({"name": name, "roles": roles})).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.string("/service_account/id").to_owned()
    }

    /// All its members, as `by` sees them.
    pub(crate) async fn members(&self, by: &Person) -> Vec<Value> {
        let answer = by.get(&self.path("/members?limit=200")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json["members"].as_array().unwrap().clone()
    }

    /// A member's roles, sorted; none where it is no member.
    pub(crate) async fn roles_of(&self, person: &Person) -> Option<Vec<Value>> {
        let members = self.members(&self.owner).await;
        let member = members.into_iter().find(|member| member["user_id"] == json!(person.id))?;
        Some(sorted(&member["roles"]))
    }
}

pub(crate) fn allow(permission: &str) -> Value {
    json!({"permission": permission, "effect": "allow"})
}

pub(crate) fn deny(permission: &str) -> Value {
    json!({"permission": permission, "effect": "deny"})
}

pub(crate) fn allow_when(permission: &str, condition: &str) -> Value {
    json!({"permission": permission, "effect": "allow", "when": condition})
}

pub(crate) fn deny_when(permission: &str, condition: &str) -> Value {
    json!({"permission": permission, "effect": "deny", "when": condition})
}

/// An assignment at the organization.
pub(crate) fn held(role: &str) -> Value {
    json!({"role": role})
}

/// An assignment at a store.
pub(crate) fn held_at(role: &str, store: &str) -> Value {
    json!({"role": role, "store": store})
}

/// The elements of a JSON array in an order of their own.
pub(crate) fn sorted(array: &Value) -> Vec<Value> {
    let mut elements = array.as_array().expect("an array").clone();
    elements.sort_unstable_by_key(ToString::to_string);
    elements
}

/// A refusal that names exactly this field, with whatever code.
pub(crate) fn assert_refuses(answer: &Answer, field: &str) {
    assert_problem(answer, 422, "validation_failed");
    assert_eq!(answer.json["errors"].as_array().map(Vec::len), Some(1), "{}", answer.text);
    assert_eq!(answer.string("/errors/0/field"), field, "{}", answer.text);
}

/// What is not there, or in another tenant.
pub(crate) fn assert_not_found(answer: &Answer) {
    assert_problem(answer, 404, "not_found");
}

/// An id that nothing has.
pub(crate) const NOBODY_ID: &str = "0198c0de-0000-7000-8000-000000000000";
