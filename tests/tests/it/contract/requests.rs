//! Conventions that hold for every request: ids, caching, methods, and the form of refusals.

use std::collections::HashSet;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

use super::fixture::{ADA, PASSWORD, assert_problem, call, get, post, quick, register, send, sign_up, start};

const NOT_CACHED: [(Method, &str, u16); 18] = [
    (Method::GET, "/hello", 200),
    (Method::HEAD, "/hello", 200),
    (Method::POST, "/hello", 405),
    (Method::OPTIONS, "/hello", 405),
    (Method::GET, "/private", 401),
    (Method::DELETE, "/private", 405),
    (Method::PUT, "/", 405),
    (Method::GET, "/nowhere", 404),
    (Method::GET, "/auth/me", 401),
    (Method::HEAD, "/auth/me", 401),
    (Method::PUT, "/auth/me", 405),
    (Method::OPTIONS, "/auth/me", 204),
    (Method::POST, "/auth/login", 415),
    (Method::GET, "/auth/sessions", 401),
    (Method::POST, "/auth/logout", 401),
    (Method::GET, "/health/live", 200),
    (Method::GET, "/health/ready", 200),
    (Method::POST, "/.well-known/jwks.json", 405),
];

#[tokio::test]
async fn every_response_names_its_request_and_is_not_stored() {
    let deployment = start(quick()).await;
    let mut seen = HashSet::new();
    for (method, path, status) in NOT_CACHED {
        let answer = call(&deployment.api, method.clone(), path, "").await;
        // What a path answers to OPTIONS without a preflight's headers is its own affair.
        assert!(answer.status == status || method == Method::OPTIONS, "{method} {path}: {}", answer.status);
        assert_eq!(answer.header("cache-control"), "no-store", "{method} {path}");
        assert!(seen.insert(answer.header("x-request-id").to_owned()), "{method} {path}");
        let stamps = answer.headers.get_all("x-request-id").iter().count();
        assert_eq!(stamps, 1, "{method} {path}");
    }
    assert!(!seen.contains(""), "a response has no X-Request-Id");
}

