//! Signing in with the second factor.

use authv2_tests::client::Answer;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    dpop_client::{claims_of, dpop, new_key, proof},
    fixture::{
        ADA, Browser, PASSWORD, Store, Tokens, WRONG, assert_invalid, assert_problem, get, is_live, login, members,
        on_each_store, post, quick, refresh, send, set_cookie, start,
    },
    mfa_client::{Authenticator, begin, mfa_token, sign_up_with_mfa, verify, verify_recovery},
    tenancy::{Organization, allow, held, sign_in_to},
};

on_each_store!(
    a_sign_in_goes_on_with_a_code_and_with_a_recovery_code,
    a_code_works_once,
    of_many_answers_at_once_one_wins,
    an_mfa_token_dies_after_five_wrong_codes,
    an_mfa_token_dies_with_the_password,
);

fn auth_of(answer: &Answer) -> Value {
    let auth = &answer.json["auth"];
    json!({"amr": auth["amr"], "acr": auth["acr"]})
}

async fn a_sign_in_goes_on_with_a_code_and_with_a_recovery_code(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, before) = sign_up_with_mfa(api, ADA).await;
    let refused = login(api, ADA, PASSWORD).await;
    assert_problem(&refused, 403, "mfa_required");
    assert_eq!(refused.json["methods"], json!(["totp", "recovery_code"]));
    assert!(refused.string("/mfa_token").starts_with("avt_"), "{}", refused.text);
    assert_eq!(refused.headers.get("set-cookie"), None);
    assert_problem(&get(api, "/auth/me", refused.string("/mfa_token")).await, 401, "invalid_token");
    assert_problem(&login(api, ADA, WRONG).await, 401, "invalid_credentials");

    let verified = verify(api, &mfa_token(&refused), &authenticator.next_code()).await;
    let tokens = Tokens::of(&verified);
    let signed_in =
        ["access_token", "expires_in", "refresh_expires_in", "refresh_token", "session", "token_type", "user"];
    assert_eq!(members(&verified.json), signed_in);
    let strong = json!({"amr": ["pwd", "otp", "mfa"], "acr": "aal2"});
    assert_eq!(verified.json["session"]["auth_methods"], strong["amr"]);
    assert_eq!(auth_of(&get(api, "/auth/me", &tokens.access).await), strong);
    let claims = claims_of(&tokens.access);
    assert_eq!((&claims["amr"], &claims["acr"]), (&strong["amr"], &strong["acr"]));
    let renewed = Tokens::of(&refresh(api, &tokens.refresh).await);
    assert_eq!(auth_of(&get(api, "/auth/me", &renewed.access).await), strong);
    let weak = json!({"amr": ["pwd"], "acr": "aal1"});
    assert_eq!(auth_of(&get(api, "/auth/me", &before.access).await), weak, "an old session stays what it was");

    let token = begin(api, ADA).await;
    let by_recovery = Tokens::of(&verify_recovery(api, &token, &authenticator.recovery_code()).await);
    assert_eq!(auth_of(&get(api, "/auth/me", &by_recovery.access).await), strong);
    while let Some(code) = authenticator.recovery_codes.pop() {
        let token = begin(api, ADA).await;
        assert_eq!(verify_recovery(api, &token, &code).await.status, 200);
    }
    assert_eq!(login(api, ADA, PASSWORD).await.json["methods"], json!(["totp"]), "no recovery code is left");
}

async fn a_code_works_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    let code = authenticator.next_code();
    let (first, second) = (begin(api, ADA).await, begin(api, ADA).await);
    assert_eq!(verify(api, &first, &code).await.status, 200);
    assert_problem(&verify(api, &first, &code).await, 401, "invalid_token");
    assert_problem(&verify(api, &second, &code).await, 401, "invalid_code");
    let earlier = authenticator.code_in(-1);
    assert_problem(&verify(api, &second, &earlier).await, 401, "invalid_code");
    let recovery = authenticator.recovery_code();
    assert_eq!(verify_recovery(api, &second, &recovery).await.status, 200);
    let third = begin(api, ADA).await;
    assert_problem(&verify_recovery(api, &third, &recovery).await, 401, "invalid_code");
    for wrong in ["", "12345", "1234567", "not a code", "\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}"] {
        let token = begin(api, ADA).await;
        assert_problem(&verify(api, &token, wrong).await, 401, "invalid_code");
    }
}

