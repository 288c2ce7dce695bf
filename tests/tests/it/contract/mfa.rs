//! Enrolling a second factor, replacing its recovery codes, and removing it.

use reqwest::Method;
use serde_json::json;

use super::{
    fixture::{
        ADA, Browser, PASSWORD, Store, WRONG, assert_invalid, assert_problem, call, get, login, members, on_each_store,
        post, quick, send, sign_in, sign_up, start,
    },
    mfa_client::{
        Authenticator, begin, delete, recovery_codes, sign_in_with_code, sign_up_with_mfa, verify, verify_recovery,
    },
    tenancy::Organization,
};

on_each_store!(
    a_second_factor_is_enrolled_and_confirmed,
    a_second_factor_is_removed_with_its_codes,
    recovery_codes_are_replaced_all_at_once,
);

async fn a_second_factor_is_enrolled_and_confirmed(store: Store) {
    let deployment = store.deploy(quick().with("AUTHV2_MFA__ISSUER", "Acme & Co")).await;
    let api = &deployment.api;
    let ada = sign_up(api, ADA).await;
    let enrolled = post(api, "/auth/mfa/totp", &ada.access, json!({"password": PASSWORD})).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.text);
    assert_eq!(members(&enrolled.json), ["otpauth_uri", "qr_svg", "secret"]);
    assert_eq!(enrolled.header("cache-control"), "no-store");
    let secret = enrolled.string("/secret");
    assert_eq!((secret.len(), secret.trim_matches(|c| matches!(c, 'A'..='Z' | '2'..='7'))), (32, ""));
    assert_eq!(
        enrolled.string("/otpauth_uri"),
        format!(
            "otpauth://totp/Acme%20%26%20Co:ada%40example.org?secret={secret}&issuer=Acme%20%26%20Co\
             &algorithm=SHA1&digits=6&period=30"
        )
    );
    assert!(enrolled.string("/qr_svg").starts_with("<svg "), "{}", enrolled.text);

    // Nothing is asked of anybody before it is confirmed, and another one takes its place.
    sign_in(api, ADA).await;
    let again = post(api, "/auth/mfa/totp", &ada.access, json!({"password": PASSWORD})).await;
    assert_eq!(again.status, 201, "{}", again.text);
    assert_ne!(again.string("/secret"), secret);
    let mut first = Authenticator::of(secret);
    let mut authenticator = Authenticator::of(again.string("/secret"));
    for wrong in [first.next_code(), authenticator.wrong_code(), String::new()] {
        let refused = post(api, "/auth/mfa/totp/confirm", &ada.access, json!({"code": wrong})).await;
        assert_problem(&refused, 401, "invalid_code");
    }
    let code = authenticator.next_code();
    let (left, right) = code.split_at(3);
    let confirmed = post(api, "/auth/mfa/totp/confirm", &ada.access, json!({"code": format!("{left} {right}")})).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    let codes = recovery_codes(&confirmed);
    for code in &codes {
        let groups: Vec<usize> = code.split('-').map(str::len).collect();
        assert_eq!(groups, [4, 4, 4, 4], "{code}");
    }
    assert_eq!(codes.iter().collect::<std::collections::HashSet<_>>().len(), 10);

    let me = get(api, "/auth/me", &ada.access).await;
    assert_eq!(me.json["user"]["mfa_enabled"], true, "{}", me.text);
    assert_eq!((&me.json["auth"]["amr"], &me.json["auth"]["acr"]), (&json!(["pwd"]), &json!("aal1")));
    let more = post(api, "/auth/mfa/totp", &ada.access, json!({"password": PASSWORD})).await;
    assert_problem(&more, 409, "mfa_already_enabled");
    let code = authenticator.next_code();
    let confirmed = post(api, "/auth/mfa/totp/confirm", &ada.access, json!({"code": code})).await;
    assert_problem(&confirmed, 409, "mfa_already_enabled");
    sign_in_with_code(api, ADA, &code).await;
}

