//! Searches: who may, what may be done, and to what.

use std::collections::BTreeSet;

use authv2_tests::client::Answer;
use serde_json::{Value, json};

use super::{Books, action, asks, invoice, user, with};
use crate::contract::{
    fixture::{Store, assert_problem, on_each_store},
    tenancy::{NOBODY_ID, held, held_at},
};

on_each_store!(finds_the_users_who_may);

async fn find(books: &Books, what: &str, body: Value) -> Answer {
    let answer = books.gateway.post(&format!("/access/v1/search/{what}"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json["page"]["next_token"].is_string(), "{}", answer.text);
    answer
}

/// The ids of the users found on the first page, sorted.
async fn users(books: &Books, body: Value) -> Vec<String> {
    let answer = find(books, "subject", body).await;
    let results = answer.json["results"].as_array().unwrap();
    let id = |found: &Value| {
        assert_eq!(found, &user(found["id"].as_str().unwrap()));
        found["id"].as_str().unwrap().to_owned()
    };
    let mut ids: Vec<String> = results.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

async fn actions(books: &Books, body: Value) -> Vec<String> {
    let answer = find(books, "action", body).await;
    assert_eq!(answer.json["page"], json!({"next_token": ""}));
    let results = answer.json["results"].as_array().unwrap();
    results.iter().map(|found| found["name"].as_str().unwrap().to_owned()).collect()
}

fn anybody() -> Value {
    json!({"type": "user"})
}

async fn finds_the_users_who_may(store: Store) {
    let books = Books::open(store).await;
    let (owner, ann, ben) = (&books.acme.owner.id, &books.ann.id, &books.ben.id);
    let sorted = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<_>>();
    let closed = with(invoice("18"), json!({"state": "closed"}));
    for (body, expected) in [
        (asks(anybody(), action("read"), invoice("17")), sorted(&[owner, ann, ben])),
        (asks(anybody(), action("approve"), invoice("17")), sorted(&[owner, ann])),
        (asks(anybody(), action("approve"), closed), sorted(&[owner, ben])),
        (asks(anybody(), with(action("void"), json!({"draft": true})), invoice("17")), sorted(&[owner, ann])),
        // Who is named is looked for all the same, among all.
        (asks(user(ann), action("read"), invoice("17")), sorted(&[owner, ann, ben])),
        (asks(json!({"type": "spaceship"}), action("read"), invoice("17")), sorted(&[])),
        (asks(anybody(), action("READ"), invoice("17")), sorted(&[])),
    ] {
        let mut in_context = body.clone();
        in_context["context"] = json!({"time": "2026-03-02T08:15:00Z", "ip": "203.0.113.9"});
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!(users(&books, body).await, expected, "{in_context}");
        assert_eq!(users(&books, in_context).await, expected);
    }
    // Neither service accounts nor who has gone.
    books.acme.service_account("robot", json!([held("viewer")])).await;
    let removed = books.acme.owner.delete(&books.acme.path(&format!("/members/{ben}"))).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    let expected: Vec<String> = sorted(&[owner, ann]).into_iter().collect();
    assert_eq!(users(&books, asks(anybody(), action("read"), invoice("17"))).await, expected);
}

#[tokio::test]
async fn pages_hold_everybody_once() {
    let books = Books::open(Store::Sqlite).await;
    for name in ["cyd", "dan", "eva", "fay"] {
        books.acme.member(name, json!([held("viewer")])).await;
    }
    let body = asks(anybody(), action("read"), invoice("17"));
    let all = users(&books, body.clone()).await;
    assert_eq!(all.len(), 7);
    for limit in 1..=4 {
        let (mut found, mut token) = (Vec::new(), String::new());
        for page in 0.. {
            assert!(page < 10, "no end after {found:?}");
            let mut body = body.clone();
            body["page"] = json!({"limit": limit, "token": token});
            let answer = find(&books, "subject", body).await;
            let results = answer.json["results"].as_array().unwrap();
            assert!(results.len() <= limit, "{}", answer.text);
            found.extend(results.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
            answer.string("/page/next_token").clone_into(&mut token);
            if token.is_empty() {
                break;
            }
        }
        found.sort_unstable();
        assert_eq!(found, all, "pages of {limit}");
    }
    for page in [
        json!([]),
        json!({"limit": 0}),
        json!({"limit": -1}),
        json!({"limit": "2"}),
        json!({"limit": 1.5}),
        json!({"token": 7}),
        json!({"token": "nonsense"}),
    ] {
        let mut body = body.clone();
        body["page"] = page.clone();
        let answer = books.gateway.post("/access/v1/search/subject", body).await;
        assert_eq!(answer.status, 400, "{page}: {}", answer.text);
        assert_problem(&answer, 400, "malformed_request");
    }
    let mut all_at_once = body;
    all_at_once["page"] = json!({"limit": 1_000_000});
    assert_eq!(users(&books, all_at_once).await, all);
}

#[tokio::test]
async fn finds_what_a_user_may_do() {
    let books = Books::open(Store::Sqlite).await;
    let question = |subject: Value, resource: Value| json!({"subject": subject, "resource": resource});
    let (ann, ben) = (user(&books.ann.id), user(&books.ben.id));
    let closed = || with(invoice("18"), json!({"state": "closed"}));
    assert_eq!(actions(&books, question(ann.clone(), invoice("17"))).await, ["approve", "read"]);
    assert_eq!(actions(&books, question(ann.clone(), closed())).await, ["read"]);
    assert_eq!(actions(&books, question(ben.clone(), closed())).await, ["approve", "read"]);
    assert_eq!(actions(&books, question(user(&books.acme.owner.id), invoice("17"))).await, ["approve", "read", "void"]);
    let mut drafts = question(ann.clone(), invoice("17"));
    drafts["context"] = json!({"ip": "203.0.113.9"});
    drafts["action"] = with(action("ignored"), json!({"draft": true}));
    assert_eq!(actions(&books, drafts).await, ["approve", "read", "void"]);
    for (subject, resource) in [
        (user("crm/0042"), invoice("17")),
        (user(NOBODY_ID), invoice("17")),
        (json!({"type": "spaceship", "id": books.ann.id}), invoice("17")),
        (ann.clone(), json!({"type": "parcel", "id": "17"})),
    ] {
        assert_eq!(actions(&books, question(subject.clone(), resource)).await, [""; 0], "{subject}");
    }
    // At a store, what is held there counts too.
    books.acme.store("north").await;
    books.acme.set_roles(&books.ben, json!([held("viewer"), held_at("approver", "north")])).await;
    assert_eq!(actions(&books, question(ben.clone(), invoice("17"))).await, ["read"]);
    let north = Books { gateway: books.gateway.at_store("acme", "north").await, ..books };
    assert_eq!(actions(&north, question(ben, invoice("17"))).await, ["approve", "read"]);
}

#[tokio::test]
async fn finds_no_resource_where_nobody_lists_any() {
    let books = Books::open(Store::Sqlite).await;
    for subject in [&books.ann.id, &books.acme.owner.id, "nobody"] {
        let body = asks(user(subject), action("read"), json!({"type": "invoice"}));
        assert_eq!(find(&books, "resource", body).await.json, json!({"results": [], "page": {"next_token": ""}}));
    }
}

#[tokio::test]
async fn needs_all_but_what_it_looks_for() {
    let books = Books::open(Store::Sqlite).await;
    let whole = asks(user(&books.ann.id), action("read"), invoice("17"));
    for (what, pointer) in [
        ("subject", "subject"),
        ("subject", "subject/type"),
        ("subject", "action"),
        ("subject", "action/name"),
        ("subject", "resource"),
        ("subject", "resource/id"),
        ("resource", "subject/id"),
        ("resource", "action"),
        ("resource", "resource"),
        ("resource", "resource/type"),
        ("action", "subject"),
        ("action", "subject/id"),
        ("action", "resource/type"),
        ("action", "resource/id"),
    ] {
        let mut body = whole.clone();
        match pointer.split_once('/') {
            Some((part, field)) => body[part].as_object_mut().unwrap().remove(field),
            None => body.as_object_mut().unwrap().remove(pointer),
        };
        let answer = books.gateway.post(&format!("/access/v1/search/{what}"), body).await;
        assert_eq!(answer.status, 400, "{what} without {pointer}: {}", answer.text);
        assert_problem(&answer, 400, "malformed_request");
        find(&books, what, whole.clone()).await;
    }
}
