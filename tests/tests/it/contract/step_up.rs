//! Proving again, in a session, who one is (RFC 9470).

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    dpop_client::{claims_of, dpop, new_key, sign_in_with},
    fixture::{
        ADA, Browser, PASSWORD, Store, Tokens, WRONG, assert_invalid, assert_problem, eventually, get, members,
        on_each_store, post, quick, refresh, register, send, set_cookie, sign_in, sign_up, start,
    },
    mfa_client::{Authenticator, sign_up_with_mfa, step_up},
    tenancy::{Organization, held},
};

on_each_store!(
    a_code_makes_a_session_stronger_and_old_tokens_gain_nothing,
    a_password_makes_a_session_fresher_and_no_stronger,
    a_factor_steps_up_once,
);

const STRONG: [&str; 3] = ["pwd", "otp", "mfa"];

async fn a_code_makes_a_session_stronger_and_old_tokens_gain_nothing(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    let stepped = step_up(api, &ada.access, json!({"code": authenticator.next_code()})).await;
    assert_eq!(stepped.status, 200, "{}", stepped.text);
    assert_eq!(members(&stepped.json), ["access_token", "expires_in", "session", "token_type"]);
    assert_eq!(stepped.string("/session/id"), ada.session);
    assert_eq!(stepped.json["session"]["auth_methods"], json!(STRONG));
    let new = stepped.string("/access_token");
    let (before, after) = (claims_of(&ada.access), claims_of(new));
    assert_eq!((&after["amr"], &after["acr"]), (&json!(STRONG), &json!("aal2")));
    assert!(after["auth_time"].as_i64() >= before["auth_time"].as_i64());
    // What was stolen before gains nothing, here or by a detour.
    for _ in 0..2 {
        let old = get(api, "/auth/me", &ada.access).await;
        assert_eq!((&old.json["auth"]["amr"], &old.json["auth"]["acr"]), (&json!(["pwd"]), &json!("aal1")));
        let fresh = get(api, "/auth/me", new).await;
        assert_eq!((&fresh.json["auth"]["amr"], &fresh.json["auth"]["acr"]), (&json!(STRONG), &json!("aal2")));
    }
    let founded = post(api, "/auth/orgs", new, json!({"slug": "acme", "name": "Acme"})).await;
    assert_eq!(founded.status, 201, "{}", founded.text);
    let switched = post(api, "/auth/session/switch", &ada.access, json!({"organization": "acme"})).await;
    let claims = claims_of(switched.string("/access_token"));
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["pwd"]), &json!("aal1")), "{}", switched.text);
    assert_eq!(claims["auth_time"], before["auth_time"]);
    // The refresh token is the session's.
    let renewed = Tokens::of(&refresh(api, &ada.refresh).await);
    let claims = claims_of(&renewed.access);
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(STRONG), &json!("aal2")));
}

async fn a_password_makes_a_session_fresher_and_no_stronger(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let ada = sign_up(api, ADA).await;
    let wrong = step_up(api, &ada.access, json!({"password": WRONG})).await;
    assert_problem(&wrong, 403, "wrong_password");
    let no_factor = step_up(api, &ada.access, json!({"code": "123456"})).await;
    assert_problem(&no_factor, 401, "invalid_code");
    let before = get(api, "/auth/me", &ada.access).await;
    let stepped = step_up(api, &ada.access, json!({"password": PASSWORD})).await;
    assert_eq!(stepped.status, 200, "{}", stepped.text);
    let after = get(api, "/auth/me", stepped.string("/access_token")).await;
    assert_eq!((&after.json["auth"]["amr"], &after.json["auth"]["acr"]), (&json!(["pwd"]), &json!("aal1")));
    assert!(after.string("/auth/auth_time") > before.string("/auth/auth_time"), "{}", after.text);
}

async fn a_factor_steps_up_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    for code in [authenticator.next_code(), authenticator.recovery_code()] {
        let body = json!({"code": code});
        let answers = futures_util::future::join_all((0..4).map(|_| step_up(api, &ada.access, body.clone()))).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            assert_problem(refused, 401, "invalid_code");
        }
    }
}

#[tokio::test]
async fn takes_exactly_one_of_password_and_code() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let ada = sign_up(api, ADA).await;
    let send = async |body: Value| step_up(api, &ada.access, body).await;
    assert_invalid(&send(json!({})).await, "password", "required");
    assert_invalid(&send(json!({"password": PASSWORD, "code": "1"})).await, "code", "too_many");
    assert_invalid(&send(json!({"password": PASSWORD, "x": "1"})).await, "x", "unknown_field");
}

