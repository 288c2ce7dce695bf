//! Nobody hands out what it does not hold, whichever way it tries.

use authv2_tests::client::Answer;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_problem},
    tenancy::{Organization, Person, allow, allow_when, deny, deny_when, deploy, held, held_at},
};

const SMALL: &str = "resource.amount <= 100";

/// An organization, and somebody in it who manages members and roles but has few rights else.
struct Scene {
    acme: Organization,
    mallory: Person,
    bob: Person,
    _deployment: super::fixture::Deployment,
}

impl Scene {
    /// `own` is what the manager holds beside managing.
    async fn with(own: &[Value]) -> Self {
        let deployment = deploy(Store::Sqlite).await;
        let acme = Organization::found(&deployment.api, "acme", "ada").await;
        let mut grants = vec![allow("members:*"), allow("roles:*")];
        grants.extend_from_slice(own);
        acme.role("manager", json!(grants)).await;
        let mallory = acme.member("mallory", json!([held("manager")])).await;
        let bob = acme.member("bob", json!([])).await;
        Self { acme, mallory, bob, _deployment: deployment }
    }

    async fn assign(&self, roles: Value) -> Answer {
        self.acme.assign(&self.mallory, &self.bob, roles).await
    }

    async fn put(&self, role: &str, inherits: Value, grants: Value) -> Answer {
        let path = self.acme.path(&format!("/roles/{role}"));
        self.mallory.put(&path, json!({"inherits": inherits, "grants": grants})).await
    }

    /// The state that no refused call may change.
    async fn state(&self) -> (Value, Vec<Value>, Value) {
        let roles = self.acme.owner.get(&self.acme.path("/roles")).await.json;
        let accounts = self.acme.owner.get(&self.acme.path("/service-accounts")).await.json;
        (roles, self.acme.members(&self.acme.owner).await, accounts)
    }
}

#[track_caller]
fn assert_escalation(answer: &Answer) {
    assert_problem(answer, 403, "privilege_escalation");
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert!([200, 201, 204].contains(&answer.status), "{}", answer.text);
}

#[tokio::test]
async fn by_assigning_a_role() {
    let scene = Scene::with(&[allow("orders:read")]).await;
    let acme = &scene.acme;
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.role("refunder", json!([allow("orders:refund")])).await;
    acme.role("all-orders", json!([allow("orders:*")])).await;
    acme.role("everything", json!([allow("*")])).await;
    acme.role_with("heir", json!({"inherits": ["refunder"], "grants": []})).await;
    let north = acme.store("north").await;
    let before = scene.state().await;
    for role in ["refunder", "all-orders", "everything", "heir", "admin", "owner"] {
        assert_escalation(&scene.assign(json!([held(role)])).await);
        assert_escalation(&scene.assign(json!([held("reader"), held(role)])).await);
        assert_escalation(&scene.assign(json!([held_at(role, &north)])).await);
        assert_escalation(&acme.assign(&scene.mallory, &scene.mallory, json!([held("manager"), held(role)])).await);
        let account = json!({"name": "robot", "roles": [held(role)]});
        assert_escalation(&scene.mallory.post(&acme.path("/service-accounts"), account).await);
    }
    assert_eq!(scene.state().await, before);
    for roles in [json!([held("reader")]), json!([held("manager"), held("member")]), json!([held_at("reader", &north)])]
    {
        assert_done(&scene.assign(roles).await);
    }
    assert_done(&scene.assign(json!([])).await);
}

#[tokio::test]
async fn by_adding_a_member_or_a_service_account_with_roles() {
    let scene = Scene::with(&[allow("orders:read")]).await;
    let acme = &scene.acme;
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.role("refunder", json!([allow("orders:refund")])).await;
    let robot = acme.service_account("robot", json!([])).await;
    let accomplice = Person::new(&acme.owner.api, "eve").await;
    let add = |role: &str| json!({"user_id": accomplice.id, "roles": [held(role)]});
    let before = scene.state().await;
    assert_escalation(&scene.mallory.post(&acme.path("/members"), add("refunder")).await);
    assert_escalation(&scene.mallory.post(&acme.path("/members"), add("owner")).await);
    let path = acme.path(&format!("/service-accounts/{robot}/roles"));
    assert_escalation(&scene.mallory.put(&path, json!({"roles": [held("refunder")]})).await);
    assert_eq!(scene.state().await, before);
    assert_done(&scene.mallory.post(&acme.path("/members"), add("reader")).await);
    assert_done(&scene.mallory.put(&path, json!({"roles": [held("reader")]})).await);
}

