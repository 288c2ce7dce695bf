//! What a deployment says of itself: keys, OAuth metadata, OpenAPI, health.

use authv2_tests::postgres::Postgres;
use serde_json::json;

use super::fixture::{ADA, PASSWORD, assert_problem, get, login, members, quick, sign_up, start};

#[tokio::test]
async fn the_key_set_holds_public_halves_only() {
    let deployment = start(quick()).await;
    let jwks = get(&deployment.api, "/.well-known/jwks.json", "").await;
    assert_eq!(jwks.status, 200);
    assert!(["application/json", "application/jwk-set+json"].contains(&jwks.header("content-type")));
    assert_eq!(members(&jwks.json), ["keys"]);
    let keys = jwks.json["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(members(&keys[0]), ["alg", "crv", "kid", "kty", "use", "x"]);
    assert_eq!((&keys[0]["kty"], &keys[0]["use"]), (&json!("OKP"), &json!("sig")));
}

#[tokio::test]
async fn the_key_stays_the_same() {
    let mut deployment = start(quick()).await;
    let before = get(&deployment.api, "/.well-known/jwks.json", "").await;
    deployment.server.restart().unwrap();
    let api = authv2_tests::client::Api::new(deployment.server.url()).unwrap();
    assert_eq!(get(&api, "/.well-known/jwks.json", "").await.json, before.json);
}

#[tokio::test]
async fn oauth_clients_find_the_issuer_and_its_keys() {
    let deployment = start(quick().with("AUTHV2_ISSUER", "https://auth.example")).await;
    let metadata = get(&deployment.api, "/.well-known/oauth-authorization-server", "").await;
    assert_eq!(metadata.status, 200);
    assert_eq!(metadata.header("content-type"), "application/json");
    assert_eq!(metadata.string("/issuer"), "https://auth.example");
    assert_eq!(metadata.string("/jwks_uri"), "https://auth.example/.well-known/jwks.json");
    // RFC 8414 section 2 wants it, empty or not.
    assert!(metadata.json["response_types_supported"].is_array());
}

#[tokio::test]
async fn openapi_describes_each_call_and_its_refusals() {
    let deployment = start(quick()).await;
    let document = get(&deployment.api, "/openapi.json", "").await.json;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, method, status) in [
        ("/auth/register", "post", "201"),
        ("/auth/login", "post", "429"),
        ("/auth/refresh", "post", "401"),
        ("/auth/me", "patch", "422"),
        ("/auth/me", "delete", "403"),
        ("/auth/sessions/{id}", "delete", "404"),
        ("/health/ready", "get", "503"),
    ] {
        assert!(document["paths"][path][method]["responses"][status].is_object(), "{method} {path} {status}");
    }
}

#[tokio::test]
async fn says_that_it_lives_and_what_it_is_ready_with() {
    let deployment = start(quick()).await;
    assert_eq!(get(&deployment.api, "/health/live", "").await.status, 200);
    let ready = get(&deployment.api, "/health/ready", "").await;
    assert_eq!(ready.status, 200, "{}", ready.text);
    assert_eq!(members(&ready.json), ["components", "status"]);
    for component in ["store", "signing_keys", "password_hasher"] {
        assert!(ready.json["components"][component]["status"].is_string(), "{component} in {}", ready.text);
    }
}

#[tokio::test]
async fn a_database_that_goes_away_is_an_outage_and_no_denial() {
    let test = "a_database_that_goes_away_is_an_outage_and_no_denial";
    let Some(postgres) = Postgres::start_own_or_skip(test).unwrap() else { return };
    let database = postgres.fresh_database().await.unwrap();
    let deployment = start(quick().store(database.url()).with("AUTHV2_STORE__ACQUIRE_TIMEOUT", "1")).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    drop((database, postgres));
    let (private, login, ready) = tokio::join!(
        get(&deployment.api, "/private", &tokens.access),
        login(&deployment.api, ADA, PASSWORD),
        get(&deployment.api, "/health/ready", ""),
    );
    for answer in [private, login] {
        assert_problem(&answer, 503, "unavailable");
        assert!(!answer.header("retry-after").is_empty());
    }
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert_eq!(get(&deployment.api, "/health/live", "").await.status, 200);
}
