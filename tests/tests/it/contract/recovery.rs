//! What only the owner of a mailbox can do: verify an e-mail, reset a password, sign in by a link; and the notices.

use authv2_tests::{mail::Mail, server::Server};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    dpop_client::{new_key, proof},
    fixture::{
        ADA, Browser, Deployment, PASSWORD, Store, Tokens, WRONG, assert_invalid, assert_problem, get, is_live, login,
        on_each_store, post, quick, refresh, register, send, set_cookie, sign_in, sign_up, start,
    },
};

on_each_store!(
    a_forgotten_password_is_reset_once,
    a_weak_password_leaves_the_link_good,
    a_newer_link_or_another_password_kills_the_older_one,
    an_email_is_verified_once,
    a_link_signs_in_once,
    of_parallel_uses_of_a_link_one_wins,
    changes_are_told_by_mail,
);

const NEW: &str = "another horse battery";
const NOBODY: &str = "nobody@example.org";

async fn wait_for(server: &Server, email: &str, kind: &str) -> Mail {
    server.wait_for_mail(email, kind).await.unwrap()
}

async fn forgot(deployment: &Deployment, email: &str) {
    let answer = post(&deployment.api, "/auth/password/forgot", "", json!({"email": email})).await;
    assert_eq!((answer.status, &answer.json), (202, &json!({})), "{}", answer.text);
}

/// Asks for a link to set another password; its token.
async fn reset_token(deployment: &Deployment, email: &str, nth: usize) -> String {
    forgot(deployment, email).await;
    let mails = deployment.server.wait_for_mails(email, "reset_password", nth).await.unwrap();
    mails.last().unwrap().token.clone()
}

async fn sign_in_token(deployment: &Deployment, email: &str) -> String {
    let answer = post(&deployment.api, "/auth/login/link", "", json!({"email": email})).await;
    assert_eq!((answer.status, &answer.json), (202, &json!({})), "{}", answer.text);
    wait_for(&deployment.server, email, "sign_in_link").await.token
}

fn resetting(token: &str, password: &str) -> Value {
    json!({"token": token, "new_password": password})
}

async fn a_forgotten_password_is_reset_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    // Asked for before ADA's: had it gone anywhere, it would be there first.
    forgot(&deployment, NOBODY).await;
    forgot(&deployment, "no address at all").await;
    forgot(&deployment, "Ada@Example.ORG").await;
    // To the address of the account, as it was written there.
    let mail = wait_for(&deployment.server, ADA, "reset_password").await;
    assert!(mail.text.contains(&format!("/#reset_password={}", mail.token)), "{}", mail.text);
    assert!(deployment.server.mails_to(NOBODY).is_empty());

    let answer = post(api, "/auth/password/reset", "", resetting(&mail.token, NEW)).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    assert!(!is_live(api, &tokens.access).await);
    assert_problem(&refresh(api, &tokens.refresh).await, 401, "invalid_refresh_token");
    assert_problem(&login(api, ADA, PASSWORD).await, 401, "invalid_credentials");
    let signed_in = login(api, ADA, NEW).await;
    assert_eq!(signed_in.json["user"]["email_verified"], true, "whoever follows a link reads the mailbox");
    let again = post(api, "/auth/password/reset", "", resetting(&mail.token, WRONG)).await;
    assert_problem(&again, 401, "invalid_token");
    assert!(again.header("www-authenticate").contains("error=\"invalid_token\""));
    let made_up = format!("avm_{}", "x".repeat(43));
    assert_problem(&post(api, "/auth/password/reset", "", resetting(&made_up, NEW)).await, 401, "invalid_token");
}

async fn a_weak_password_leaves_the_link_good(store: Store) {
    let deployment = store.deploy(quick()).await;
    register(&deployment.api, ADA).await;
    let token = reset_token(&deployment, ADA, 1).await;
    for (weak, code) in [("short", "too_short"), ("password1", "common"), ("ada@example.org", "contextual")] {
        let answer = post(&deployment.api, "/auth/password/reset", "", resetting(&token, weak)).await;
        assert_problem(&answer, 422, "validation_failed");
        assert_eq!(answer.string("/errors/0/field"), "new_password", "{weak} {code}: {}", answer.text);
    }
    assert_invalid(
        &post(&deployment.api, "/auth/password/reset", "", json!({"new_password": NEW})).await,
        "token",
        "required",
    );
    assert_eq!(post(&deployment.api, "/auth/password/reset", "", resetting(&token, NEW)).await.status, 204);
}

