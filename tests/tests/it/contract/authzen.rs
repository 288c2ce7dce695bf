//! OpenID AuthZEN 1.0: what a service is told that asks about others.
#![allow(clippy::needless_pass_by_value, reason = "a test reads better with values")]

mod batch;
mod refusals;
mod search;

use authv2_tests::client::Answer;
use serde_json::{Value, json};

use super::{
    fixture::{Deployment, Store, on_each_store},
    tenancy::{NOBODY_ID, Organization, Person, allow, allow_when, deny_when, deploy, held, held_at},
};

on_each_store!(decides_by_roles_and_properties, decides_about_members_of_the_callers_organization_alone);

/// A bookkeeping: ann approves invoices that are not closed and voids drafts, ben approves closed ones, both read.
struct Books {
    deployment: Deployment,
    acme: Organization,
    gateway: Person,
    ann: Person,
    ben: Person,
}

impl Books {
    async fn open(store: Store) -> Self {
        Self::on(deploy(store).await).await
    }

    async fn on(deployment: Deployment) -> Self {
        let acme = Organization::found(&deployment.api, "acme", "ada").await;
        acme.role("gateway", json!([allow("authz:evaluate"), allow("authz:search")])).await;
        acme.role("viewer", json!([allow("invoice:read")])).await;
        let open = "!(resource has state && resource.state == \"closed\")";
        let approver = json!([allow_when("invoice:approve", open), allow_when("invoice:void", "action.draft")]);
        acme.role("approver", approver).await;
        acme.role("auditor", json!([allow_when("invoice:approve", "resource.state == \"closed\"")])).await;
        let gateway = acme.member("gateway", json!([held("gateway")])).await;
        let ann = acme.member("ann", json!([held("viewer"), held("approver")])).await;
        let ben = acme.member("ben", json!([held("viewer"), held("auditor")])).await;
        Self { deployment, acme, gateway, ann, ben }
    }

    /// Gives ann, beside what she has, a role with these grants.
    async fn also(&self, grants: Value) {
        self.acme.role("also", grants).await;
        self.acme.set_roles(&self.ann, json!([held("viewer"), held("approver"), held("also")])).await;
    }

    async fn evaluate(&self, body: Value) -> Answer {
        let answer = self.gateway.post("/access/v1/evaluation", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.json["decision"].is_boolean(), "{}", answer.text);
        answer
    }

    async fn decides(&self, body: Value) -> bool {
        self.evaluate(body).await.json["decision"] == true
    }
}

fn user(id: &str) -> Value {
    json!({"type": "user", "id": id})
}

fn action(name: &str) -> Value {
    json!({"name": name})
}

fn invoice(id: &str) -> Value {
    json!({"type": "invoice", "id": id})
}

fn with(mut part: Value, properties: Value) -> Value {
    part["properties"] = properties;
    part
}

fn asks(subject: Value, action: Value, resource: Value) -> Value {
    json!({"subject": subject, "action": action, "resource": resource})
}

