//! One credential a request: which one counts, and what is refused for not being clear.

use reqwest::{Method, RequestBuilder};

use super::fixture::{ADA, Browser, assert_problem, get, is_live, quick, register, send, sign_in, sign_up, start};

const PROTECTED: [&str; 4] = ["/private", "/auth/me", "/auth/sessions", "/hello"];

#[tokio::test]
async fn two_explicit_credentials_are_ambiguous_even_if_they_are_the_same() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let bearer = format!("Bearer {}", tokens.access);
    for path in PROTECTED {
        for headers in [
            [("authorization", &*bearer), ("authorization", &*bearer)],
            [("authorization", &*bearer), ("authorization", "Bearer other")],
            [("authorization", "Basic YTpi"), ("authorization", &*bearer)],
            [("authorization", &*bearer), ("x-api-key", "avk_live_x")],
            [("x-api-key", "avk_live_x"), ("x-api-key", "avk_live_x")],
        ] {
            let add = |request: RequestBuilder, (name, value)| request.header::<&str, &str>(name, value);
            let answer = send(headers.into_iter().fold(deployment.api.request(Method::GET, path), add)).await;
            assert_problem(&answer, 400, "ambiguous_credentials");
            assert!(answer.header("www-authenticate").contains("error=\"invalid_request\""), "{:?}", answer.headers);
        }
    }
}

#[tokio::test]
async fn an_explicit_credential_wins_over_the_cookie() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    register(api, "bob@example.org").await;
    let (bob, _) = Browser::sign_in(api, "bob@example.org").await;
    let answer = send(bob.request(Method::GET, "/auth/me").bearer_auth(&tokens.access)).await;
    assert_eq!(answer.string("/user/email"), ADA, "{}", answer.text);
    assert_eq!(answer.string("/auth/method"), "bearer", "{}", answer.text);
    // A page of another site cannot add the header, so that it needs no further proof.
    let renamed = bob.request(Method::PATCH, "/auth/me").bearer_auth(&tokens.access).json(&serde_json::json!({}));
    assert_eq!(send(renamed.header("origin", "https://evil.example")).await.status, 200);
}

#[tokio::test]
async fn an_explicit_credential_that_is_not_good_never_falls_back_to_the_cookie() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    for header in [("authorization", "Bearer nonsense"), ("authorization", "Basic YTpi"), ("x-api-key", "nonsense")] {
        for path in PROTECTED {
            let answer = send(browser.request(Method::GET, path).header(header.0, header.1)).await;
            assert_problem(&answer, 401, "invalid_token");
            assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""), "{:?}", answer.headers);
        }
        let renewal = send(browser.page_request(Method::POST, "/auth/refresh").header(header.0, header.1)).await;
        assert_eq!(renewal.status, 401, "{}", renewal.text);
        assert!(!renewal.headers.contains_key("set-cookie"));
        let logout = send(browser.page_request(Method::POST, "/auth/logout").header(header.0, header.1)).await;
        assert_problem(&logout, 401, "invalid_token");
    }
    assert_eq!(browser.get("/private").await.status, 200, "the session ended");
}

#[tokio::test]
async fn takes_a_bearer_token_by_its_header_only() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let by = |header: String| send(deployment.api.request(Method::GET, "/private").header("authorization", header));
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
        assert_eq!(by(format!("{scheme} {}", tokens.access)).await.status, 200, "{scheme}");
    }
    for header in [
        tokens.access.clone(),
        format!("Token {}", tokens.access),
        format!("Bearer {} {}", tokens.access, tokens.access),
        format!("Bearer {},", tokens.access),
        format!("Bearer {}", tokens.refresh),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
    ] {
        assert_problem(&by(header).await, 401, "invalid_token");
    }
    let by_query = get(&deployment.api, &format!("/private?access_token={}", tokens.access), "").await;
    assert_problem(&by_query, 401, "unauthenticated");
    let as_key = send(deployment.api.request(Method::GET, "/private").header("x-api-key", &tokens.access)).await;
    assert_problem(&as_key, 401, "invalid_token");
}

#[tokio::test]
async fn a_public_route_takes_nobody_and_somebody_but_no_false_pretences() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    assert_eq!(get(&deployment.api, "/hello", "").await.status, 200);
    assert_eq!(get(&deployment.api, "/hello", &tokens.access).await.status, 200);
    assert_problem(&get(&deployment.api, "/hello", "nonsense").await, 401, "invalid_token");
}

#[tokio::test]
async fn tells_the_application_who_calls() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let tokens = sign_in(api, ADA).await;
    let me = get(api, "/auth/me", &tokens.access).await;
    let private = get(api, "/private", &tokens.access).await;
    assert_eq!(private.string("/user_id"), me.string("/user/id"));
    assert_eq!(private.string("/method"), "bearer");
    assert!(private.json["organization"].is_null());
    let (browser, _) = Browser::sign_in(api, ADA).await;
    assert_eq!(browser.get("/private").await.string("/method"), "cookie");
    assert!(is_live(api, &tokens.access).await);
}