async fn a_newer_link_or_another_password_kills_the_older_one(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let first = reset_token(&deployment, ADA, 1).await;
    let second = reset_token(&deployment, ADA, 2).await;
    assert_problem(&post(api, "/auth/password/reset", "", resetting(&first, NEW)).await, 401, "invalid_token");
    let link = sign_in_token(&deployment, ADA).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    assert_eq!(post(api, "/auth/password/change", &tokens.access, change).await.status, 204);
    assert_problem(&post(api, "/auth/password/reset", "", resetting(&second, WRONG)).await, 401, "invalid_token");
    assert_problem(&post(api, "/auth/login/link/redeem", "", json!({"token": link})).await, 401, "invalid_token");
    assert_eq!(login(api, ADA, NEW).await.status, 200);
}

async fn an_email_is_verified_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let verified = async || get(api, "/auth/me", &tokens.access).await.json["user"]["email_verified"].clone();
    let first = wait_for(&deployment.server, ADA, "verify_email").await;
    assert_eq!(verified().await, false);
    assert_problem(&post(api, "/auth/email/verification", "", json!({})).await, 401, "unauthenticated");
    assert_eq!(post(api, "/auth/email/verification", &tokens.access, json!({})).await.status, 202);
    let mails = deployment.server.wait_for_mails(ADA, "verify_email", 2).await.unwrap();
    let token = &mails[1].token;
    assert_problem(&post(api, "/auth/email/verify", "", json!({"token": first.token})).await, 401, "invalid_token");
    assert_eq!(post(api, "/auth/email/verify", "", json!({"token": token})).await.status, 204);
    assert_eq!(verified().await, true, "the session goes on, and knows");
    assert_problem(&post(api, "/auth/email/verify", "", json!({"token": token})).await, 401, "invalid_token");
    // Nothing is left to do: the mail that is asked for next is the next to come.
    assert_eq!(
        send(api.request(Method::POST, "/auth/email/verification").bearer_auth(&tokens.access)).await.status,
        202
    );
    reset_token(&deployment, ADA, 1).await;
    assert_eq!(deployment.server.mails_to(ADA).len(), 3);
}

async fn a_link_signs_in_once(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let verify = wait_for(&deployment.server, ADA, "verify_email").await.token;
    assert_eq!(post(api, "/auth/email/verify", "", json!({"token": verify})).await.status, 204);
    for _ in 0..10 {
        assert_eq!(login(api, ADA, WRONG).await.status, 401);
    }
    assert_problem(&login(api, ADA, PASSWORD).await, 429, "too_many_attempts");
    let token = sign_in_token(&deployment, ADA).await;
    let answer = post(api, "/auth/login/link/redeem", "", json!({"token": token})).await;
    let tokens = Tokens::of(&answer);
    assert_eq!(answer.json["user"]["email_verified"], true);
    assert_eq!(answer.json["session"]["auth_methods"], json!(["email"]));
    let me = get(api, "/auth/me", &tokens.access).await;
    assert_eq!((&me.json["auth"]["amr"], &me.json["auth"]["acr"]), (&json!(["email"]), &json!("aal1")));
    assert_eq!(refresh(api, &tokens.refresh).await.status, 200);
    assert_eq!(login(api, ADA, PASSWORD).await.status, 200, "a sign-in clears the count");
    assert_problem(&post(api, "/auth/login/link/redeem", "", json!({"token": token})).await, 401, "invalid_token");
    // A token of another purpose is nothing here.
    let reset = reset_token(&deployment, ADA, 1).await;
    assert_problem(&post(api, "/auth/login/link/redeem", "", json!({"token": reset})).await, 401, "invalid_token");
}

async fn of_parallel_uses_of_a_link_one_wins(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let (link, reset) = (sign_in_token(&deployment, ADA).await, reset_token(&deployment, ADA, 1).await);
    for (path, body, done) in [
        ("/auth/login/link/redeem", json!({"token": link}), 200),
        ("/auth/password/reset", resetting(&reset, NEW), 204),
    ] {
        let answers = futures_util::future::join_all((0..8).map(|_| post(api, path, "", body.clone()))).await;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == done);
        assert_eq!(won.len(), 1, "{path}: {answers:?}");
        lost.iter().for_each(|answer| assert_problem(answer, 401, "invalid_token"));
    }
}

