//! Cookie sessions: what the cookies look like, that no token leaves, and what a forged request is refused for.

use authv2_tests::client::Answer;
use reqwest::Method;
use serde_json::{Value, json};

use super::fixture::{
    ADA, Browser, PASSWORD, Store, assert_problem, login, members, on_each_store, post, quick, register, send,
    set_cookie, start,
};

on_each_store!(a_cookie_session_sees_no_token, a_forged_request_by_cookie_is_refused);

const FOREIGN: &str = "https://evil.example";

/// No member anywhere in the body is, or is named like, a secret of the session.
fn assert_no_token(body: &Value) {
    match body {
        Value::Object(object) => {
            for (name, value) in object {
                assert!(name == "csrf_token" || !name.contains("token") && name != "expires_in", "{name} in {body}");
                assert_no_token(value);
            }
        }
        Value::Array(items) => items.iter().for_each(assert_no_token),
        Value::String(text) => assert!(!text.starts_with("avr_") && !text.starts_with("eyJ"), "{text}"),
        _ => {}
    }
}

async fn a_cookie_session_sees_no_token(store: Store) {
    let deployment = store.deploy(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, signed_in) = Browser::sign_in(&deployment.api, ADA).await;
    assert_eq!(members(&signed_in.json), ["csrf_token", "session", "user"]);
    assert_no_token(&signed_in.json);
    assert!(!signed_in.text.contains(&browser.session), "the cookie's value is in the body");
    assert_eq!(signed_in.string("/csrf_token"), browser.csrf);

    let me = browser.get("/auth/me").await;
    assert_eq!(members(&me.json), ["auth", "csrf_token", "permissions", "roles", "session", "user"]);
    assert_eq!((me.string("/csrf_token"), me.string("/auth/method")), (&*browser.csrf, "cookie"));
    assert_no_token(&me.json);
    assert_no_token(&browser.get("/auth/sessions").await.json);

    let renewed = send(browser.page_request(Method::POST, "/auth/refresh")).await;
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    assert_eq!(members(&renewed.json), ["csrf_token", "session", "user"]);
    assert_no_token(&renewed.json);
    assert_eq!(renewed.json["session"]["id"], signed_in.json["session"]["id"]);
    let (session, attributes) = set_cookie(&renewed, "authv2").unwrap();
    assert!(attributes.contains(&"HttpOnly".to_owned()));
    let renewed = Browser { session, csrf: set_cookie(&renewed, "authv2_csrf").unwrap().0, ..browser };
    assert_eq!(send(renewed.page_request(Method::POST, "/auth/logout")).await.status, 204);
}

fn assert_attributes(answer: &Answer, name: &str, wanted: &[&str]) {
    let (value, attributes) = set_cookie(answer, name).unwrap_or_else(|| panic!("no {name} in {:?}", answer.headers));
    assert!(!value.is_empty());
    let (ages, rest): (Vec<_>, Vec<_>) = attributes.iter().partition(|text| text.starts_with("Max-Age="));
    assert_eq!(rest, wanted, "{name}");
    let age: u64 = ages[0].trim_start_matches("Max-Age=").parse().unwrap();
    assert!((86_400..=400 * 86_400).contains(&age), "{name}: {age}");
}

#[tokio::test]
async fn on_plain_http_in_development_the_cookies_are_unprefixed() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (_, answer) = Browser::sign_in(&deployment.api, ADA).await;
    assert_attributes(&answer, "authv2", &["HttpOnly", "Path=/", "SameSite=Lax"]);
    assert_attributes(&answer, "authv2_csrf", &["Path=/", "SameSite=Lax"]);
    assert_attributes(&answer, "authv2_device", &["HttpOnly", "Path=/", "SameSite=Lax"]);
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 3);
}

