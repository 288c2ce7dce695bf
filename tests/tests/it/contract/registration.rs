//! Registration where e-mails must be verified: whether an address is known, a mail alone tells.

use authv2_tests::server::Settings;
use serde_json::json;

use super::fixture::{
    ADA, Deployment, PASSWORD, Store, Tokens, WRONG, assert_problem, get, login, on_each_store, post, quick,
};

on_each_store!(
    answers_the_same_for_known_and_unknown_addresses,
    signs_nobody_in_before_the_email_is_verified,
    an_unverified_account_keeps_no_password_that_two_disagree_on,
);

const OTHER: &str = "another horse battery";

fn strict() -> Settings {
    quick().with("AUTHV2_REGISTRATION__REQUIRE_VERIFIED_EMAIL", "true")
}

async fn register(deployment: &Deployment, password: &str) {
    let body = json!({"email": ADA, "password": password, "display_name": "Ada"});
    let answer = post(&deployment.api, "/auth/register", "", body).await;
    assert_eq!((answer.status, &answer.json), (202, &json!({})), "{}", answer.text);
}

/// The token of the nth mail of a registration.
async fn nth_token(deployment: &Deployment, nth: usize) -> String {
    let mails = deployment.server.wait_for_mails(ADA, "registration", nth).await.unwrap();
    mails[nth - 1].token.clone()
}

async fn answers_the_same_for_known_and_unknown_addresses(store: Store) {
    let deployment = store.deploy(strict()).await;
    register(&deployment, PASSWORD).await;
    let token = nth_token(&deployment, 1).await;
    assert_eq!(post(&deployment.api, "/auth/email/verify", "", json!({"token": token})).await.status, 204);
    for (nth, password) in [(2, PASSWORD), (3, WRONG)] {
        register(&deployment, password).await;
        assert_eq!(nth_token(&deployment, nth).await, "", "there is nothing to verify");
        let mail = deployment.server.wait_for_mail(ADA, "registration").await.unwrap();
        assert_eq!(mail.subject, "Your e-mail address was used to register");
    }
    assert_eq!(login(&deployment.api, ADA, PASSWORD).await.status, 200, "nobody else changes the account");
    let invalid = json!({"email": ADA, "password": "short"});
    assert_problem(&post(&deployment.api, "/auth/register", "", invalid).await, 422, "validation_failed");
}

async fn signs_nobody_in_before_the_email_is_verified(store: Store) {
    let deployment = store.deploy(strict()).await;
    let api = &deployment.api;
    register(&deployment, PASSWORD).await;
    assert_problem(&login(api, ADA, PASSWORD).await, 403, "email_unverified");
    assert_problem(&login(api, ADA, WRONG).await, 401, "invalid_credentials");
    // Nor by a link: whoever asks for one is asked to verify first.
    assert_eq!(post(api, "/auth/login/link", "", json!({"email": ADA})).await.status, 202);
    let instead = nth_token(&deployment, 2).await;
    assert_problem(&post(api, "/auth/login/link/redeem", "", json!({"token": instead})).await, 401, "invalid_token");
    // The same person once more: the newer link works, the password stays.
    let first = nth_token(&deployment, 1).await;
    register(&deployment, PASSWORD).await;
    let second = nth_token(&deployment, 3).await;
    for older in [first, instead] {
        assert_problem(&post(api, "/auth/email/verify", "", json!({"token": older})).await, 401, "invalid_token");
    }
    assert_eq!(post(api, "/auth/email/verify", "", json!({"token": second})).await.status, 204);
    let tokens = Tokens::of(&login(api, ADA, PASSWORD).await);
    assert_eq!(get(api, "/auth/me", &tokens.access).await.json["user"]["display_name"], "Ada");
}

async fn an_unverified_account_keeps_no_password_that_two_disagree_on(store: Store) {
    let deployment = store.deploy(strict()).await;
    let api = &deployment.api;
    // Somebody registers what is not theirs; then its owner comes.
    register(&deployment, WRONG).await;
    let first = nth_token(&deployment, 1).await;
    register(&deployment, PASSWORD).await;
    let second = nth_token(&deployment, 2).await;
    assert_problem(&post(api, "/auth/email/verify", "", json!({"token": first})).await, 401, "invalid_token");
    assert_problem(&post(api, "/auth/email/verify", "", json!({"token": second})).await, 401, "invalid_token");
    for password in [WRONG, PASSWORD] {
        assert_problem(&login(api, ADA, password).await, 401, "invalid_credentials");
    }
    let reset = json!({"token": second, "new_password": OTHER});
    assert_eq!(post(api, "/auth/password/reset", "", reset).await.status, 204);
    let signed_in = login(api, ADA, OTHER).await;
    assert_eq!((signed_in.status, &signed_in.json["user"]["email_verified"]), (200, &json!(true)));
}

#[tokio::test]
async fn needs_somebody_to_send_the_mails() {
    let refused = strict().without_mails().start().map(|server| server.url().to_owned()).expect_err("it started");
    let refused = refused.to_string();
    assert!(refused.contains("registration.require_verified_email: set `mail.smtp.host`"), "{refused}");
}

#[tokio::test]
async fn the_first_administrator_needs_no_mail() {
    let settings = strict()
        .with("AUTHV2_BOOTSTRAP_ADMIN__EMAIL", "root@example.org")
        .with("AUTHV2_BOOTSTRAP_ADMIN__PASSWORD", PASSWORD);
    let deployment = Store::Sqlite.deploy(settings).await;
    let root = "root@example.org";
    let again = json!({"email": root, "password": WRONG});
    assert_eq!(post(&deployment.api, "/auth/register", "", again).await.status, 202);
    let mail = deployment.server.wait_for_mail(root, "registration").await.unwrap();
    assert_eq!(mail.token, "", "nobody takes its password");
    assert_eq!(login(&deployment.api, root, PASSWORD).await.status, 200);
}
