//! A person clicks through what mails, second factors and known browsers are for, on the quickstart's page.

use authv2_tests::{
    browser::Browser,
    client::Api,
    server::{Server, Settings},
};
use reqwest::Method;
use serde_json::json;

use crate::contract::mfa_client::Authenticator;

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "an engine of difference";
const NEW_PASSWORD: &str = "an analytical engine";

/// The page on a server of its own, or nothing where there is no browser.
async fn open(test: &str, settings: Settings) -> Option<(Server, Browser)> {
    let browser = Browser::start_or_skip(test).await.unwrap()?;
    let server = settings.start().unwrap();
    browser.goto(&server.at("/")).await.unwrap();
    Some((server, browser))
}

async fn register(browser: &Browser) {
    browser.fill("#register-email", EMAIL).await.unwrap();
    browser.fill("#register-password", PASSWORD).await.unwrap();
    browser.click("#register-submit").await.unwrap();
}

async fn log_in(browser: &Browser, password: &str) {
    browser.fill("#login-email", EMAIL).await.unwrap();
    browser.fill("#login-password", password).await.unwrap();
    browser.click("#login-submit").await.unwrap();
}

async fn until_signed_in(browser: &Browser) {
    browser.until_text("#profile", |text| text.contains(EMAIL)).await.unwrap();
}

async fn until_told(browser: &Browser, words: &str) {
    browser.until_text("#notice", |text| text.contains(words)).await.unwrap();
}

async fn log_out(browser: &Browser) {
    browser.click("#logout-button").await.unwrap();
    until_told(browser, "logged out").await;
}

/// Opens the link in the newest mail of a kind, which has come.
async fn open_newest_link(server: &Server, browser: &Browser, kind: &str) {
    let subject = server.wait_for_mail(EMAIL, kind).await.unwrap().subject;
    browser.click("#inbox-reload").await.unwrap();
    browser.until_text("#mails li:first-child strong", |shown| shown == subject).await.unwrap();
    browser.click("#mails li:first-child [data-testid=mail-link]").await.unwrap();
}

/// Enrols an authenticator on the page, by somebody signed in.
async fn enrol(browser: &Browser) -> Authenticator {
    browser.fill("#enrol-password", PASSWORD).await.unwrap();
    browser.click("#enrol-submit").await.unwrap();
    let secret = browser.until_text("#secret", |text| !text.is_empty()).await.unwrap();
    // The picture is one: it has a size.
    let drawn = "return document.getElementById('qr').naturalWidth > 0";
    assert_eq!(browser.run(drawn, &[]).await.unwrap(), true);
    let mut authenticator = Authenticator::of(&secret);
    browser.fill("#confirm-code", &authenticator.next_code()).await.unwrap();
    browser.click("#confirm-submit").await.unwrap();
    until_told(browser, "takes a code").await;
    browser.until_count("#recovery-codes li", 10).await.unwrap();
    let codes = "return [...document.querySelectorAll('#recovery-codes li')].map((item) => item.textContent)";
    let codes = browser.run(codes, &[]).await.unwrap();
    authenticator.recovery_codes = serde_json::from_value(codes).unwrap();
    authenticator
}

#[tokio::test]
async fn registers_unseen_and_verifies_the_e_mail() {
    let settings = Settings::new().with("AUTHV2_REGISTRATION__REQUIRE_VERIFIED_EMAIL", "true");
    let Some((server, browser)) = open("registers_unseen_and_verifies_the_e_mail", settings).await else { return };
    register(&browser).await;
    until_told(&browser, "mail is on its way").await;
    log_in(&browser, PASSWORD).await;
    browser.until_count("#error[data-code=email_unverified]", 1).await.unwrap();
    open_newest_link(&server, &browser, "registration").await;
    until_told(&browser, "verified").await;
    let address = browser.run("return location.href", &[]).await.unwrap();
    assert_eq!(address, server.at("/").as_str(), "the token has left the address bar");
    log_in(&browser, PASSWORD).await;
    until_signed_in(&browser).await;
    assert!(!browser.text("[data-testid=profile-email]").await.unwrap().contains("not verified"));
}