#[tokio::test]
async fn a_preflight_is_named_and_not_stored_either() {
    let deployment = start(quick()).await;
    let origin = deployment.server.url();
    for path in ["/hello", "/auth/me", "/nowhere"] {
        let request = deployment.api.request(Method::OPTIONS, path);
        let request = request.header("origin", origin).header("access-control-request-method", "GET");
        let answer = send(request.header("x-request-id", "mine")).await;
        assert_eq!(answer.header("x-request-id"), "mine", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn what_everybody_may_read_may_be_cached() {
    let deployment = start(quick().with("AUTHV2_TOKENS__JWKS_MAX_AGE", "17")).await;
    let jwks = get(&deployment.api, "/.well-known/jwks.json", "").await;
    assert_eq!(jwks.header("cache-control"), "public, max-age=17");
    for path in ["/.well-known/oauth-authorization-server", "/openapi.json"] {
        let answer = get(&deployment.api, path, "").await;
        assert!(answer.header("cache-control").starts_with("public, max-age="), "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
    let page = get(&deployment.api, "/", "").await;
    assert_ne!(page.header("cache-control"), "no-store");
    assert!(!page.header("x-request-id").is_empty());
    assert!(page.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn keeps_a_good_request_id_and_replaces_a_bad_one() {
    let deployment = start(quick()).await;
    let longest = "x".repeat(128);
    let too_long = "x".repeat(129);
    for path in ["/hello", "/private", "/auth/me", "/nowhere", "/auth/login", "/health/live"] {
        for (sent, kept) in [
            (b"a".as_slice(), true),
            (b"abc-1.2_3", true),
            (longest.as_bytes(), true),
            (too_long.as_bytes(), false),
            (b"", false),
            (b"a/b", false),
            (b"a b", false),
            (b"caf\xc3\xa9", false),
        ] {
            let request = deployment.api.request(Method::GET, path);
            let answer = send(request.header("x-request-id", HeaderValue::from_bytes(sent).unwrap())).await;
            let named = answer.header("x-request-id");
            assert_eq!(named.as_bytes() == sent, kept, "{path}: sent {sent:?}, got {named}");
            assert!((1..=128).contains(&named.len()), "{path}: {named}");
            if answer.status >= 400 {
                assert_eq!(answer.string("/request_id"), named, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem_of_a_kind_of_its_own() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let login = |body: &'static str, kind: &'static str| {
        send(api.request(Method::POST, "/auth/login").header(CONTENT_TYPE, kind).body(body))
    };
    let credentials = json!({"email": ADA, "password": PASSWORD});
    let mut kinds = HashSet::new();
    for (answer, status, code) in [
        (login("{", "application/json").await, 400, "malformed_request"),
        (get(api, "/auth/me", "").await, 401, "unauthenticated"),
        (get(api, "/auth/me", "nonsense").await, 401, "invalid_token"),
        (post(api, "/auth/login", "", json!({"email": ADA, "password": "x"})).await, 401, "invalid_credentials"),
        (post(api, "/auth/refresh", "", json!({"refresh_token": "x"})).await, 401, "invalid_refresh_token"),
        (post(api, "/auth/me/delete", &tokens.access, json!({"password": "x"})).await, 403, "wrong_password"),
        (get(api, "/auth/nowhere", "").await, 404, "not_found"),
        (call(api, Method::PUT, "/auth/login", "").await, 405, "method_not_allowed"),
        (post(api, "/auth/register", "", credentials).await, 409, "email_taken"),
        (post(api, "/auth/login", "", json!({"email": "x".repeat(70_000)})).await, 413, "body_too_large"),
        (login("{}", "text/plain").await, 415, "unsupported_media_type"),
        (post(api, "/auth/login", "", json!({})).await, 422, "validation_failed"),
    ] {
        assert_problem(&answer, status, code);
        assert!(kinds.insert(answer.string("/type").to_owned()), "{code} shares its type");
        assert!(!answer.text.contains(PASSWORD) && !answer.text.contains(&tokens.access), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_example_routes_refuse_as_the_contract_does() {
    let deployment = start(quick()).await;
    for (method, path) in [(Method::POST, "/hello"), (Method::DELETE, "/private"), (Method::PUT, "/")] {
        let answer = call(&deployment.api, method, path, "").await;
        assert_problem(&answer, 405, "method_not_allowed");
        assert!(answer.header("allow").contains("GET"), "{path}: {:?}", answer.headers);
    }
    assert_problem(&get(&deployment.api, "/private", "").await, 401, "unauthenticated");
    assert_problem(&get(&deployment.api, "/private/x", "").await, 404, "not_found");
}

#[tokio::test]
async fn a_missing_credential_is_challenged_without_an_error_and_a_refused_one_with_it() {
    let deployment = start(quick()).await;
    for path in ["/private", "/auth/me", "/auth/sessions"] {
        let none = get(&deployment.api, path, "").await;
        assert_problem(&none, 401, "unauthenticated");
        assert!(!none.header("www-authenticate").contains("error="), "{:?}", none.headers);
        let refused = get(&deployment.api, path, "nonsense").await;
        assert_problem(&refused, 401, "invalid_token");
        assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""), "{:?}", refused.headers);
    }
    let login = deployment.api.login(ADA, PASSWORD).await.unwrap();
    assert_problem(&login, 401, "invalid_credentials");
    assert!(!login.header("www-authenticate").contains("error="), "no token was presented: {:?}", login.headers);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    for path in ["/", "/hello", "/private", "/auth/me", "/auth/sessions", "/openapi.json", "/health/live", "/nowhere"] {
        for token in ["", &tokens.access] {
            let whole = call(&deployment.api, Method::GET, path, token).await;
            let head = call(&deployment.api, Method::HEAD, path, token).await;
            assert_eq!(head.status, whole.status, "{path}");
            assert_eq!(head.text, "", "{path}");
            assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
            // RFC 9110 section 8.6: absent, or what GET would have sent.
            let length = head.header("content-length");
            assert!(length.is_empty() || length == whole.text.len().to_string(), "{path}: {length}");
        }
    }
}

#[tokio::test]
async fn tells_the_methods_of_a_path() {
    let deployment = start(quick()).await;
    for (path, methods) in [
        ("/auth/me", ["GET", "PATCH", "DELETE", "HEAD", "OPTIONS"].as_slice()),
        ("/auth/login", &["POST", "OPTIONS"]),
        ("/auth/sessions", &["GET", "HEAD", "OPTIONS"]),
        ("/auth/sessions/x", &["DELETE", "OPTIONS"]),
    ] {
        let wanted: HashSet<&str> = methods.iter().copied().collect();
        let asked = call(&deployment.api, Method::OPTIONS, path, "").await;
        assert_eq!(asked.status, 204, "{path}: {}", asked.text);
        assert_eq!(asked.header("allow").split(", ").collect::<HashSet<_>>(), wanted, "{path}");
        let refused = call(&deployment.api, Method::TRACE, path, "").await;
        assert_problem(&refused, 405, "method_not_allowed");
        assert_eq!(refused.header("allow").split(", ").collect::<HashSet<_>>(), wanted, "{path}");
    }
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name_in_every_call() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let tokens = super::fixture::sign_in(api, ADA).await;
    let password = json!(PASSWORD);
    for (method, path, mut body) in [
        (Method::POST, "/auth/register", json!({"email": "x@example.org", "password": password})),
        (Method::POST, "/auth/login", json!({"email": ADA, "password": password})),
        (Method::POST, "/auth/refresh", json!({"refresh_token": tokens.refresh})),
        (Method::POST, "/auth/logout", json!({})),
        (Method::POST, "/auth/logout-all", json!({"except_current": false})),
        (Method::PATCH, "/auth/me", json!({"display_name": "Ada"})),
        (Method::DELETE, "/auth/me", json!({"password": password})),
        (Method::POST, "/auth/me/delete", json!({"password": password})),
        (
            Method::POST,
            "/auth/password/change",
            json!({"current_password": password, "new_password": "another good one"}),
        ),
    ] {
        body["is_admin"] = json!(true);
        let answer = api.call(method, path, &tokens.access, Some(&body)).await.unwrap();
        super::fixture::assert_invalid(&answer, "is_admin", "unknown_field");
    }
    let me = get(api, "/auth/me", &tokens.access).await;
    assert_eq!(me.status, 200, "a refused call did something: {}", me.text);
    assert_eq!(me.json["user"]["display_name"], json!(null));
    assert_eq!(super::fixture::refresh(api, &tokens.refresh).await.status, 200);
}