async fn decides_by_roles_and_properties(store: Store) {
    let books = Books::open(store).await;
    let (ann, ben) = (user(&books.ann.id), user(&books.ben.id));
    let (read, approve, void) = (action("read"), action("approve"), action("void"));
    let closed = || with(invoice("18"), json!({"state": "closed"}));
    for (subject, action, resource, decision) in [
        (&ann, &read, invoice("17"), true),
        (&ann, &approve, invoice("17"), true),
        (&ann, &approve, with(invoice("17"), json!({"state": "open"})), true),
        (&ann, &approve, closed(), false),
        (&ben, &read, invoice("17"), true),
        (&ben, &approve, invoice("17"), false),
        (&ben, &approve, closed(), true),
        (&ann, &with(void.clone(), json!({"draft": true})), invoice("17"), true),
        (&ann, &with(void.clone(), json!({"draft": false})), invoice("17"), false),
        (&ann, &void, invoice("17"), false),
        // More than anybody looks at.
        (&with(ann.clone(), json!({"team": "north"})), &with(read.clone(), json!({"via": "app"})), closed(), true),
        // What no permission can be called, no grant speaks of.
        (&ann, &action("READ"), invoice("17"), false),
        (&ann, &action("*"), invoice("17"), false),
        (&ann, &read, json!({"type": "*", "id": "17"}), false),
        (&ann, &read, json!({"type": "", "id": ""}), false),
        // Only users are subjects.
        (&json!({"type": "service", "id": books.ann.id}), &read, invoice("17"), false),
        (&json!({"type": "User", "id": books.ann.id}), &read, invoice("17"), false),
    ] {
        let body = asks(subject.clone(), action.clone(), resource);
        let answer = books.evaluate(body.clone()).await;
        assert_eq!(answer.json, json!({"decision": decision}), "{body}");
        assert_eq!(answer.header("content-type"), "application/json");
    }
    let mut body = asks(ann.clone(), read, invoice("17"));
    for _ in 0..5 {
        assert!(books.decides(body.clone()).await);
    }
    body["context"] = json!({"time": "2026-03-02T08:15:00Z", "ip": "203.0.113.9"});
    assert!(books.decides(body.clone()).await);
    body["later"] = json!({"version": 2});
    body["subject"]["alias"] = json!("a");
    body["action"]["alias"] = json!(["b"]);
    body["resource"]["alias"] = json!(null);
    assert!(books.decides(body).await, "unknown fields are ignored");
}

async fn decides_about_members_of_the_callers_organization_alone(store: Store) {
    let books = Books::open(store).await;
    let reads = |id: &str| asks(user(id), action("read"), invoice("17"));
    for nobody in [NOBODY_ID, "ann", "ann@example.org", "", "\0", "' OR 1=1 --"] {
        assert!(!books.decides(reads(nobody)).await, "{nobody:?}");
    }
    let robot = books.acme.service_account("robot", json!([held("viewer")])).await;
    assert!(!books.decides(reads(&robot)).await, "no user");
    let dan = Person::new(&books.deployment.api, "dan").await;
    assert!(!books.decides(reads(&dan.id)).await, "no member");

    // Another organization has other members, and other roles for the same ones.
    let other = Organization::found_by(&dan, "other").await;
    assert!(!books.decides(reads(&dan.id)).await);
    other.role("gateway", json!([allow("authz:evaluate")])).await;
    other.admit(&books.gateway, json!([held("gateway")])).await;
    let there = books.gateway.at("other").await;
    let ask = async |id: &str| there.post("/access/v1/evaluation", reads(id)).await.json["decision"] == true;
    assert!(!ask(&books.ann.id).await);
    assert!(ask(&dan.id).await);

    assert!(books.decides(reads(&books.ann.id)).await);
    books.acme.set_roles(&books.ann, json!([])).await;
    assert!(!books.decides(reads(&books.ann.id)).await, "without roles");
    let removed = books.acme.owner.delete(&books.acme.path(&format!("/members/{}", books.ben.id))).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    assert!(!books.decides(reads(&books.ben.id)).await, "removed");
}

#[tokio::test]
async fn is_asked_at_the_place_of_the_callers_credential() {
    let books = Books::open(Store::Sqlite).await;
    books.acme.store("north").await;
    let cyd = books.acme.member("cyd", json!([held_at("viewer", "north")])).await;
    let reads = |id: &str| asks(user(id), action("read"), invoice("17"));
    assert!(!books.decides(reads(&cyd.id)).await);
    let north = books.gateway.at_store("acme", "north").await;
    for subject in [&cyd, &books.ann] {
        let answer = north.post("/access/v1/evaluation", reads(&subject.id)).await;
        assert_eq!(answer.json, json!({"decision": true}), "{}", answer.text);
    }
}