#[tokio::test]
async fn resets_a_forgotten_password_and_signs_in_by_a_link() {
    let test = "resets_a_forgotten_password_and_signs_in_by_a_link";
    let Some((server, browser)) = open(test, Settings::new()).await else { return };
    register(&browser).await;
    until_told(&browser, "registered").await;
    browser.fill("#mailed-email", EMAIL).await.unwrap();
    browser.click("#forgot-submit").await.unwrap();
    until_told(&browser, "If there is an account").await;
    open_newest_link(&server, &browser, "reset_password").await;
    browser.until_text("#reset-title", |text| !text.is_empty()).await.unwrap();
    browser.fill("#reset-new", NEW_PASSWORD).await.unwrap();
    browser.click("#reset-submit").await.unwrap();
    until_told(&browser, "The password is set").await;
    log_in(&browser, PASSWORD).await;
    browser.until_count("#error[data-code=invalid_credentials]", 1).await.unwrap();
    log_in(&browser, NEW_PASSWORD).await;
    until_signed_in(&browser).await;
    log_out(&browser).await;

    browser.fill("#mailed-email", EMAIL).await.unwrap();
    browser.click("#link-button").await.unwrap();
    until_told(&browser, "If there is an account").await;
    open_newest_link(&server, &browser, "sign_in_link").await;
    until_signed_in(&browser).await;
    let method = browser.text("[data-testid=profile-method]").await.unwrap();
    assert!(method.contains("email"), "{method}");
}

#[tokio::test]
async fn enrols_an_authenticator_and_signs_in_with_it() {
    let test = "enrols_an_authenticator_and_signs_in_with_it";
    let Some((_server, browser)) = open(test, Settings::new()).await else { return };
    register(&browser).await;
    until_told(&browser, "registered").await;
    log_in(&browser, PASSWORD).await;
    until_signed_in(&browser).await;
    let mut authenticator = enrol(&browser).await;
    log_out(&browser).await;
    assert_eq!(browser.count("#recovery-codes li").await.unwrap(), 0, "the codes are shown once");

    log_in(&browser, PASSWORD).await;
    browser.until_text("#mfa-title", |text| !text.is_empty()).await.unwrap();
    browser.fill("#mfa-code", &authenticator.wrong_code()).await.unwrap();
    browser.click("#mfa-submit").await.unwrap();
    browser.until_count("#error[data-code=invalid_code]", 1).await.unwrap();
    browser.fill("#mfa-code", &authenticator.next_code()).await.unwrap();
    browser.click("#mfa-submit").await.unwrap();
    until_signed_in(&browser).await;
    let claims: serde_json::Value = serde_json::from_str(&browser.text("#token-claims").await.unwrap()).unwrap();
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("aal2"), &json!(["pwd", "otp", "mfa"])));

    browser.fill("#factor-password", PASSWORD).await.unwrap();
    browser.fill("#factor-code", &authenticator.recovery_code()).await.unwrap();
    browser.click("#codes-submit").await.unwrap();
    until_told(&browser, "worth nothing").await;
    browser.until_count("#recovery-codes li", 10).await.unwrap();
    let fresh = browser.text("#recovery-codes li").await.unwrap();
    browser.fill("#factor-password", PASSWORD).await.unwrap();
    browser.fill("#factor-code", &fresh).await.unwrap();
    browser.click("#remove-button").await.unwrap();
    until_told(&browser, "removed").await;
    log_out(&browser).await;
    log_in(&browser, PASSWORD).await;
    until_signed_in(&browser).await;
}

