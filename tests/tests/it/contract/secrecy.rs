//! What is kept and what is logged tells no secret.

use std::fs;

use reqwest::Method;
use serde_json::json;

use super::fixture::{
    ADA, Browser, Deployment, PASSWORD, WRONG, get, login, post, quick, refresh, register, send, sign_in, start,
};

/// Uses everything that takes or gives a secret; all the secrets.
async fn secrets(deployment: &Deployment) -> Vec<String> {
    let api = &deployment.api;
    register(api, ADA).await;
    let (tokens, _) = (sign_in(api, ADA).await, login(api, ADA, WRONG).await);
    post(api, "/auth/orgs", &tokens.access, json!({"slug": "acme", "name": "Acme"})).await;
    let minted =
        post(api, "/auth/orgs/acme/api-keys", &tokens.access, json!({"name": "nightly", "scopes": ["*"]})).await;
    let key = minted.string("/secret");
    assert!(!key.is_empty(), "{}", minted.text);
    get(api, "/private", key).await;
    let (kept, last) = key.split_at(key.len() - 1);
    let mistyped = format!("{kept}{}", if last == "0" { "1" } else { "0" });
    get(api, "/private", &mistyped).await;
    let renewed = refresh(api, &tokens.refresh).await;
    let (browser, _) = Browser::sign_in(api, ADA).await;
    let new = "a brand new battery staple";
    let change = json!({"current_password": PASSWORD, "new_password": new});
    send(browser.page_request(Method::POST, "/auth/password/change").json(&change)).await;
    get(api, "/private", &tokens.access).await;
    get(api, "/private", "a-token-of-somebody-else").await;
    post(api, "/auth/refresh", "", json!({"refresh_token": "avr_of-somebody-else"})).await;
    send(api.request(Method::GET, "/private").header("x-api-key", "avk_of-somebody-else")).await;
    send(browser.page_request(Method::POST, "/auth/logout")).await;
    let given = [
        renewed.string("/access_token").to_owned(),
        renewed.string("/refresh_token").to_owned(),
        key.to_owned(),
        mistyped,
    ];
    let sent = [PASSWORD, WRONG, new, "of-somebody-else"].map(str::to_owned);
    given.into_iter().chain(sent).chain([tokens.access, tokens.refresh, browser.session, browser.csrf]).collect()
}

#[tokio::test]
async fn the_log_tells_no_secret_and_no_email() {
    let mut deployment = start(quick().with("RUST_LOG", "debug,authv2_core=trace,authv2_tower=trace")).await;
    let mut secrets = secrets(&deployment).await;
    secrets.push("ada@".to_owned());
    deployment.server.stop().unwrap();
    let log = deployment.server.stderr();
    assert!(log.contains("/auth/login"), "nothing was logged, which proves nothing");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn the_database_holds_no_secret_in_the_clear() {
    let mut deployment = start(quick()).await;
    let secrets = secrets(&deployment).await;
    deployment.server.stop().unwrap();
    let mut files = Vec::new();
    for entry in fs::read_dir(deployment.server.directory()).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("authv2.db") {
            files.extend(fs::read(entry.path()).unwrap());
        }
    }
    let holds = |text: &str| files.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(ADA), "the database was not read, which proves nothing");
    for secret in secrets {
        assert!(!holds(&secret), "{secret} is in the database");
    }
}