#[tokio::test]
async fn believes_the_store_before_what_it_is_sent() {
    let books = Books::open(Store::Sqlite).await;
    let subject = |properties: Value| with(user(&books.ann.id), properties);
    let reopen = |properties: Value| asks(subject(properties), action("reopen"), invoice("17"));
    let liar = json!({
        "id": NOBODY_ID, "email": "ceo@example.org", "roles": ["owner"], "organization": NOBODY_ID, "title": "chief",
        "method": "session", "amr": ["pwd", "otp"], "acr": "aal2", "auth_age": 1, "session_age": 1, "risk": "low",
        "ip": "127.0.0.1",
    });
    for (condition, holds) in [
        // A property of the application's is the caller's to say.
        ("principal.title == \"chief\"".to_owned(), true),
        (format!("principal.id == \"{}\"", books.ann.id), true),
        ("principal.email == \"ann@example.org\"".to_owned(), true),
        ("principal.roles.contains(\"owner\")".to_owned(), false),
        ("principal.roles.contains(\"also\")".to_owned(), true),
        // It is not the subject who asks: nothing is known of any session of hers.
        ("principal.method == \"session\"".to_owned(), false),
        ("principal.amr.contains(\"otp\")".to_owned(), false),
        ("principal.acr == \"aal2\"".to_owned(), false),
        ("principal.auth_age < 60".to_owned(), false),
        ("principal.session_age < 60".to_owned(), false),
        ("principal.risk == \"low\"".to_owned(), false),
        ("principal.ip.isLoopback()".to_owned(), false),
        ("principal has amr || principal has auth_age || principal has ip".to_owned(), false),
    ] {
        books.also(json!([allow_when("invoice:reopen", &condition)])).await;
        assert_eq!(books.decides(reopen(liar.clone())).await, holds, "{condition}");
    }
    // A deny whose facts are absent denies.
    books.also(json!([allow("invoice:reopen"), deny_when("invoice:reopen", "principal.risk == \"high\"")])).await;
    assert!(!books.decides(reopen(liar)).await);
    // Nor do properties of the others take the place of what the question says.
    books.also(json!([allow_when("invoice:reopen", "resource.id == \"17\" && resource.type == \"invoice\"")])).await;
    let posing = json!({"id": "17", "type": "invoice"});
    let other = asks(subject(json!({})), action("reopen"), with(invoice("18"), posing.clone()));
    assert!(!books.decides(other).await);
    let same = json!({"id": "18", "type": "parcel"});
    assert!(books.decides(asks(subject(json!({})), action("reopen"), with(invoice("17"), same))).await);
    books.also(json!([allow_when("invoice:reopen", "action.name == \"approve\" || context.now.hour == 99")])).await;
    let mut body = asks(subject(json!({})), with(action("reopen"), json!({"name": "approve"})), invoice("17"));
    body["context"] = json!({"now": {"hour": 99, "minute": 0, "weekday": 1}});
    assert!(!books.decides(body).await);
}

#[tokio::test]
async fn says_where_a_better_sign_in_would_do() {
    let books = Books::open(Store::Sqlite).await;
    let careful = json!({"permission": "invoice:close", "effect": "allow", "step_up": {"acr": "aal2", "max_age": 60}});
    books.also(json!([careful])).await;
    let answer = books.evaluate(asks(user(&books.ann.id), action("close"), invoice("17"))).await;
    let expected = json!({"decision": false, "context": {"step_up": {"acr": "aal2", "max_age": 60}}});
    assert_eq!(answer.json, expected);
}

#[tokio::test]
async fn knows_a_subject_by_the_applications_id_too() {
    // In a file, where another process can write what no call sets.
    let books = Books::on(super::fixture::start(super::fixture::quick()).await).await;
    let database = books.deployment.server.directory().join("authv2.db");
    let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", database.display())).await.unwrap();
    let named = sqlx::query("UPDATE users SET external_id = 'crm/0042' WHERE email = 'ann@example.org'");
    assert_eq!(named.execute(&pool).await.unwrap().rows_affected(), 1);
    pool.close().await;
    for (id, decision) in [("crm/0042", true), ("CRM/0042", false), ("crm/004", false), (books.ann.id.as_str(), true)] {
        assert_eq!(books.decides(asks(user(id), action("approve"), invoice("17"))).await, decision, "{id}");
    }
    // What a search finds, it calls as the application does.
    let body = asks(json!({"type": "user"}), action("approve"), invoice("17"));
    let found = books.gateway.post("/access/v1/search/subject", body).await;
    let results = found.json["results"].as_array().unwrap();
    assert!(results.contains(&user("crm/0042")) && !results.contains(&user(&books.ann.id)), "{}", found.text);
    assert!(results.contains(&user(&books.acme.owner.id)), "{}", found.text);
}
