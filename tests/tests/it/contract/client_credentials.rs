//! API keys as OAuth clients: tokens that are good for what the key may do, narrowed, and no longer than the key is.

use authv2_tests::{
    client::{Answer, Api},
    postgres::Postgres,
};
use serde_json::json;

use super::{
    dpop_client::claims_of,
    fixture::{Store, assert_problem, eventually, get, members, on_each_store, quick, send, sign_in},
    key_quotas::{Minted, key},
    oauth::{REVOKE, TOKEN, assert_refused, form},
    tenancy::{Organization, deploy},
};

on_each_store!(
    a_token_is_good_for_what_its_key_may_do,
    a_scope_narrows_and_never_widens,
    a_token_dies_with_its_key,
    limits_of_the_key_are_those_of_its_tokens,
    a_token_is_revoked_alone_and_by_its_client_alone,
);

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// Asks for a token, authenticating in the form.
pub(super) async fn ask(api: &Api, key: &Minted, more: &[(&str, &str)]) -> Answer {
    let own = [GRANT, ("client_id", key.id.as_str()), ("client_secret", key.secret.as_str())];
    send(form(api, TOKEN, &[&own[..], more].concat())).await
}

pub(super) async fn token(api: &Api, key: &Minted, more: &[(&str, &str)]) -> String {
    let answer = ask(api, key, more).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.string("/access_token").to_owned()
}

async fn may(api: &Api, token: &str, permission: &str) -> bool {
    let answer = api.post("/auth/permissions/check", token, &json!({"permission": permission})).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json["allowed"] == true
}

async fn a_token_is_good_for_what_its_key_may_do(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let used = key(&acme, json!({"scopes": ["orders:*", "stock:read"], "expires_in": 60})).await;
    let by_form = ask(api, &used, &[]).await;
    let by_basic = send(form(api, TOKEN, &[GRANT]).basic_auth(&used.id, Some(&used.secret))).await;
    for answer in [&by_form, &by_basic] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(members(&answer.json), ["access_token", "expires_in", "scope", "token_type"]);
        assert_eq!((answer.string("/token_type"), answer.string("/scope")), ("Bearer", "orders:* stock:read"));
        assert!((55..=60).contains(&answer.json["expires_in"].as_u64().unwrap()), "no longer than its key");
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
    }
    let token = by_form.string("/access_token");
    let claims = claims_of(token);
    assert_eq!(members(&claims), ["aud", "client_id", "exp", "iat", "iss", "jti", "org", "scope", "sub"]);
    assert_eq!(
        (&claims["sub"], &claims["client_id"], &claims["org"]),
        (&json!(used.id), &json!(used.id), &json!(acme.id))
    );
    assert_ne!(claims["jti"], claims_of(by_basic.string("/access_token"))["jti"]);
    let private = get(api, "/private", token).await;
    assert_eq!(private.json, json!({"user_id": acme.owner.id, "organization": acme.id, "method": "bearer"}));
    for (permission, is_allowed) in [("orders:refund", true), ("stock:read", true), ("stock:write", false)] {
        assert_eq!(may(api, token, permission).await, is_allowed, "{permission}");
    }
    // It is nobody in person.
    assert_problem(&get(api, "/auth/sessions", token).await, 403, "permission_denied");
}

async fn a_scope_narrows_and_never_widens(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let used = key(&acme, json!({"scopes": ["orders:*", "stock:read"]})).await;
    let narrow = token(api, &used, &[("scope", "orders:read")]).await;
    assert_eq!(claims_of(&narrow)["scope"], "orders:read");
    for (permission, is_allowed) in [("orders:read", true), ("orders:refund", false), ("stock:read", false)] {
        assert_eq!(may(api, &narrow, permission).await, is_allowed, "{permission}");
    }
    let refused = get(api, &acme.path("/members"), &narrow).await;
    assert_eq!((refused.status, refused.code()), (403, "insufficient_scope"), "{}", refused.text);
    for scope in
        ["*", "orders:read stock:*", "users:read", "openid", "orders:read  stock:read", " ", "orders:read,stock:read"]
    {
        assert_refused(&ask(api, &used, &[("scope", scope)]).await, 400, "invalid_scope");
    }
}