async fn changes_are_told_by_mail(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    let tokens = sign_up(api, ADA).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    let changed = api.request(Method::POST, "/auth/password/change").bearer_auth(&tokens.access).json(&change);
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let changed = send(changed.header("user-agent", firefox).header("accept-language", "de-CH, en;q=0.5")).await;
    assert_eq!(changed.status, 204, "{}", changed.text);
    let notice = wait_for(&deployment.server, ADA, "password_changed").await;
    assert_eq!((notice.language.as_str(), notice.subject.as_str()), ("de", "Ihr Passwort wurde geändert"));
    assert!(notice.text.contains("Adresse: 127.0.0.1\nGerät: Firefox, Linux"), "{}", notice.text);
    assert_eq!(notice.token, "");
    let gone = api.call(Method::DELETE, "/auth/me", &tokens.access, Some(&json!({"password": NEW}))).await.unwrap();
    assert_eq!(gone.status, 204, "{}", gone.text);
    let notice = wait_for(&deployment.server, ADA, "account_deleted").await;
    assert_eq!(notice.language, "en");
    assert!(notice.html.contains("was removed"), "{}", notice.html);
}

#[tokio::test]
async fn a_link_opens_a_session_of_the_transport_and_the_key_asked_for() {
    let deployment = start(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let token = sign_in_token(&deployment, ADA).await;
    let wanted = json!({"token": token, "transport": "carrier pigeon"});
    assert_problem(&post(api, "/auth/login/link/redeem", "", wanted).await, 422, "validation_failed");
    let answer = post(api, "/auth/login/link/redeem", "", json!({"token": token, "transport": "cookie"})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json.get("access_token").is_none(), "{}", answer.text);
    let value = |name| set_cookie(&answer, name).expect("a cookie").0;
    let browser = Browser { api: api.clone(), session: value("authv2"), csrf: value("authv2_csrf") };
    assert_eq!(browser.get("/auth/me").await.status, 200);

    let (key, path) = (new_key(), "/auth/login/link/redeem");
    let answer = post(api, "/auth/login/link", "", json!({"email": ADA})).await;
    assert_eq!(answer.status, 202);
    let token = deployment.server.wait_for_mails(ADA, "sign_in_link", 2).await.unwrap()[1].token.clone();
    let request = api.request(Method::POST, path).json(&json!({"token": token}));
    let made = proof(&key, "POST", &deployment.server.at(path), None);
    let answer = send(request.header("dpop", made)).await;
    assert_eq!((answer.status, answer.string("/token_type")), (200, "DPoP"), "{}", answer.text);
}

#[tokio::test]
async fn foreign_pages_ask_for_nothing() {
    let deployment = start(quick()).await;
    for (path, body) in [
        ("/auth/password/forgot", json!({"email": ADA})),
        ("/auth/password/reset", resetting("avm_x", NEW)),
        ("/auth/email/verify", json!({"token": "avm_x"})),
        ("/auth/login/link", json!({"email": ADA})),
        ("/auth/login/link/redeem", json!({"token": "avm_x"})),
    ] {
        let request = deployment.api.request(Method::POST, path).header("origin", "https://evil.example");
        assert_problem(&send(request.json(&body)).await, 403, "csrf_failed");
        let missing = post(&deployment.api, path, "", json!({})).await;
        assert_problem(&missing, 422, "validation_failed");
        let unknown = post(&deployment.api, path, "", json!({"shoe_size": 42})).await;
        assert!(unknown.field_codes().any(|code| code == "unknown_field"), "{}", unknown.text);
    }
}

#[tokio::test]
async fn without_a_mailer_asking_is_answered_alike_and_nothing_waits() {
    let deployment = start(quick().without_mails()).await;
    sign_up(&deployment.api, ADA).await;
    forgot(&deployment, ADA).await;
    forgot(&deployment, NOBODY).await;
    assert!(deployment.server.stderr().contains("no mails are sent"));
    assert!(!sign_in(&deployment.api, ADA).await.access.is_empty());
}