async fn a_second_factor_is_removed_with_its_codes(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    let waiting = begin(api, ADA).await;
    let wrong_code = authenticator.wrong_code();
    for (body, status, code) in [
        (json!({"password": WRONG, "code": authenticator.recovery_codes[0]}), 403, "wrong_password"),
        (json!({"password": PASSWORD, "code": wrong_code}), 401, "invalid_code"),
        (json!({"password": PASSWORD, "code": "aaaa-bbbb-cccc-dddd"}), 401, "invalid_code"),
    ] {
        assert_problem(&delete(api, "/auth/mfa/totp", &ada.access, body.clone()).await, status, code);
        assert_problem(&post(api, "/auth/mfa/totp/delete", &ada.access, body).await, status, code);
    }
    let body = json!({"password": PASSWORD, "code": authenticator.next_code()});
    assert_eq!(delete(api, "/auth/mfa/totp", &ada.access, body.clone()).await.status, 204);
    assert_problem(&delete(api, "/auth/mfa/totp", &ada.access, body).await, 404, "not_found");
    let late = verify_recovery(api, &waiting, &authenticator.recovery_code()).await;
    assert_problem(&late, 401, "invalid_token");
    assert_eq!(login(api, ADA, PASSWORD).await.json["user"]["mfa_enabled"], false);

    // Another one has codes of its own; a recovery code removes it as well.
    let mut another = Authenticator::enrol(api, &ada.access).await;
    let token = begin(api, ADA).await;
    let old = verify_recovery(api, &token, &authenticator.recovery_code()).await;
    assert_problem(&old, 401, "invalid_code");
    let body = json!({"password": PASSWORD, "code": another.recovery_code()});
    assert_eq!(post(api, "/auth/mfa/totp/delete", &ada.access, body).await.status, 204);
    sign_in(api, ADA).await;
}

async fn recovery_codes_are_replaced_all_at_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    let wrong = json!({"password": WRONG, "code": authenticator.recovery_codes[0]});
    assert_problem(&post(api, "/auth/mfa/recovery-codes", &ada.access, wrong).await, 403, "wrong_password");
    let wrong = json!({"password": PASSWORD, "code": authenticator.wrong_code()});
    assert_problem(&post(api, "/auth/mfa/recovery-codes", &ada.access, wrong).await, 401, "invalid_code");
    let used = authenticator.recovery_code();
    let replaced =
        post(api, "/auth/mfa/recovery-codes", &ada.access, json!({"password": PASSWORD, "code": used})).await;
    assert_eq!(replaced.status, 200, "{}", replaced.text);
    let new = recovery_codes(&replaced);
    let token = begin(api, ADA).await;
    for old in [&used, &authenticator.recovery_codes[0]] {
        assert_problem(&verify_recovery(api, &token, old).await, 401, "invalid_code");
    }
    // However it is typed, and in either field.
    let typed = new[0].to_uppercase().replace('-', " ");
    assert_eq!(verify(api, &token, &typed).await.status, 200);
    let token = begin(api, ADA).await;
    assert_problem(&verify_recovery(api, &token, &new[0]).await, 401, "invalid_code");
    assert_eq!(verify_recovery(api, &token, &new[1].replace('-', "")).await.status, 200);
}

#[tokio::test]
async fn is_named_after_the_issuers_host_where_nothing_else_is_set() {
    let deployment = start(quick().with("AUTHV2_ISSUER", "http://id.example.org:8080/t")).await;
    let ada = sign_up(&deployment.api, ADA).await;
    let enrolled = post(&deployment.api, "/auth/mfa/totp", &ada.access, json!({"password": PASSWORD})).await;
    let uri = enrolled.string("/otpauth_uri");
    assert!(uri.starts_with("otpauth://totp/id.example.org:ada%40example.org?"), "{uri}");
}