async fn of_many_answers_at_once_one_wins(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    // One token and one code; one code and a token each.
    let (token, code) = (begin(api, ADA).await, authenticator.recovery_code());
    let answers = join_all((0..4).map(|_| verify_recovery(api, &token, &code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(answers.iter().all(|answer| [200, 401].contains(&answer.status)));
    let tokens = join_all((0..4).map(|_| begin(api, ADA))).await;
    let code = authenticator.next_code();
    let answers = join_all(tokens.iter().map(|token| verify(api, token, &code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_problem(refused, 401, "invalid_code");
    }
    // One token and a recovery code each: the others keep theirs.
    let token = begin(api, ADA).await;
    let codes: Vec<String> = authenticator.recovery_codes.drain(..3).collect();
    let answers = join_all(codes.iter().map(|code| verify_recovery(api, &token, code))).await;
    let winner = answers.iter().position(|answer| answer.status == 200).unwrap();
    for (place, code) in codes.iter().enumerate() {
        let token = begin(api, ADA).await;
        let again = verify_recovery(api, &token, code).await;
        assert_eq!(again.status, if place == winner { 401 } else { 200 }, "{}", again.text);
    }
}

async fn an_mfa_token_dies_after_five_wrong_codes(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    let (token, other) = (begin(api, ADA).await, begin(api, ADA).await);
    let wrong = authenticator.wrong_code();
    // At once: however many are under way, five are looked at.
    let answers = join_all((0..8).map(|_| verify(api, &token, &wrong))).await;
    let codes: Vec<&str> = answers.iter().map(Answer::code).collect();
    assert_eq!(codes.iter().filter(|code| **code == "invalid_code").count(), 5, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == "invalid_token").count(), 3, "{codes:?}");
    let code = authenticator.next_code();
    assert_problem(&verify(api, &token, &code).await, 401, "invalid_token");
    assert_eq!(verify(api, &other, &code).await.status, 200, "the code was not used up");
}

async fn an_mfa_token_dies_with_the_password(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    let token = begin(api, ADA).await;
    let change = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    assert_eq!(post(api, "/auth/password/change", &ada.access, change).await.status, 204);
    let late = verify(api, &token, &authenticator.next_code()).await;
    assert_problem(&late, 401, "invalid_token");
}

#[tokio::test]
async fn a_code_may_be_a_step_off_and_no_more() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let ada = super::fixture::sign_up(api, ADA).await;
    let enrolled = post(api, "/auth/mfa/totp", &ada.access, json!({"password": PASSWORD})).await;
    let authenticator = Authenticator::of(enrolled.string("/secret"));
    for steps in [-3, 3] {
        let code = json!({"code": authenticator.code_in(steps)});
        assert_problem(&post(api, "/auth/mfa/totp/confirm", &ada.access, code).await, 401, "invalid_code");
    }
    let code = json!({"code": authenticator.code_in(1)});
    assert_eq!(post(api, "/auth/mfa/totp/confirm", &ada.access, code).await.status, 200);
}

#[tokio::test]
async fn a_completed_sign_in_alone_clears_the_count() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    let wrong = authenticator.wrong_code();
    let mut refused = Vec::new();
    // Nine wrong ones, over several tokens: the right password between them clears nothing.
    for _ in 0..3 {
        let token = begin(api, ADA).await;
        for _ in 0..3 {
            refused.push(verify(api, &token, &wrong).await.code().to_owned());
        }
    }
    assert!(refused.iter().all(|code| code == "invalid_code"), "{refused:?}");
    let token = begin(api, ADA).await;
    let tokens = Tokens::of(&verify(api, &token, &authenticator.recovery_code()).await);
    let body = json!({"password": WRONG, "code": wrong});
    for _ in 0..10 {
        let answer = post(api, "/auth/mfa/totp/delete", &tokens.access, body.clone()).await;
        assert_problem(&answer, 403, "wrong_password");
    }
    let token = begin(api, ADA).await;
    let late = verify(api, &token, &authenticator.recovery_code()).await;
    assert_problem(&late, 429, "too_many_attempts");
    assert!(!late.header("retry-after").is_empty());
}

#[tokio::test]
async fn asks_for_the_fields_it_takes() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let send = async |body: Value| post(api, "/auth/mfa/verify", "", body).await;
    assert_invalid(&send(json!({"code": "1"})).await, "mfa_token", "required");
    assert_invalid(&send(json!({"mfa_token": "x"})).await, "code", "required");
    let both = json!({"mfa_token": "x", "code": "1", "recovery_code": "2"});
    assert_invalid(&send(both).await, "recovery_code", "too_many");
    assert_invalid(&send(json!({"mfa_token": "x", "code": 123_456})).await, "code", "invalid_type");
    assert_invalid(&send(json!({"mfa_token": "x", "code": "1", "y": 1})).await, "y", "unknown_field");
    for token in ["", "x", "avt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        assert_problem(&send(json!({"mfa_token": token, "code": "123456"})).await, 401, "invalid_token");
    }
    let foreign = api.request(Method::POST, "/auth/mfa/verify").header("origin", "https://evil.example");
    let foreign = foreign.json(&json!({"mfa_token": "x", "code": "1"}));
    assert_problem(&super::fixture::send(foreign).await, 403, "csrf_failed");
}

#[tokio::test]
async fn a_browser_signs_in_by_the_transport_that_it_began_with() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    let body = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
    let token = mfa_token(&post(api, "/auth/login", "", body).await);
    let verified = verify(api, &token, &authenticator.next_code()).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    assert_eq!(members(&verified.json), ["csrf_token", "session", "user"]);
    let value = |name| set_cookie(&verified, name).expect("a cookie").0;
    let browser = Browser { api: api.clone(), session: value("authv2"), csrf: value("authv2_csrf") };
    let me = browser.get("/auth/me").await;
    assert_eq!(auth_of(&me), json!({"amr": ["pwd", "otp", "mfa"], "acr": "aal2"}));
}