/// Bob's organization, in which whoever is a clerk reads orders with a second factor: Ada is one.
async fn hire(server: &Server) {
    let api = Api::new(server.url()).unwrap();
    api.register("bob@example.org", PASSWORD).await.unwrap();
    let bob = api.login("bob@example.org", PASSWORD).await.unwrap();
    let grants = json!([{"permission": "orders:read", "effect": "allow", "step_up": {"acr": "aal2"}}]);
    for (method, path, body) in [
        (Method::POST, "/auth/orgs", json!({"slug": "acme", "name": "Acme"})),
        (Method::PUT, "/auth/orgs/acme/roles/clerk", json!({"inherits": [], "grants": grants})),
        (Method::POST, "/auth/orgs/acme/members", json!({"email": EMAIL, "roles": [{"role": "clerk"}]})),
    ] {
        let answer = api.call(method, path, bob.string("/access_token"), Some(&body)).await.unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn steps_up_where_a_call_asks_for_it_and_makes_the_call_again() {
    let test = "steps_up_where_a_call_asks_for_it_and_makes_the_call_again";
    let Some((server, browser)) = open(test, Settings::new()).await else { return };
    register(&browser).await;
    until_told(&browser, "registered").await;
    hire(&server).await;
    log_in(&browser, PASSWORD).await;
    until_signed_in(&browser).await;
    let mut authenticator = enrol(&browser).await;
    browser.fill("#switch-organization", "acme").await.unwrap();
    browser.click("#switch-submit").await.unwrap();
    until_told(&browser, "acts in that organization").await;
    browser.fill("#try-path", "/orders/1").await.unwrap();
    browser.click("#try-submit").await.unwrap();
    browser.until_text("#step-up-why", |text| text.contains("second factor")).await.unwrap();
    browser.fill("#step-up-code", &authenticator.next_code()).await.unwrap();
    browser.click("#step-up-submit").await.unwrap();
    let answer = browser.until_text("#try-answer", |text| !text.is_empty()).await.unwrap();
    assert!(answer.contains("\"id\": \"1\"") || answer.contains("\"id\""), "{answer}");
    let claims: serde_json::Value = serde_json::from_str(&browser.text("#token-claims").await.unwrap()).unwrap();
    assert_eq!(claims["acr"], "aal2");
}

#[tokio::test]
async fn shows_the_browsers_one_is_known_on_and_forgets_them() {
    let test = "shows_the_browsers_one_is_known_on_and_forgets_them";
    let Some((_server, browser)) = open(test, Settings::new()).await else { return };
    register(&browser).await;
    until_told(&browser, "registered").await;
    let log_in_by_cookie = async || {
        browser.click("#login-cookie").await.unwrap();
        log_in(&browser, PASSWORD).await;
        until_signed_in(&browser).await;
    };
    log_in_by_cookie().await;
    browser.until_count("#devices li", 1).await.unwrap();
    browser.until_count("#devices [data-testid=device-current]", 1).await.unwrap();
    assert_eq!(browser.run("return document.getElementById('token').hidden", &[]).await.unwrap(), true);
    log_out(&browser).await;
    // Known again: it is the same one.
    log_in_by_cookie().await;
    browser.until_count("#devices li", 1).await.unwrap();
    browser.click("#devices [data-testid=device-forget]").await.unwrap();
    until_told(&browser, "forgotten").await;
    assert_eq!(browser.run("return document.getElementById('signed-in').hidden", &[]).await.unwrap(), true);
    log_in_by_cookie().await;
    browser.until_count("#devices li", 1).await.unwrap();
}

#[tokio::test]
async fn the_inbox_is_shown_to_this_machine_alone() {
    let server = Server::start().unwrap();
    let api = Api::new(server.url()).unwrap();
    api.register(EMAIL, PASSWORD).await.unwrap();
    server.wait_for_mail(EMAIL, "verify_email").await.unwrap();
    let ask = async |host: &str| {
        let response = api.request(Method::GET, "/inbox").header("host", host).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    for host in ["localhost", "localhost:1234", "127.0.0.1:80", "[::1]:80"] {
        let (status, text) = ask(host).await;
        assert_eq!(status, 200, "{host}");
        assert!(text.contains(EMAIL), "{text}");
    }
    for host in ["evil.example", "evil.example:80", "192.0.2.1", "localhost.evil.example"] {
        let (status, text) = ask(host).await;
        assert_eq!((status, text.as_str()), (403, ""), "{host}");
    }
    let exposed = Settings::new().with("AUTHV2_LISTEN", "0.0.0.0:0").start().unwrap();
    let port = exposed.url().rsplit(':').next().unwrap().to_owned();
    let api = Api::new(&format!("http://127.0.0.1:{port}")).unwrap();
    assert_eq!(api.get("/inbox", "").await.unwrap().status, 404);
    assert!(api.get("/", "").await.unwrap().text.contains("data-served=\"false\""));
}