#[tokio::test]
async fn is_for_those_who_signed_in_here_and_know_the_password() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let access = &acme.owner.tokens.access;
    let minted = acme.owner.post(&acme.path("/api-keys"), json!({"name": "n", "scopes": ["orders:read"]})).await;
    let key = minted.string("/secret").to_owned();
    let calls = [
        ("/auth/mfa/totp", json!({"password": PASSWORD})),
        ("/auth/mfa/totp/confirm", json!({"code": "123456"})),
        ("/auth/mfa/totp/delete", json!({"password": PASSWORD, "code": "123456"})),
        ("/auth/mfa/recovery-codes", json!({"password": PASSWORD, "code": "123456"})),
        ("/auth/mfa/step-up", json!({"password": PASSWORD})),
    ];
    for (path, body) in &calls {
        assert_problem(&post(api, path, "", body.clone()).await, 401, "unauthenticated");
        assert_problem(&post(api, path, &key, body.clone()).await, 403, "permission_denied");
        let more = json!({"password": PASSWORD, "code": "1", "x": 1});
        assert_problem(&post(api, path, access, more).await, 422, "validation_failed");
    }
    assert_problem(&post(api, "/auth/mfa/totp", access, json!({"password": WRONG})).await, 403, "wrong_password");
    assert_invalid(&post(api, "/auth/mfa/totp", access, json!({})).await, "password", "required");
    assert_invalid(&post(api, "/auth/mfa/totp/confirm", access, json!({})).await, "code", "required");
    assert_problem(&post(api, "/auth/mfa/totp/confirm", access, json!({"code": "123456"})).await, 404, "not_found");
    for path in ["/auth/mfa/totp/delete", "/auth/mfa/recovery-codes"] {
        let body = json!({"password": PASSWORD, "code": "123456"});
        assert_problem(&post(api, path, access, body).await, 404, "not_found");
    }
    assert_problem(&call(api, Method::GET, "/auth/mfa/totp", access).await, 405, "method_not_allowed");
}

#[tokio::test]
async fn a_cookie_session_enrols_as_well() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    sign_up(api, ADA).await;
    let (browser, _) = Browser::sign_in(api, ADA).await;
    let forged = browser.request(Method::POST, "/auth/mfa/totp").json(&json!({"password": PASSWORD}));
    assert_problem(&send(forged).await, 403, "csrf_failed");
    let request = browser.page_request(Method::POST, "/auth/mfa/totp").json(&json!({"password": PASSWORD}));
    let enrolled = send(request).await;
    assert_eq!(enrolled.status, 201, "{}", enrolled.text);
    let mut authenticator = Authenticator::of(enrolled.string("/secret"));
    let body = json!({"code": authenticator.next_code()});
    let confirmed = send(browser.page_request(Method::POST, "/auth/mfa/totp/confirm").json(&body)).await;
    assert_eq!(recovery_codes(&confirmed).len(), 10);
}

#[tokio::test]
async fn wrong_codes_and_passwords_count_together() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    let (mut authenticator, ada) = sign_up_with_mfa(api, ADA).await;
    let wrong_code = authenticator.wrong_code();
    for round in 0..5 {
        let away = deployment.from(9, round + 1);
        let code = json!({"password": PASSWORD, "code": wrong_code});
        assert_problem(&post(&away, "/auth/mfa/totp/delete", &ada.access, code).await, 401, "invalid_code");
        let password = json!({"password": WRONG, "code": wrong_code});
        assert_problem(&post(&away, "/auth/mfa/recovery-codes", &ada.access, password).await, 403, "wrong_password");
    }
    let right = json!({"password": PASSWORD, "code": authenticator.recovery_code()});
    let refused = post(api, "/auth/mfa/totp/delete", &ada.access, right).await;
    assert_problem(&refused, 429, "too_many_attempts");
    let token = begin(api, ADA).await;
    assert_problem(&verify(api, &token, &authenticator.next_code()).await, 429, "too_many_attempts");
}
