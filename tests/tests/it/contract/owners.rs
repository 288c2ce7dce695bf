//! An organization keeps an owner, whichever way its owners go.

use authv2_tests::client::Answer;
use futures_util::future::join;
use reqwest::Method;
use serde_json::json;

use super::{
    fixture::{PASSWORD, Store, assert_problem, on_each_store},
    tenancy::{Organization, Person, allow, deny, deploy, held, held_at},
};

on_each_store!(
    two_owners_who_leave_at_once_do_not_both_go,
    two_owners_who_delete_their_accounts_at_once_do_not_both_go
);

async fn leave(acme: &Organization, person: &Person) -> Answer {
    person.delete(&acme.path(&format!("/members/{}", person.id))).await
}

async fn delete_account(person: &Person) -> Answer {
    person.call(Method::DELETE, "/auth/me", Some(&json!({"password": PASSWORD}))).await
}

#[tokio::test]
async fn the_last_owner_stays() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("everything", json!([allow("*")])).await;
    acme.role("suspended", json!([deny("orders:refund")])).await;
    acme.role("harmless", json!([allow("orders:read")])).await;
    // Neither all permissions nor the role at a store makes an owner.
    acme.member("bob", json!([held("everything"), held("admin"), held_at("owner", &north)])).await;
    let owner = &acme.owner;
    acme.set_roles(owner, json!([held("owner"), held("harmless")])).await;
    let denying = json!({"inherits": [], "grants": [allow("orders:read"), deny("orders:void")]});
    let inheriting = json!({"inherits": ["suspended"], "grants": [allow("orders:read")]});
    let twin = "/auth/me/delete";
    for (way, answer) in [
        ("demoted", acme.assign(owner, owner, json!([])).await),
        ("demoted to admin", acme.assign(owner, owner, json!([held("admin"), held("everything")])).await),
        ("owner of a store", acme.assign(owner, owner, json!([held_at("owner", &north)])).await),
        ("denied by a role", acme.assign(owner, owner, json!([held("owner"), held("suspended")])).await),
        ("denied by an edit", owner.put(&acme.path("/roles/harmless"), denying).await),
        ("denied by a parent", owner.put(&acme.path("/roles/harmless"), inheriting).await),
        ("left", leave(&acme, owner).await),
        ("account deleted", delete_account(owner).await),
        ("account deleted by the twin", owner.post(twin, json!({"password": PASSWORD})).await),
    ] {
        assert_eq!(answer.status, 409, "{way}: {}", answer.text);
        assert_problem(&answer, 409, "last_owner");
    }
    let kept = acme.roles_of(owner).await.unwrap();
    assert_eq!(kept, [held("harmless"), held("owner")]);
    assert!(owner.may("orders:refund").await && owner.may("orders:void").await);
}

#[tokio::test]
async fn with_another_owner_one_may_go() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let bob = acme.member("bob", json!([held("owner")])).await;
    assert_eq!(acme.assign(&acme.owner, &acme.owner, json!([held("member")])).await.status, 200);
    assert_problem(&leave(&acme, &bob).await, 409, "last_owner");
    assert_eq!(acme.assign(&bob, &acme.owner, json!([held("owner")])).await.status, 200);
    assert_eq!(leave(&acme, &bob).await.status, 204);
    assert_problem(&delete_account(&acme.owner).await, 409, "last_owner");
    let cyd = acme.member("cyd", json!([held("owner")])).await;
    assert_eq!(delete_account(&acme.owner).await.status, 204);
    assert_problem(&acme.assign(&cyd, &cyd, json!([])).await, 409, "last_owner");
    // Once nothing is owned, nobody is held.
    assert_eq!(cyd.delete(&acme.path("")).await.status, 204);
    assert_eq!(delete_account(&cyd).await.status, 204);
}