#[tokio::test]
async fn by_writing_a_role() {
    let scene = Scene::with(&[allow("orders:read"), allow("stock:*")]).await;
    let acme = &scene.acme;
    acme.role("refunder", json!([allow("orders:refund")])).await;
    acme.role("reader", json!([allow("orders:read")])).await;
    scene.acme.set_roles(&scene.bob, json!([held("refunder")])).await;
    let before = scene.state().await;
    for permission in ["orders:refund", "orders:*", "*", "audit:read"] {
        // New, wider, held by oneself: all the same.
        assert_escalation(&scene.put("new", json!([]), json!([allow(permission)])).await);
        assert_escalation(&scene.put("reader", json!([]), json!([allow("orders:read"), allow(permission)])).await);
        let own =
            json!([allow("members:*"), allow("roles:*"), allow("orders:read"), allow("stock:*"), allow(permission)]);
        assert_escalation(&scene.put("manager", json!([]), own).await);
    }
    // One that says more than the author holds is not for the author to extend.
    let extended = json!([allow("orders:refund"), allow("orders:read")]);
    assert_escalation(&scene.put("refunder", json!([]), extended).await);
    for parent in ["refunder", "admin", "owner"] {
        assert_escalation(&scene.put("new", json!([parent]), json!([])).await);
        assert_escalation(&scene.put("reader", json!(["member", parent]), json!([allow("orders:read")])).await);
    }
    assert_eq!(scene.state().await, before);
    for grants in [json!([allow("orders:read")]), json!([allow("stock:count"), allow("stock:*")]), json!([deny("*")])] {
        assert_done(&scene.put("new", json!(["member"]), grants).await);
    }
    assert_done(&scene.put("heir", json!(["reader"]), json!([])).await);
}

#[tokio::test]
async fn by_dropping_or_changing_a_condition() {
    let scene = Scene::with(&[allow_when("orders:refund", SMALL)]).await;
    let before = scene.state().await;
    let wider = [
        allow("orders:refund"),
        allow("orders:*"),
        allow_when("orders:refund", "true"),
        allow_when("orders:refund", "resource.amount <= 101"),
        // Narrower in truth, and yet another condition: only the very same one passes on.
        allow_when("orders:refund", "resource.amount <= 50"),
        allow_when("orders:refund", "resource.amount<=100"),
        allow_when("orders:*", SMALL),
        allow_when("orders:void", SMALL),
    ];
    for grant in wider {
        let answer = scene.put("new", json!([]), json!([grant])).await;
        assert_eq!(answer.status, 403, "{grant}: {}", answer.text);
        assert_escalation(&answer);
    }
    assert_eq!(scene.state().await, before);
    assert_done(&scene.put("same", json!([]), json!([allow_when("orders:refund", SMALL)])).await);
    assert_done(&scene.assign(json!([held("same")])).await);
    let bound = json!({"permission": "orders:refund", "resource": {"amount": 100}});
    assert!(scene.bob.passes(bound).await);
    assert!(!scene.bob.passes(json!({"permission": "orders:refund", "resource": {"amount": 101}})).await);
}

#[tokio::test]
async fn by_dropping_a_step_up() {
    let careful =
        |max_age: u32| json!({"permission": "orders:refund", "effect": "allow", "step_up": {"max_age": max_age}});
    let scene = Scene::with(&[careful(600)]).await;
    let before = scene.state().await;
    for grant in [allow("orders:refund"), careful(601)] {
        let answer = scene.put("new", json!([]), json!([grant])).await;
        assert_eq!(answer.status, 403, "{grant}: {}", answer.text);
        assert_escalation(&answer);
    }
    assert_eq!(scene.state().await, before);
    assert_done(&scene.put("same", json!([]), json!([careful(600)])).await);
}

