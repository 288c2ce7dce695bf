//! Calls that ask the password again: changing it, and leaving for good.

use reqwest::Method;
use serde_json::json;

use super::fixture::{
    ADA, Browser, PASSWORD, Store, WRONG, assert_invalid, assert_problem, get, is_live, login, on_each_store, post,
    quick, refresh, register, send, set_cookie, sign_in, sign_up, start,
};

const NEW: &str = "a brand new battery staple";

on_each_store!(a_new_password_ends_every_other_session, a_deleted_account_is_gone_with_all_it_had);

async fn a_new_password_ends_every_other_session(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (own, other) = (sign_in(api, ADA).await, sign_in(api, ADA).await);
    let (browser, _) = Browser::sign_in(api, ADA).await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    let answer = post(api, "/auth/password/change", &own.access, body).await;
    assert_eq!((answer.status, &*answer.text), (204, ""));

    assert!(is_live(api, &own.access).await);
    assert_eq!(refresh(api, &own.refresh).await.status, 200);
    assert!(!is_live(api, &other.access).await);
    assert_problem(&refresh(api, &other.refresh).await, 401, "invalid_refresh_token");
    assert_problem(&browser.get("/auth/me").await, 401, "unauthenticated");
    assert_problem(&login(api, ADA, PASSWORD).await, 401, "invalid_credentials");
    assert_eq!(login(api, ADA, NEW).await.status, 200);
}

#[tokio::test]
async fn a_refused_password_change_changes_nothing() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (own, other) = (sign_in(api, ADA).await, sign_in(api, ADA).await);
    let change = |current: &'static str, new: String| {
        let body = json!({"current_password": current, "new_password": new});
        let token = own.access.clone();
        async move { post(api, "/auth/password/change", &token, body).await }
    };
    assert_problem(&change(WRONG, NEW.to_owned()).await, 403, "wrong_password");
    assert_invalid(&change(PASSWORD, "7 chars".to_owned()).await, "new_password", "too_short");
    assert_invalid(&change(PASSWORD, "password123".to_owned()).await, "new_password", "too_common");
    let long: String = (0..257).map(|n| char::from_u32(0x4e00 + n * 7 % 4000).unwrap()).collect();
    assert_invalid(&change(PASSWORD, long).await, "new_password", "too_long");
    assert!(is_live(api, &other.access).await);
    assert_eq!(login(api, ADA, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn only_who_is_signed_in_may_change_a_password_or_leave() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    assert_problem(&post(&deployment.api, "/auth/password/change", "", body).await, 401, "unauthenticated");
    let body = json!({"password": PASSWORD});
    assert_problem(&post(&deployment.api, "/auth/me/delete", "", body.clone()).await, 401, "unauthenticated");
    let answer = deployment.api.call(Method::DELETE, "/auth/me", "", Some(&body)).await.unwrap();
    assert_problem(&answer, 401, "unauthenticated");
}

async fn a_deleted_account_is_gone_with_all_it_had(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    for (method, path) in [(Method::DELETE, "/auth/me"), (Method::POST, "/auth/me/delete")] {
        let tokens = sign_up(api, ADA).await;
        let other = sign_in(api, ADA).await;
        let wrong = json!({"password": WRONG});
        let refused = api.call(method.clone(), path, &tokens.access, Some(&wrong)).await.unwrap();
        assert_problem(&refused, 403, "wrong_password");
        assert!(is_live(api, &tokens.access).await);

        let right = json!({"password": PASSWORD});
        let done = api.call(method, path, &tokens.access, Some(&right)).await.unwrap();
        assert_eq!((done.status, &*done.text), (204, ""));
        for held in [&tokens, &other] {
            assert!(!is_live(api, &held.access).await);
            assert_problem(&refresh(api, &held.refresh).await, 401, "invalid_refresh_token");
        }
        assert_problem(&login(api, ADA, PASSWORD).await, 401, "invalid_credentials");
    }
    // The address is free again, for an account that knows nothing of the old one.
    let again = sign_up(api, ADA).await;
    assert_eq!(get(api, "/auth/sessions", &again.access).await.json["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn leaving_by_cookie_takes_the_cookies_away() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    let request = browser.page_request(Method::POST, "/auth/me/delete").json(&json!({"password": PASSWORD}));
    let answer = send(request).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert_eq!(set_cookie(&answer, "authv2").unwrap().0, "");
    assert_problem(&browser.get("/private").await, 401, "unauthenticated");
}
