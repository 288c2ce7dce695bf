//! How an organization's rights are used.

use serde_json::json;

use super::{
    fixture::{PASSWORD, Store, assert_problem, members, on_each_store, quick},
    tenancy::{NOBODY_ID, Organization, Person, allow, assert_not_found, deny, deploy, held},
};

on_each_store!(tells_what_was_denied_and_what_is_of_no_use);

const ANALYTICS: &str = "/auth/analytics/permissions";

async fn tells_what_was_denied_and_what_is_of_no_use(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read"), allow("orders:list"), deny("orders:void")])).await;
    acme.role("spare", json!([])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    for (permission, times, allowed) in [("orders:read", 2, true), ("orders:void", 3, false), ("a:b", 1, false)] {
        for _ in 0..times {
            assert_eq!(bob.may(permission).await, allowed, "{permission}");
        }
    }
    let answer = acme.owner.get(&format!("{ANALYTICS}?organization=acme")).await;
    assert_eq!(answer.status, 200, "{}", answer.json);
    assert_eq!(members(&answer.json), ["empty_roles", "most_denied", "never_used_grants", "stale_members"]);
    let denied = json!([
        {"permission": "orders:void", "role": "clerk", "count": 3},
        {"permission": "*", "count": 1},
    ]);
    assert_eq!(answer.json["most_denied"], denied);
    let unused = answer.json["never_used_grants"].as_array().unwrap();
    assert!(unused.contains(&json!({"role": "clerk", "permission": "orders:list"})), "{unused:?}");
    assert!(!unused.contains(&json!({"role": "clerk", "permission": "orders:read"})), "{unused:?}");
    assert_eq!(answer.json["empty_roles"], json!(["admin", "member", "spare"]));
    assert_eq!(answer.json["stale_members"], json!([]), "nobody has been here for long");
    assert_eq!(acme.owner.get(&format!("{ANALYTICS}?organization={}", acme.id)).await.status, 200, "by id");
    assert_eq!(acme.owner.at("acme").await.get(ANALYTICS).await.status, 200, "the caller's own");
}

#[tokio::test]
async fn is_for_those_who_may_read_the_audit_log() {
    let settings = quick()
        .with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root@example.org")
        .with("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", PASSWORD);
    let deployment = Store::Sqlite.deploy(settings).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("auditor", json!([allow("audit:read")])).await;
    let (auditor, bob) = (acme.member("auditor", json!([held("auditor")])).await, acme.member("bob", json!([])).await);
    let (stranger, root) = (
        Person::new(&deployment.api, "stranger").await,
        Person::sign_in(&deployment.api, "root@example.org", json!({})).await,
    );
    let path = format!("{ANALYTICS}?organization=acme");
    assert_eq!(auditor.get(&path).await.status, 200);
    assert_eq!(root.get(&path).await.status, 200, "whoever administers the platform");
    assert_problem(&bob.get(&path).await, 403, "permission_denied");
    assert_not_found(&stranger.get(&path).await);
    assert_not_found(&stranger.get(ANALYTICS).await);
    for person in [&root, &auditor] {
        for name in ["nowhere", NOBODY_ID, "", "No%20Name"] {
            assert_not_found(&person.get(&format!("{ANALYTICS}?organization={name}")).await);
        }
    }
}