/// Taking a deny away gives: who does it needs what comes free.
#[tokio::test]
async fn by_taking_a_deny_away() {
    let scene = Scene::with(&[allow("orders:read"), allow("stock:read")]).await;
    let acme = &scene.acme;
    acme.role("seller", json!([allow("orders:*"), allow("stock:read")])).await;
    acme.role("suspended", json!([deny("orders:refund")])).await;
    acme.role_with("on-leave", json!({"inherits": ["suspended"], "grants": []})).await;
    acme.role("no-stock", json!([deny("stock:read")])).await;
    acme.role("doubtful", json!([deny_when("orders:void", "resource.amount > 10")])).await;
    let all = json!([held("seller"), held("on-leave"), held("no-stock"), held("doubtful")]);
    acme.set_roles(&scene.bob, all).await;
    assert!(scene.bob.may("orders:read").await && !scene.bob.may("orders:refund").await);
    let before = scene.state().await;
    for left in [
        json!([held("seller"), held("no-stock"), held("doubtful")]),
        json!([held("seller"), held("on-leave"), held("no-stock")]),
    ] {
        assert_escalation(&scene.assign(left).await);
    }
    assert_escalation(&scene.put("suspended", json!([]), json!([])).await);
    assert_escalation(&scene.put("suspended", json!([]), json!([deny_when("orders:refund", "false")])).await);
    assert_escalation(&scene.put("suspended", json!([]), json!([deny("orders:refund-all")])).await);
    assert_escalation(&scene.put("on-leave", json!([]), json!([])).await);
    assert_escalation(&scene.put("doubtful", json!([]), json!([])).await);
    assert_eq!(scene.state().await, before);

    // What the author holds itself it may set free, and what allows nothing may lose its denies.
    assert_done(&scene.assign(json!([held("seller"), held("on-leave"), held("doubtful")])).await);
    assert!(scene.bob.may("stock:read").await);
    acme.set_roles(&scene.bob, json!([held("on-leave")])).await;
    assert_done(&scene.assign(json!([])).await);
    assert_done(&scene.put("suspended", json!([]), json!([])).await);
}

/// A right that is denied is not held.
#[tokio::test]
async fn by_passing_on_what_one_is_denied() {
    let scene = Scene::with(&[allow("orders:*")]).await;
    let acme = &scene.acme;
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.role("suspended", json!([deny("orders:read")])).await;
    assert_done(&scene.assign(json!([held("reader")])).await);
    acme.set_roles(&scene.bob, json!([])).await;
    acme.set_roles(&scene.mallory, json!([held("manager"), held("suspended")])).await;
    let before = scene.state().await;
    assert_escalation(&scene.assign(json!([held("reader")])).await);
    assert_escalation(&scene.put("new", json!([]), json!([allow("orders:read")])).await);
    assert_escalation(&scene.put("new", json!([]), json!([allow("orders:*")])).await);
    assert_escalation(&acme.assign(&scene.mallory, &scene.mallory, json!([held("manager")])).await);
    assert_escalation(&scene.put("suspended", json!([]), json!([])).await);
    assert_eq!(scene.state().await, before);
    assert_done(&scene.put("new", json!([]), json!([allow("orders:void")])).await);
}

#[tokio::test]
async fn by_a_right_that_one_has_at_a_store_only() {
    let scene = Scene::with(&[]).await;
    let acme = &scene.acme;
    let (north, south) = (acme.store("north").await, acme.store("south").await);
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.set_roles(&scene.mallory, json!([held("manager"), held_at("reader", &north)])).await;
    let before = scene.state().await;
    assert_escalation(&scene.assign(json!([held("reader")])).await);
    assert_escalation(&scene.assign(json!([held_at("reader", &south)])).await);
    assert_escalation(&scene.put("new", json!([]), json!([allow("orders:read")])).await);
    assert_eq!(scene.state().await, before);
    assert_done(&scene.assign(json!([held_at("reader", &north)])).await);
    // The manager's own session at that store makes it no more than that.
    let bound = scene.mallory.at_store("acme", "north").await;
    assert_eq!(acme.assign(&bound, &scene.bob, json!([held("reader")])).await.status, 403);
}

#[tokio::test]
async fn owners_and_who_holds_it_hand_out_freely() {
    let scene = Scene::with(&[allow("*")]).await;
    let acme = &scene.acme;
    acme.role("refunder", json!([allow("orders:refund"), allow_when("orders:void", SMALL)])).await;
    assert_done(&scene.assign(json!([held("refunder"), held("admin")])).await);
    assert_done(&scene.put("wide", json!(["refunder"]), json!([allow("*"), allow_when("a:b", "true")])).await);
    let owner = acme.assign(&acme.owner, &scene.bob, json!([held("owner")])).await;
    assert_done(&owner);
    let admin = acme.member("abe", json!([held("admin")])).await;
    let reader = json!({"inherits": [], "grants": [allow("orders:read")]});
    assert_escalation(&admin.put(&acme.path("/roles/new"), reader).await);
}