#[tokio::test]
async fn who_is_no_client_is_told_so() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let (used, other) = (key(&acme, json!({})).await, key(&acme, json!({})).await);
    let elsewhere = key(&acme, json!({"allowed_ips": ["192.0.2.0/24"]})).await;
    let other_end = if used.secret.ends_with('x') { 'y' } else { 'x' };
    let wrong = format!("{}{other_end}", &used.secret[..used.secret.len() - 1]);
    let bearer = sign_in(api, &acme.owner.email).await.access;
    for (id, secret) in [
        (used.id.as_str(), wrong.as_str()),
        (&used.id, &other.secret),
        (&other.id, &used.secret),
        ("authv2", &used.secret),
        (&used.id, "x"),
        (&used.id, &bearer),
        (&elsewhere.id, &elsewhere.secret),
    ] {
        let by_form = form(api, TOKEN, &[GRANT, ("client_id", id), ("client_secret", secret)]);
        assert_refused(&send(by_form).await, 401, "invalid_client");
        let by_basic = form(api, TOKEN, &[GRANT]).basic_auth(id, Some(secret));
        assert_refused(&send(by_basic).await, 401, "invalid_client");
    }
    let own = [GRANT, ("client_id", used.id.as_str())];
    assert_refused(&send(form(api, TOKEN, &own)).await, 401, "invalid_client");
    let both = [GRANT, ("client_secret", used.secret.as_str())];
    let both = form(api, TOKEN, &both).basic_auth(&used.id, Some(&used.secret));
    assert_refused(&send(both).await, 400, "invalid_request");
    // A key is a client of this grant alone.
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", "avr_x")];
    let refresh = form(api, TOKEN, &refresh).basic_auth(&used.id, Some(&used.secret));
    assert_refused(&send(refresh).await, 401, "invalid_client");
}

async fn a_token_dies_with_its_key(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let used = key(&acme, json!({})).await;
    let issued = token(api, &used, &[]).await;
    assert_eq!(get(api, "/private", &issued).await.status, 200);
    let rotated = acme.owner.post(&format!("{}/rotate", used.path), json!({})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    assert_eq!(get(api, "/private", &issued).await.status, 200, "it is the key's, whatever its secret is");
    assert_eq!(acme.owner.delete(&used.path).await.status, 204);
    assert_problem(&get(api, "/private", &issued).await, 401, "invalid_token");
    assert_refused(&ask(api, &used, &[]).await, 401, "invalid_client");
}

#[tokio::test]
async fn a_token_dies_with_its_key_on_the_other_node() {
    let database = Postgres::shared().fresh_database().await.unwrap();
    let servers = [(); 2].map(|()| quick().store(database.url()).start().unwrap());
    let [one, two] = servers.each_ref().map(|server| Api::new(server.url()).unwrap());
    let acme = Organization::found(&one, "acme", "ada").await;
    let used = key(&acme, json!({})).await;
    let issued = token(&one, &used, &[]).await;
    assert_eq!(get(&two, "/private", &issued).await.status, 200);
    assert_eq!(acme.owner.delete(&used.path).await.status, 204);
    assert_problem(&get(&one, "/private", &issued).await, 401, "invalid_token");
    eventually(async || get(&two, "/private", &issued).await.status == 401).await;
}

async fn limits_of_the_key_are_those_of_its_tokens(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let used = key(&acme, json!({"quota": {"requests": 4, "per": "day"}, "allowed_ips": ["127.0.0.1"]})).await;
    let issued = token(api, &used, &[]).await;
    let elsewhere = deployment.from(9, 9);
    assert_problem(&get(&elsewhere, "/private", &issued).await, 403, "permission_denied");
    for _ in 0..3 {
        assert_eq!(get(api, "/private", &issued).await.status, 200);
    }
    assert_problem(&get(api, "/private", &issued).await, 429, "quota_exceeded");
    let refused = ask(api, &used, &[]).await;
    assert_eq!((refused.status, refused.string("/error")), (429, "temporarily_unavailable"), "{}", refused.text);
    assert!(!refused.header("retry-after").is_empty());
}

async fn a_token_is_revoked_alone_and_by_its_client_alone(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let acme = Organization::found(api, "acme", "ada").await;
    let (used, other) = (key(&acme, json!({})).await, key(&acme, json!({})).await);
    let (issued, beside) = (token(api, &used, &[]).await, token(api, &used, &[]).await);
    let revoke = |by: Option<&Minted>| {
        let request = form(api, REVOKE, &[("token", issued.as_str())]);
        send(match by {
            Some(key) => request.basic_auth(&key.id, Some(&key.secret)),
            None => request,
        })
    };
    for by in [None, Some(&other)] {
        assert_refused(&revoke(by).await, 401, "invalid_client");
    }
    assert_eq!(get(api, "/private", &issued).await.status, 200);
    for _ in 0..2 {
        let answer = revoke(Some(&used)).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
        assert_problem(&get(api, "/private", &issued).await, 401, "invalid_token");
    }
    assert_eq!(get(api, "/private", &beside).await.status, 200);
    assert_eq!(get(api, "/private", &used.secret).await.status, 200);
}
