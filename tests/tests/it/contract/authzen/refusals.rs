//! What is refused, and the form of every answer.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Books, action, asks, invoice, user};
use crate::contract::{
    fixture::{Store, assert_problem, get, members, post, send},
    tenancy::{Person, allow, held},
};

const EVALUATIONS: [&str; 2] = ["/access/v1/evaluation", "/access/v1/evaluations"];
const SEARCHES: [&str; 3] = ["/access/v1/search/subject", "/access/v1/search/resource", "/access/v1/search/action"];

#[tokio::test]
async fn what_is_missing_or_of_the_wrong_type_is_malformed() {
    let books = Books::open(Store::Sqlite).await;
    let whole = asks(user(&books.ann.id), action("read"), invoice("17"));
    assert!(books.decides(whole.clone()).await);
    for (pointer, value) in [
        ("/subject", json!(null)),
        ("/action", json!(null)),
        ("/resource", json!(null)),
        ("/subject", json!(books.ann.id)),
        ("/action", json!("read")),
        ("/resource", json!(["invoice", "17"])),
        ("/subject", json!({"id": books.ann.id})),
        ("/subject", json!({"type": "user"})),
        ("/action", json!({})),
        ("/resource", json!({"id": "17"})),
        ("/resource", json!({"type": "invoice"})),
        ("/subject/type", json!(1)),
        ("/subject/id", json!(42)),
        ("/action/name", json!(123)),
        ("/resource/type", json!(true)),
        ("/resource/id", json!({})),
    ] {
        let mut body = whole.clone();
        *body.pointer_mut(pointer).unwrap() = value.clone();
        for path in EVALUATIONS {
            let answer = books.gateway.post(path, body.clone()).await;
            assert_eq!(answer.status, 400, "{path} {pointer} {value}: {}", answer.text);
            assert_problem(&answer, 400, "malformed_request");
        }
        if value.is_null() {
            body.as_object_mut().unwrap().remove(&pointer[1..]);
            assert_problem(&books.gateway.post(EVALUATIONS[0], body).await, 400, "malformed_request");
        }
    }
    for part in ["subject", "action", "resource"] {
        let mut body = whole.clone();
        body[part]["properties"] = json!("all");
        assert_problem(&books.gateway.post(EVALUATIONS[0], body).await, 400, "malformed_request");
    }
    let mut body = whole;
    body["context"] = json!([]);
    assert_problem(&books.gateway.post(EVALUATIONS[0], body).await, 400, "malformed_request");
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_malformed() {
    let books = Books::open(Store::Sqlite).await;
    let whole = asks(user(&books.ann.id), action("read"), invoice("17")).to_string();
    let (whole, json) = (whole.as_str(), Some("application/json"));
    for path in EVALUATIONS.into_iter().chain(SEARCHES) {
        for (content_type, body, is_good) in [
            (json, whole, true),
            (Some("application/json; charset=utf-8"), whole, true),
            (Some("text/plain"), whole, false),
            (None, whole, false),
            (json, "", false),
            (None, "", false),
            (json, "{\"subject\":", false),
            (json, "[]", false),
            (json, "null", false),
            (json, "\"subject\"", false),
        ] {
            let mut request = books.gateway.api.request(Method::POST, path).bearer_auth(&books.gateway.tokens.access);
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let answer = send(request.body(body.to_owned())).await;
            if is_good {
                assert_eq!(answer.status, 200, "{path} {content_type:?} {body}: {}", answer.text);
            } else {
                assert_eq!(answer.status, 400, "{path} {content_type:?} {body}: {}", answer.text);
                assert_problem(&answer, 400, "malformed_request");
            }
        }
    }
}

#[tokio::test]
async fn evaluating_and_searching_are_permissions_of_their_own() {
    let books = Books::open(Store::Sqlite).await;
    books.acme.role("evaluates", json!([allow("authz:evaluate")])).await;
    books.acme.role("searches", json!([allow("authz:search")])).await;
    let body = asks(user(&books.ann.id), action("read"), invoice("17"));
    let evaluates = books.acme.member("evaluates", json!([held("evaluates")])).await;
    let searches = books.acme.member("searches", json!([held("searches")])).await;
    let nowhere = Person::new(&books.deployment.api, "nowhere").await;
    let api = &books.deployment.api;
    for path in EVALUATIONS.into_iter().chain(SEARCHES) {
        assert_problem(&post(api, path, "", body.clone()).await, 401, "unauthenticated");
        assert_problem(&post(api, path, "nonsense", body.clone()).await, 401, "invalid_token");
        assert_problem(&books.ann.post(path, body.clone()).await, 403, "permission_denied");
        assert_problem(&nowhere.post(path, body.clone()).await, 403, "permission_denied");
        assert_problem(&books.gateway.get(path).await, 405, "method_not_allowed");
        let is_search = SEARCHES.contains(&path);
        for (person, may) in [(&evaluates, !is_search), (&searches, is_search), (&books.acme.owner, true)] {
            let answer = person.post(path, body.clone()).await;
            if may {
                assert_eq!(answer.status, 200, "{path} {}: {}", person.email, answer.text);
            } else {
                assert_problem(&answer, 403, "permission_denied");
            }
        }
    }
}

#[tokio::test]
async fn the_request_id_comes_back_as_it_was_sent() {
    let books = Books::open(Store::Sqlite).await;
    let body = asks(user(&books.ann.id), action("read"), invoice("17"));
    let long = "x".repeat(300);
    let sent = |token: &str, path: &str, id: &str, body: &Value| {
        let request = books.deployment.api.request(Method::POST, path).header("x-request-id", id).json(body);
        if token.is_empty() { request } else { request.bearer_auth(token) }
    };
    let (token, unentitled) = (books.gateway.tokens.access.as_str(), books.ann.tokens.access.as_str());
    for id in ["6f1c1f5e-2a3b-4c4d-8e8f-0123456789ab", "trace 7 (retry #2)", long.as_str()] {
        for path in EVALUATIONS.into_iter().chain(SEARCHES) {
            for (token, body, status) in
                [(token, &body, 200), (token, &json!({}), 400), ("", &body, 401), (unentitled, &body, 403)]
            {
                let answer = send(sent(token, path, id, body)).await;
                assert_eq!((answer.status, answer.header("x-request-id")), (status, id), "{path}: {}", answer.text);
                assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
            }
        }
    }
    let answer = books.evaluate(body).await;
    assert!(!answer.header("x-request-id").is_empty(), "one is made where none was sent");
}

#[tokio::test]
async fn the_configuration_says_where_everything_is() {
    let books = Books::open(Store::Sqlite).await;
    let answer = get(&books.deployment.api, "/.well-known/authzen-configuration", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text);
    let issuer = get(&books.deployment.api, "/.well-known/oauth-authorization-server", "").await;
    assert_eq!(answer.string("/policy_decision_point"), issuer.string("/issuer"), "{}", answer.text);
    // No directory lists the quickstart's resources, so that searching them is not offered.
    let names = members(&answer.json);
    let expected = [
        "access_evaluation_endpoint",
        "access_evaluations_endpoint",
        "policy_decision_point",
        "search_action_endpoint",
        "search_subject_endpoint",
    ];
    assert_eq!(names, expected);
    let body = asks(user(&books.ann.id), action("read"), invoice("17"));
    for name in names.into_iter().filter(|name| name.ends_with("_endpoint")) {
        let path = answer.string(&format!("/{name}")).strip_prefix(answer.string("/policy_decision_point"));
        let path = path.expect("an address under the decision point's");
        assert_eq!(books.gateway.post(path, body.clone()).await.status, 200, "{name}");
    }
}
