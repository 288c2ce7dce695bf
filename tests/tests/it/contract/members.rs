//! Members: added, listed, given roles, removed.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    fixture::{Store, assert_invalid, assert_problem, get, members, on_each_store, refresh},
    tenancy::{
        NOBODY_ID, Organization, Person, allow, assert_not_found, assert_refuses, deploy, held, held_at, sign_in_to,
        sorted,
    },
};

on_each_store!(
    adds_a_member_by_email_or_id_once,
    who_is_removed_goes_on_without_any_right_there,
    lists_all_members_page_by_page,
);

async fn adds_a_member_by_email_or_id_once(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let (bob, cyd) = (Person::new(api, "bob").await, Person::new(api, "cyd").await);
    let path = acme.path("/members");
    let body = json!({"email": "Bob@Example.ORG", "roles": [held("clerk"), held_at("clerk", "north")]});
    let added = acme.owner.post(&path, body).await;
    assert_eq!(added.status, 201, "{}", added.text);
    assert_eq!(members(&added.json), ["member"]);
    let member = &added.json["member"];
    assert_eq!(members(member), ["display_name", "email", "joined_at", "roles", "user_id"]);
    assert_eq!((&member["user_id"], &member["email"]), (&json!(bob.id), &json!("bob@example.org")));
    assert_eq!(sorted(&member["roles"]), sorted(&json!([held("clerk"), held_at("clerk", &north)])));
    let bare = acme.owner.post(&path, json!({"user_id": cyd.id, "roles": []})).await;
    assert_eq!((bare.status, &bare.json["member"]["roles"]), (201, &json!([])), "{}", bare.text);

    for body in [json!({"email": "bob@example.org", "roles": []}), json!({"user_id": cyd.id, "roles": []})] {
        assert_problem(&acme.owner.post(&path, body).await, 409, "already_a_member");
    }
    assert_eq!(acme.roles_of(&bob).await, Some(sorted(&member["roles"])), "the second call changed nothing");
    for body in [json!({"email": "nobody@example.org", "roles": []}), json!({"user_id": NOBODY_ID, "roles": []})] {
        assert_problem(&acme.owner.post(&path, body).await, 404, "user_not_found");
    }
    let dan = Person::new(api, "dan").await;
    let answers = join_all((0..6).map(|_| acme.owner.post(&path, json!({"user_id": dan.id, "roles": []})))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn refuses_what_is_no_member_and_no_role() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let other = Organization::found(&deployment.api, "other", "eve").await;
    other.role("theirs", json!([])).await;
    let foreign = other.store("east").await;
    let bob = Person::new(&deployment.api, "bob").await;
    let add = |body| acme.owner.post("/auth/orgs/acme/members", body);
    let with = |roles: Value| json!({"user_id": bob.id, "roles": roles});
    for (body, field, code) in [
        (with(json!([held("nonsense")])), "roles[0].role", "unknown_role"),
        (with(json!([held("member"), held("theirs")])), "roles[1].role", "unknown_role"),
        (with(json!([held_at("member", "east")])), "roles[0].store", "unknown_store"),
        (with(json!([held_at("member", &foreign)])), "roles[0].store", "unknown_store"),
        (with(json!([held_at("member", NOBODY_ID)])), "roles[0].store", "unknown_store"),
        (with(json!([{"role": "member", "until": "friday"}])), "roles[0].until", "unknown_field"),
        (with(json!([{"store": "north"}])), "roles[0].role", "required"),
        (with(json!([{"role": 7}])), "roles[0].role", "invalid_type"),
        (with(json!(["member"])), "roles[0]", "invalid_type"),
        (with(json!("member")), "roles", "invalid_type"),
        (json!({"user_id": bob.id}), "roles", "required"),
        (json!({"user_id": bob.id, "roles": [], "role": "owner"}), "role", "unknown_field"),
    ] {
        let answer = add(body.clone()).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
        assert_invalid(&answer, field, code);
    }
    for body in [json!({"roles": []}), json!({"email": bob.email, "user_id": bob.id, "roles": []})] {
        assert_problem(&add(body).await, 422, "validation_failed");
    }
    assert_eq!(acme.roles_of(&bob).await, None);
    acme.admit(&bob, json!([])).await;
    let unknown = acme.assign(&acme.owner, &bob, json!([held("member"), held("nonsense")])).await;
    assert_invalid(&unknown, "roles[1].role", "unknown_role");
    let path = acme.path(&format!("/members/{}/roles", bob.id));
    assert_invalid(&acme.owner.put(&path, json!({})).await, "roles", "required");
    assert_eq!(acme.roles_of(&bob).await, Some(vec![]));
}

#[tokio::test]
async fn roles_replace_the_ones_before() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let north = acme.store("north").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    acme.role("cashier", json!([allow("orders:refund")])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    for (roles, reads, refunds) in [
        (json!([held("cashier")]), false, true),
        (json!([held("clerk"), held("cashier")]), true, true),
        (json!([held_at("clerk", &north)]), false, false),
        (json!([]), false, false),
    ] {
        let answer = acme.assign(&acme.owner, &bob, roles.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(members(&answer.json), ["member"]);
        assert_eq!(sorted(&answer.json["member"]["roles"]), sorted(&roles));
        assert_eq!((bob.may("orders:read").await, bob.may("orders:refund").await), (reads, refunds), "{roles}");
    }
    let stranger = Person::new(&deployment.api, "eve").await;
    for id in [&*stranger.id, NOBODY_ID, "nonsense", "%00"] {
        let path = acme.path(&format!("/members/{id}/roles"));
        assert_not_found(&acme.owner.put(&path, json!({"roles": []})).await);
    }
}

/// Each call on members needs its own permission and no other.
#[tokio::test]
async fn members_are_managed_by_who_may() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let subject = acme.member("sue", json!([])).await;
    let own = format!("/members/{}", subject.id);
    let roles = format!("{own}/roles");
    let calls = [
        ("create", Method::POST, "/members", json!({"email": "nobody@example.org", "roles": []}), 404),
        ("read", Method::GET, "/members", json!(null), 200),
        ("update", Method::PUT, &*roles, json!({"roles": []}), 200),
        ("delete", Method::DELETE, &*own, json!(null), 204),
    ];
    let actions = ["create", "read", "update", "delete"];
    for (action, method, rest, body, status) in calls {
        let body = Some(&body).filter(|body| !body.is_null());
        let others: Vec<Value> =
            actions.iter().filter(|other| **other != action).map(|other| allow(&format!("members:{other}"))).collect();
        acme.role(&format!("all-but-{action}"), json!(others)).await;
        acme.role(action, json!([allow(&format!("members:{action}"))])).await;
        let without = acme.member(&format!("without-{action}"), json!([held(&format!("all-but-{action}"))])).await;
        let with = acme.member(&format!("with-{action}"), json!([held(action)])).await;
        let refused = without.call(method.clone(), &acme.path(rest), body).await;
        assert_problem(&refused, 403, "permission_denied");
        let done = with.call(method, &acme.path(rest), body).await;
        assert_eq!(done.status, status, "{action}: {}", done.text);
    }
    assert_eq!(acme.roles_of(&subject).await, None);
}

async fn lists_all_members_page_by_page(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let mut expected = BTreeSet::from([acme.owner.id.clone()]);
    for number in 0..6 {
        let person = Person::new(&deployment.api, &format!("person-{number}")).await;
        acme.admit(&person, json!([held("member")])).await;
        expected.insert(person.id);
    }
    let all = acme.owner.get(&acme.path("/members")).await;
    assert_eq!((all.status, members(&all.json)), (200, vec!["members"]), "{}", all.text);
    for limit in [1, 3, 7] {
        let (mut seen, mut sizes, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let path = acme.path(&format!("/members?limit={limit}{cursor}"));
            let page = acme.owner.get(&path).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let rows = page.json["members"].as_array().unwrap();
            sizes.push(rows.len());
            seen.extend(rows.iter().cloned());
            match page.string("/next_cursor") {
                "" => break,
                next => cursor = format!("&cursor={next}"),
            }
            assert!(sizes.len() < 20, "the pages never end: {sizes:?}");
        }
        assert!(sizes.iter().all(|size| *size <= limit), "{sizes:?}");
        assert_eq!(json!(seen), all.json["members"], "pages of {limit}");
        let ids: BTreeSet<String> = seen.iter().map(|row| row["user_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((ids.len(), &ids), (seen.len(), &expected));
    }
    for (query, field) in
        [("limit=0", "limit"), ("limit=x", "limit"), ("limit=-1", "limit"), ("cursor=nonsense", "cursor")]
    {
        assert_refuses(&acme.owner.get(&acme.path(&format!("/members?{query}"))).await, field);
    }
}

async fn who_is_removed_goes_on_without_any_right_there(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read"), allow("members:read")])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    assert!(bob.may("orders:read").await);
    let path = acme.path(&format!("/members/{}", bob.id));
    let removed = acme.owner.delete(&path).await;
    assert_eq!((removed.status, &*removed.text), (204, ""));
    assert_not_found(&acme.owner.delete(&path).await);
    assert_eq!(acme.roles_of(&bob).await, None);

    assert_eq!(bob.get("/private").await.status, 200);
    assert!(!bob.may("orders:read").await);
    for rest in ["", "/members", "/stores"] {
        assert_not_found(&bob.get(&acme.path(rest)).await);
    }
    let me = bob.get("/auth/me").await;
    assert_eq!((me.status, &me.json["roles"], &me.json["permissions"]), (200, &json!([]), &json!([])), "{}", me.text);
    let renewed = refresh(api, &bob.tokens.refresh).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let me = get(api, "/auth/me", renewed.string("/access_token")).await;
    assert_eq!(me.json.get("organization"), None, "{}", me.text);
    let again = sign_in_to(api, &bob.email, super::fixture::PASSWORD, json!({"organization": "acme"})).await;
    assert_problem(&again, 403, "not_a_member");

    // Who comes back comes back with what it is given now.
    acme.admit(&bob, json!([])).await;
    let back = bob.at("acme").await;
    assert!(!back.may("orders:read").await);
    assert_eq!(back.get(&acme.path("")).await.status, 200);
}

#[tokio::test]
async fn one_may_leave_but_not_remove_others() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    let (bob, cyd) = (acme.member("bob", json!([])).await, acme.member("cyd", json!([])).await);
    let path = |person: &Person| acme.path(&format!("/members/{}", person.id));
    assert_problem(&bob.delete(&path(&cyd)).await, 403, "permission_denied");
    assert_eq!(bob.delete(&path(&bob)).await.status, 204);
    assert_not_found(&bob.delete(&path(&bob)).await);
    assert_not_found(&bob.get(&acme.path("")).await);
    assert_eq!((acme.roles_of(&bob).await, acme.roles_of(&cyd).await), (None, Some(vec![])));
}

#[tokio::test]
async fn who_deletes_the_account_is_no_member_any_more() {
    let deployment = deploy(Store::Sqlite).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let gone = bob.call(Method::DELETE, "/auth/me", Some(&json!({"password": super::fixture::PASSWORD}))).await;
    assert_eq!(gone.status, 204, "{}", gone.text);
    assert_eq!(acme.roles_of(&bob).await, None);
    assert_not_found(&acme.owner.put(&acme.path(&format!("/members/{}/roles", bob.id)), json!({"roles": []})).await);
    assert_eq!(acme.owner.delete(&acme.path("/roles/clerk")).await.status, 204, "nobody holds it any more");
}
