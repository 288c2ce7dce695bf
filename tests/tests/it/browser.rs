//! A person clicks through the quickstart's page, with a second session beside it that is opened through the API.

use authv2_tests::{
    browser::Browser,
    client::Api,
    server::{Server, Settings},
};

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "an engine of difference";

/// The page with an account made on it and nobody signed in, or nothing where there is no browser.
async fn registered(test: &str) -> Option<(Server, Browser)> {
    let browser = Browser::start_or_skip(test).await.unwrap()?;
    let server = Settings::new().start().unwrap();
    browser.goto(&server.at("/")).await.unwrap();
    browser.fill("#register-name", "Ada").await.unwrap();
    browser.fill("#register-email", EMAIL).await.unwrap();
    browser.fill("#register-password", PASSWORD).await.unwrap();
    browser.click("#register-submit").await.unwrap();
    browser.until_text("#notice", |text| text.contains("registered")).await.unwrap();
    Some((server, browser))
}

async fn log_in(browser: &Browser, password: &str) {
    browser.fill("#login-email", EMAIL).await.unwrap();
    browser.fill("#login-password", password).await.unwrap();
    browser.click("#login-submit").await.unwrap();
}

async fn signed_in(test: &str) -> Option<(Server, Browser)> {
    let (server, browser) = registered(test).await?;
    log_in(&browser, PASSWORD).await;
    browser.until_text("#profile", |text| text.contains(EMAIL)).await.unwrap();
    Some((server, browser))
}

#[tokio::test]
async fn logs_in_and_shows_the_token_decoded() {
    let Some((_server, browser)) = signed_in("logs_in_and_shows_the_token_decoded").await else { return };
    let header = browser.text("#token-header").await.unwrap();
    assert!(header.contains("\"typ\": \"at+jwt\""), "{header}");
    let claims: serde_json::Value = serde_json::from_str(&browser.text("#token-claims").await.unwrap()).unwrap();
    for claim in ["iss", "aud", "sub", "exp", "iat", "jti", "client_id", "sid"] {
        assert!(!claims[claim].is_null(), "{claim} in {claims}");
    }
    assert_eq!(browser.text("[data-testid=profile-id]").await.unwrap(), claims["sub"].as_str().unwrap());
    assert_eq!(browser.text("[data-testid=profile-name]").await.unwrap(), "Ada");
    assert_eq!(browser.count("[data-testid=session-current]").await.unwrap(), 1);
    assert_eq!(browser.console().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn logs_out_another_session_whose_token_is_then_dead() {
    let Some((server, browser)) = signed_in("logs_out_another_session_whose_token_is_then_dead").await else { return };
    let api = Api::new(server.url()).unwrap();
    let other = api.login(EMAIL, PASSWORD).await.unwrap();
    let (token, id) = (other.string("/access_token"), other.string("/session/id"));
    assert_eq!(api.get("/auth/me", token).await.unwrap().status, 200);

    browser.click("#sessions-reload").await.unwrap();
    let row = format!("#sessions li[data-session-id='{id}']");
    browser.until_count(&row, 1).await.unwrap();
    browser.until_count("#sessions li", 2).await.unwrap();
    browser.click(&format!("{row} [data-testid=session-logout]")).await.unwrap();
    browser.until_count(&row, 0).await.unwrap();

    let refused = api.get("/auth/me", token).await.unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text);
    let refused = api.refresh(other.string("/refresh_token")).await.unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text);
    // The session that clicked lives on.
    browser.click("#refresh-button").await.unwrap();
    browser.until_text("#notice", |text| text.contains("new access token")).await.unwrap();
}

#[tokio::test]
async fn refreshes_into_another_token_of_the_same_session() {
    let Some((_server, browser)) = signed_in("refreshes_into_another_token_of_the_same_session").await else { return };
    let claims = async || {
        let text = browser.text("#token-claims").await.unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let before = claims().await;
    browser.click("#refresh-button").await.unwrap();
    browser.until_text("#notice", |text| text.contains("new access token")).await.unwrap();
    let after = claims().await;
    assert_ne!(before["jti"], after["jti"]);
    assert_eq!(before["sid"], after["sid"]);
    assert_eq!(browser.count("#sessions li").await.unwrap(), 1);
}

#[tokio::test]
async fn changes_the_password_and_ends_the_other_sessions() {
    let Some((server, browser)) = signed_in("changes_the_password_and_ends_the_other_sessions").await else { return };
    let api = Api::new(server.url()).unwrap();
    let other = api.login(EMAIL, PASSWORD).await.unwrap();
    browser.fill("#password-current", PASSWORD).await.unwrap();
    browser.fill("#password-new", "an analytical engine").await.unwrap();
    browser.click("#password-submit").await.unwrap();
    browser.until_text("#notice", |text| text.contains("changed")).await.unwrap();
    assert_eq!(api.get("/auth/me", other.string("/access_token")).await.unwrap().status, 401);
    assert_eq!(api.login(EMAIL, PASSWORD).await.unwrap().code(), "invalid_credentials");
    assert_eq!(api.login(EMAIL, "an analytical engine").await.unwrap().status, 200);
}

#[tokio::test]
async fn says_errors_in_words() {
    let Some((_server, browser)) = registered("says_errors_in_words").await else { return };
    log_in(&browser, "not the password").await;
    browser.until_count("#error[data-code=invalid_credentials]", 1).await.unwrap();
    assert!(!browser.text("#error").await.unwrap().is_empty());

    browser.fill("#register-email", "grace@example.org").await.unwrap();
    browser.fill("#register-password", "short").await.unwrap();
    browser.click("#register-submit").await.unwrap();
    let said = browser.until_text("#error", |text| text.contains("password")).await.unwrap();
    browser.until_count("#register-password[aria-invalid=true]", 1).await.unwrap();
    assert!(!said.contains("undefined"), "{said}");

    browser.fill("#register-email", EMAIL).await.unwrap();
    browser.fill("#register-password", PASSWORD).await.unwrap();
    browser.click("#register-submit").await.unwrap();
    browser.until_count("#error[data-code=email_taken]", 1).await.unwrap();
}

#[tokio::test]
async fn logs_out_here_and_everywhere() {
    let Some((server, browser)) = signed_in("logs_out_here_and_everywhere").await else { return };
    browser.click("#logout-button").await.unwrap();
    browser.until_text("#notice", |text| text.contains("logged out")).await.unwrap();
    assert_eq!(browser.run("return document.getElementById('signed-in').hidden", &[]).await.unwrap(), true);

    let api = Api::new(server.url()).unwrap();
    let other = api.login(EMAIL, PASSWORD).await.unwrap();
    log_in(&browser, PASSWORD).await;
    browser.click("#logout-all-button").await.unwrap();
    browser.until_text("#notice", |text| text.contains("everywhere: 2")).await.unwrap();
    assert_eq!(api.get("/auth/me", other.string("/access_token")).await.unwrap().status, 401);
}