#[tokio::test]
async fn a_browser_gets_another_cookie_for_the_same_session() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    let token = super::mfa_client::mfa_token(
        &post(api, "/auth/login", "", json!({"email": ADA, "password": PASSWORD, "transport": "cookie"})).await,
    );
    let verified = super::mfa_client::verify(api, &token, &authenticator.next_code()).await;
    let cookie = |answer, name| set_cookie(answer, name).expect("a cookie").0;
    let old =
        Browser { api: api.clone(), session: cookie(&verified, "authv2"), csrf: cookie(&verified, "authv2_csrf") };
    let before = old.get("/auth/me").await;
    let body = json!({"code": authenticator.recovery_code()});
    assert_problem(&send(old.request(Method::POST, "/auth/mfa/step-up").json(&body)).await, 403, "csrf_failed");
    let stepped = send(old.page_request(Method::POST, "/auth/mfa/step-up").json(&body)).await;
    assert_eq!(stepped.status, 200, "{}", stepped.text);
    assert_eq!(members(&stepped.json), ["csrf_token", "session", "user"]);
    assert_eq!(stepped.string("/session/id"), before.string("/session/id"));
    let new = Browser { api: api.clone(), session: cookie(&stepped, "authv2"), csrf: cookie(&stepped, "authv2_csrf") };
    assert_ne!(new.session, old.session);
    let me = new.get("/auth/me").await;
    assert!(me.string("/auth/auth_time") > before.string("/auth/auth_time"), "{}", me.text);
    assert_problem(&old.get("/auth/me").await, 401, "unauthenticated");
    assert_eq!(send(new.page_request(Method::POST, "/auth/logout")).await.status, 204);
}

#[tokio::test]
async fn a_browser_gets_no_token_however_many_calls_prove_at_once() {
    let deployment = start(quick()).await;
    register(&deployment.api, ADA).await;
    let (browser, _) = Browser::sign_in(&deployment.api, ADA).await;
    let body = json!({"password": PASSWORD});
    let calls = (0..6).map(|_| send(browser.page_request(Method::POST, "/auth/mfa/step-up").json(&body)));
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for answer in &answers {
        assert!(answer.json.get("access_token").is_none(), "{}", answer.text);
        assert!([200, 401].contains(&answer.status), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_held_session_is_released_by_a_code_and_by_nothing_less() {
    let deployment = start(quick().with("AUTHV2_SESSION__ON_NETWORK_CHANGE", "step_up")).await;
    let (api, away) = (&deployment.api, deployment.from(9, 1));
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    assert_problem(&get(&away, "/auth/me", &ada.access).await, 401, "step_up_required");
    assert_problem(&get(api, "/auth/me", &ada.access).await, 401, "step_up_required");
    let password = step_up(&away, &ada.access, json!({"password": PASSWORD})).await;
    assert_problem(&password, 401, "step_up_required");
    assert!(password.header("www-authenticate").contains("acr_values=\"aal2\""), "{:?}", password.headers);
    let wrong = step_up(&away, &ada.access, json!({"code": authenticator.wrong_code()})).await;
    assert_problem(&wrong, 401, "invalid_code");
    assert_problem(&get(&away, "/auth/me", &ada.access).await, 401, "step_up_required");
    let stepped = step_up(&away, &ada.access, json!({"code": authenticator.next_code()})).await;
    assert_eq!((stepped.status, stepped.string("/session/risk")), (200, "low"), "{}", stepped.text);
    assert_eq!(get(&away, "/auth/me", stepped.string("/access_token")).await.status, 200);
    // It is at home there now, and elsewhere where it came from.
    assert_problem(&get(api, "/auth/me", stepped.string("/access_token")).await, 401, "step_up_required");

    // Who has no second factor, has the password.
    register(api, "bob@example.org").await;
    let bob = sign_in(api, "bob@example.org").await;
    assert_problem(&get(&away, "/auth/me", &bob.access).await, 401, "step_up_required");
    let stepped = step_up(&away, &bob.access, json!({"password": PASSWORD})).await;
    assert_eq!(get(&away, "/auth/me", stepped.string("/access_token")).await.status, 200, "{}", stepped.text);
}

#[tokio::test]
async fn a_grant_that_wants_a_second_factor_opens_with_one() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let grant = json!({"permission": "orders:read", "effect": "allow", "step_up": {"acr": "aal2", "max_age": 60}});
    acme.role("clerk", json!([grant])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let mut authenticator = Authenticator::enrol(api, &bob.tokens.access).await;
    let refused = bob.get("/orders/1").await;
    assert_problem(&refused, 401, "step_up_required");
    let challenge = refused.header("www-authenticate");
    for part in ["error=\"insufficient_user_authentication\"", "acr_values=\"aal2\"", "max_age=\"60\""] {
        assert!(challenge.contains(part), "{challenge}");
    }
    let stepped = step_up(api, &bob.tokens.access, json!({"code": authenticator.next_code()})).await;
    eventually(async || get(api, "/orders/1", stepped.string("/access_token")).await.status == 200).await;
    assert_problem(&bob.get("/orders/1").await, 401, "step_up_required");
}

#[tokio::test]
async fn a_bound_session_stays_bound() {
    let deployment = start(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    register(api, ADA).await;
    let tokens = Tokens::of(&sign_in_with(api, &key, base, ADA).await);
    let request = dpop(api, &key, Method::POST, base, "/auth/mfa/step-up", &tokens.access);
    let stepped = send(request.json(&json!({"password": PASSWORD}))).await;
    assert_eq!((stepped.status, stepped.string("/token_type")), (200, "DPoP"), "{}", stepped.text);
    let claims = claims_of(stepped.string("/access_token"));
    assert_eq!(claims["cnf"], json!({"jkt": key.thumbprint()}));
    assert_problem(&step_up(api, &tokens.access, json!({"password": PASSWORD})).await, 401, "invalid_token");
}