#[tokio::test]
async fn elsewhere_they_are_secure_and_bound_to_the_host() {
    let deployment = start(quick().with("AUTHV2_COOKIES__INSECURE", "false")).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let answer = post(api, "/auth/login", "", json!({"email": ADA, "password": PASSWORD, "transport": "cookie"})).await;
    assert_attributes(&answer, "__Host-authv2", &["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    assert_attributes(&answer, "authv2_csrf", &["Path=/", "SameSite=Lax", "Secure"]);
    let (value, _) = set_cookie(&answer, "__Host-authv2").unwrap();
    let by = |name: &str| send(api.request(Method::GET, "/private").header("cookie", format!("{name}={value}")));
    assert_eq!(by("__Host-authv2").await.status, 200);
    assert_problem(&by("authv2").await, 401, "unauthenticated");
}

async fn a_forged_request_by_cookie_is_refused(store: Store) {
    let deployment = store.deploy(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    let (other, _) = Browser::sign_in(&deployment.api, ADA).await;
    let half = browser.csrf.get(..browser.csrf.len() / 2).unwrap();
    let cookie = |csrf: &str| format!("authv2={}; authv2_csrf={csrf}", browser.session);
    for (method, path) in [
        (Method::PATCH, "/auth/me"),
        (Method::POST, "/auth/refresh"),
        (Method::POST, "/auth/logout"),
        (Method::POST, "/auth/logout-all"),
        (Method::DELETE, "/auth/sessions/x"),
        (Method::POST, "/auth/password/change"),
    ] {
        let request =
            |cookie: String| deployment.api.request(method.clone(), path).header("cookie", cookie).json(&json!({}));
        for forged in [
            // No token; a wrong one, equal in both places; half of it; another session's, equal and beside one's own.
            request(cookie(&browser.csrf)),
            request(cookie("x")).header("x-csrf-token", "x"),
            request(cookie(half)).header("x-csrf-token", half),
            request(cookie(&other.csrf)).header("x-csrf-token", &other.csrf),
            request(cookie(&browser.csrf)).header("x-csrf-token", &other.csrf),
            // A right one, yet not in the cookie.
            request(format!("authv2={}", browser.session)).header("x-csrf-token", &browser.csrf),
            // A right one from a page that is not ours, whatever it says of itself.
            request(cookie(&browser.csrf)).header("x-csrf-token", &browser.csrf).header("origin", FOREIGN),
            request(cookie(&browser.csrf)).header("x-csrf-token", &browser.csrf).header("origin", "null"),
            request(cookie(&browser.csrf)).header("x-csrf-token", &browser.csrf).header("sec-fetch-site", "cross-site"),
        ] {
            assert_problem(&send(forged).await, 403, "csrf_failed");
        }
    }
    assert_eq!(browser.get("/private").await.status, 200, "a forged request ended the session");
}

#[tokio::test]
async fn our_own_pages_pass_under_each_allowed_origin() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    let own = deployment.server.url();
    for origin in [own.to_owned(), own.replace("127.0.0.1", "localhost"), own.replace("127.0.0.1", "[::1]")] {
        let request = browser.page_request(Method::PATCH, "/auth/me").json(&json!({})).header("origin", &origin);
        // With an Origin, that decides; the weaker sign is not looked at.
        let answer = send(request.header("sec-fetch-site", "same-origin")).await;
        assert_eq!(answer.status, 200, "{origin}: {}", answer.text);
    }
}

#[tokio::test]
async fn safe_methods_by_cookie_need_no_token() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    for method in [Method::GET, Method::HEAD] {
        let answer = send(browser.request(method, "/auth/me").header("origin", FOREIGN)).await;
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn another_sites_page_signs_nobody_in_or_up() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    for (path, email) in [("/auth/login", ADA), ("/auth/register", "bob@example.org")] {
        let body = json!({"email": email, "password": PASSWORD});
        let request = || api.request(Method::POST, path).json(&body);
        for forged in [
            request().header("origin", FOREIGN),
            request().header("origin", "null"),
            request().header("origin", FOREIGN).header("sec-fetch-site", "same-origin"),
            request().header("sec-fetch-site", "cross-site"),
        ] {
            let answer = send(forged).await;
            assert_problem(&answer, 403, "csrf_failed");
            assert!(!answer.headers.contains_key("set-cookie"));
        }
    }
    assert_problem(&login(api, "bob@example.org", PASSWORD).await, 401, "invalid_credentials");
    for site in ["same-origin", "same-site", "none"] {
        let body = json!({"email": ADA, "password": PASSWORD});
        let request = api.request(Method::POST, "/auth/login").json(&body).header("sec-fetch-site", site);
        assert_eq!(send(request).await.status, 200, "{site}");
    }
    let body = json!({"email": ADA, "password": PASSWORD});
    let own = api.request(Method::POST, "/auth/login").json(&body).header("origin", deployment.server.url());
    assert_eq!(send(own).await.status, 200);
}

#[tokio::test]
async fn a_page_that_believes_in_another_organization_is_told() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    for path in ["/private", "/auth/me", "/auth/sessions"] {
        let answer = send(browser.request(Method::GET, path).header("x-authv2-organization", "acme")).await;
        assert_problem(&answer, 409, "wrong_organization");
    }
    let write = browser.page_request(Method::POST, "/auth/logout").header("x-authv2-organization", "acme");
    assert_problem(&send(write).await, 409, "wrong_organization");
    assert_eq!(browser.get("/private").await.status, 200);
}

#[tokio::test]
async fn a_stale_cookie_is_nobody() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    assert_eq!(send(browser.page_request(Method::POST, "/auth/logout")).await.status, 204);
    let never = Browser { session: "avs_never".to_owned(), ..browser.clone() };
    for stale in [&browser, &never] {
        assert_eq!(stale.get("/hello").await.status, 200);
        for path in ["/private", "/auth/me", "/auth/sessions"] {
            let answer = stale.get(path).await;
            assert_problem(&answer, 401, "unauthenticated");
            assert!(!answer.header("www-authenticate").contains("error="), "no token was presented");
        }
        let renewal = send(stale.page_request(Method::POST, "/auth/refresh")).await;
        assert_eq!(renewal.status, 401, "{}", renewal.text);
        assert!(set_cookie(&renewal, "authv2").is_none_or(|(value, _)| value.is_empty()));
        // Signing in again works with the old cookies still there.
        let body = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
        assert_eq!(send(stale.request(Method::POST, "/auth/login").json(&body)).await.status, 200);
    }
}

#[tokio::test]
async fn a_cookies_value_is_no_bearer_token_and_a_token_no_cookie() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    let tokens = super::fixture::sign_in(&deployment.api, ADA).await;
    assert!(!super::fixture::is_live(&deployment.api, &browser.session).await);
    for value in [tokens.access, tokens.refresh] {
        let request = deployment.api.request(Method::GET, "/private").header("cookie", format!("authv2={value}"));
        assert_problem(&send(request).await, 401, "unauthenticated");
    }
    assert_problem(&super::fixture::refresh(&deployment.api, &browser.session).await, 401, "invalid_refresh_token");
}

#[tokio::test]
async fn each_sign_in_makes_a_new_session() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (first, _) = Browser::sign_in(&deployment.api, ADA).await;
    let body = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
    let again = send(first.request(Method::POST, "/auth/login").json(&body)).await;
    let (value, _) = set_cookie(&again, "authv2").unwrap();
    assert_ne!(value, first.session, "a session could be fixed before its owner signs in");
}