#[tokio::test]
async fn an_owner_who_is_denied_something_is_not_enough() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("suspended", json!([deny("orders:refund")])).await;
    let bob = acme.member("bob", json!([held("owner"), held("suspended")])).await;
    assert!(bob.may("orders:read").await && !bob.may("orders:refund").await);
    assert_problem(&leave(&acme, &acme.owner).await, 409, "last_owner");
    acme.set_roles(&bob, json!([held("owner")])).await;
    assert_eq!(leave(&acme, &acme.owner).await.status, 204);
}

#[tokio::test]
async fn only_an_owner_narrows_demotes_or_removes_an_owner() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("everything", json!([allow("*")])).await;
    acme.role("suspended", json!([deny("orders:refund")])).await;
    acme.role("harmless", json!([allow("orders:read")])).await;
    // The last one is not the reason: there are two owners.
    let bob = acme.member("bob", json!([held("owner"), held("harmless")])).await;
    let root = acme.member("cyd", json!([held("everything"), held("admin")])).await;
    let denying = json!({"inherits": [], "grants": [deny("orders:read")]});
    let inheriting = json!({"inherits": ["suspended"], "grants": [allow("orders:read")]});
    for (way, answer) in [
        ("demoted", acme.assign(&root, &bob, json!([held("harmless")])).await),
        (
            "denied by a role",
            acme.assign(&root, &bob, json!([held("owner"), held("harmless"), held("suspended")])).await,
        ),
        ("denied by an edit", root.put(&acme.path("/roles/harmless"), denying.clone()).await),
        ("denied by a parent", root.put(&acme.path("/roles/harmless"), inheriting).await),
        ("removed", root.delete(&acme.path(&format!("/members/{}", bob.id))).await),
    ] {
        assert_eq!(answer.status, 403, "{way}: {}", answer.text);
        assert_problem(&answer, 403, "privilege_escalation");
    }
    assert_eq!(acme.roles_of(&bob).await.unwrap(), [held("harmless"), held("owner")]);
    let narrowed = acme.owner.put(&acme.path("/roles/harmless"), denying).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text);
    assert!(!bob.may("orders:read").await);
    assert_eq!(acme.owner.delete(&acme.path(&format!("/members/{}", bob.id))).await.status, 204);
}

async fn two_owners_who_leave_at_once_do_not_both_go(store: Store) {
    let deployment = deploy(store).await;
    for round in 0..4 {
        let acme = Organization::found(&deployment.api, &format!("acme-{round}"), &format!("ada-{round}")).await;
        let bob = acme.member(&format!("bob-{round}"), json!([held("owner")])).await;
        let (one, two) = match round % 2 {
            0 => join(leave(&acme, &acme.owner), leave(&acme, &bob)).await,
            _ => join(acme.assign(&bob, &acme.owner, json!([])), acme.assign(&acme.owner, &bob, json!([]))).await,
        };
        assert_one_went(&[one, two]);
    }
}

async fn two_owners_who_delete_their_accounts_at_once_do_not_both_go(store: Store) {
    let deployment = deploy(store).await;
    for round in 0..4 {
        let acme = Organization::found(&deployment.api, &format!("acme-{round}"), &format!("ada-{round}")).await;
        let bob = acme.member(&format!("bob-{round}"), json!([held("owner")])).await;
        let (one, two) = join(delete_account(&acme.owner), delete_account(&bob)).await;
        assert_one_went(&[one, two]);
    }
}

/// One of two did it. The other was the last owner then; one whom the first has demoted meanwhile is no owner at all.
fn assert_one_went(answers: &[Answer; 2]) {
    let done = answers.iter().filter(|answer| [200, 204].contains(&answer.status)).count();
    assert_eq!(done, 1, "{answers:?}");
    let refused = answers.iter().find(|answer| ![200, 204].contains(&answer.status)).unwrap();
    assert!([409, 403].contains(&refused.status), "{}", refused.text);
    assert!(["last_owner", "privilege_escalation", "permission_denied"].contains(&refused.code()), "{}", refused.text);
}