#[tokio::test]
async fn a_sign_in_ends_in_the_tenant_that_it_began_in() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let mut authenticator = Authenticator::enrol(api, &acme.owner.tokens.access).await;
    let begun = sign_in_to(api, &acme.owner.email, PASSWORD, json!({"organization": "acme"})).await;
    let tokens = Tokens::of(&verify(api, &mfa_token(&begun), &authenticator.next_code()).await);
    assert_eq!(claims_of(&tokens.access)["org"], json!(acme.id));
    let elsewhere = sign_in_to(api, &acme.owner.email, PASSWORD, json!({"organization": "nobodys"})).await;
    assert_problem(&elsewhere, 403, "not_a_member");
}

#[tokio::test]
async fn a_sign_in_does_not_go_on_in_an_organization_that_its_user_has_left() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    acme.role("guest", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held("guest")])).await;
    let mut authenticator = Authenticator::enrol(api, &bob.tokens.access).await;
    let begun = sign_in_to(api, &bob.email, PASSWORD, json!({"organization": "acme"})).await;
    let removed = acme.owner.delete(&acme.path(&format!("/members/{}", bob.id))).await;
    assert_eq!(removed.status, 204, "{}", removed.text);
    let code = authenticator.recovery_code();
    assert_problem(&verify_recovery(api, &mfa_token(&begun), &code).await, 403, "not_a_member");
    // Nothing was used up for it.
    let nowhere = begin(api, &bob.email).await;
    assert_eq!(verify_recovery(api, &nowhere, &code).await.status, 200);
}

#[tokio::test]
async fn a_bound_sign_in_is_completed_by_its_key_alone() {
    let deployment = start(quick()).await;
    let (api, base, key) = (&deployment.api, deployment.server.url(), new_key());
    let (mut authenticator, _) = sign_up_with_mfa(api, ADA).await;
    let begin_with = async || {
        let request = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
        mfa_token(&send(request.header("dpop", proof(&key, "POST", &format!("{base}/auth/login"), None))).await)
    };
    let bound = begin_with().await;
    let code = authenticator.recovery_code();
    let body = |token: &str| json!({"mfa_token": token, "recovery_code": code});
    let url = format!("{base}/auth/mfa/verify");
    let request = |token: &str| api.request(Method::POST, "/auth/mfa/verify").json(&body(token));
    assert_problem(&send(request(&bound)).await, 401, "invalid_dpop_proof");
    let other = send(request(&bound).header("dpop", proof(&new_key(), "POST", &url, None))).await;
    assert_problem(&other, 401, "invalid_dpop_proof");
    let unbound = begin(api, ADA).await;
    let surplus = send(request(&unbound).header("dpop", proof(&key, "POST", &url, None))).await;
    assert_problem(&surplus, 401, "invalid_dpop_proof");
    let verified = send(request(&bound).header("dpop", proof(&key, "POST", &url, None))).await;
    assert_eq!((verified.status, verified.string("/token_type")), (200, "DPoP"), "{}", verified.text);
    let tokens = Tokens::of(&verified);
    assert_eq!(claims_of(&tokens.access)["cnf"], json!({"jkt": key.thumbprint()}));
    assert_eq!(send(dpop(api, &key, Method::GET, base, "/auth/me", &tokens.access)).await.status, 200);
    assert!(!is_live(api, &tokens.access).await);
    // A proof is used once: the one that the sign-in began with, too.
    let again = proof(&key, "POST", &format!("{base}/auth/login"), None);
    for status in [403, 401] {
        let login = api.request(Method::POST, "/auth/login").json(&json!({"email": ADA, "password": PASSWORD}));
        assert_eq!(send(login.header("dpop", &again)).await.status, status);
    }
}
