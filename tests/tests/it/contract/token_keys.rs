//! Signing keys as settings choose them: algorithms, a key from a file, the audience.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;

use super::{
    fixture::{ADA, get, is_live, quick, sign_up, start},
    token_claims::{SHARED_KEY, verified},
};

/// The example of RFC 8410 section 10.3, and its public half from section 10.1 as a JWK's `x`.
const ED25519_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
const ED25519_X: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE";

#[tokio::test]
async fn each_public_key_algorithm_can_be_chosen() {
    for (name, algorithm) in [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256)] {
        let deployment = start(quick().with("AUTHV2_TOKENS__ALG", name)).await;
        let tokens = sign_up(&deployment.api, ADA).await;
        assert!(is_live(&deployment.api, &tokens.access).await, "{name}");
        let (header, _) = verified(&deployment.api, &tokens.access, algorithm, deployment.server.url()).await;
        assert_eq!(header.alg, algorithm);
    }
}

#[tokio::test]
async fn a_shared_key_is_never_published() {
    let deployment = start(quick().with("AUTHV2_TOKENS__ALG", "HS256")).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    assert!(is_live(&deployment.api, &tokens.access).await);
    let jwks = get(&deployment.api, "/.well-known/jwks.json", "").await;
    assert_eq!(jwks.json, serde_json::json!({"keys": []}));
}

#[tokio::test]
async fn a_shared_key_comes_from_its_file() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), SHARED_KEY).unwrap();
    let settings = quick().with("AUTHV2_TOKENS__ALG", "HS256");
    let deployment = start(settings.with("AUTHV2_TOKENS__SIGNING_KEY_FILE", key.path().to_string_lossy())).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[deployment.server.url()]);
    let decoded = decode::<Value>(&tokens.access, &DecodingKey::from_secret(SHARED_KEY), &validation).unwrap();
    assert_eq!(decoded.claims["iss"], deployment.server.url());
}

#[tokio::test]
async fn the_first_key_of_a_fresh_store_comes_from_its_file() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), ED25519_PEM).unwrap();
    let settings = quick().with("AUTHV2_TOKENS__SIGNING_KEY_FILE", key.path().to_string_lossy());
    let mut deployment = start(settings).await;
    let jwks = get(&deployment.api, "/.well-known/jwks.json", "").await;
    assert_eq!(jwks.string("/keys/0/x"), ED25519_X, "{}", jwks.text);
    assert!(!jwks.text.contains("\"d\""), "{}", jwks.text);
    let tokens = sign_up(&deployment.api, ADA).await;
    verified(&deployment.api, &tokens.access, Algorithm::EdDSA, deployment.server.url()).await;

    // The store has its keys now: the file is not asked again.
    drop(key);
    deployment.server.restart().unwrap();
    let api = authv2_tests::client::Api::new(deployment.server.url()).unwrap();
    assert!(is_live(&api, &tokens.access).await);
}

#[tokio::test]
async fn the_audience_can_be_set() {
    let deployment = start(quick().with("AUTHV2_TOKENS__AUDIENCE", "https://api.example")).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    assert!(is_live(&deployment.api, &tokens.access).await);
    let (_, claims) = verified(&deployment.api, &tokens.access, Algorithm::EdDSA, "https://api.example").await;
    assert_eq!(claims["aud"], "https://api.example");
    assert_eq!(claims["iss"], deployment.server.url());
}

#[tokio::test]
async fn the_issuer_can_be_set() {
    let deployment = start(quick().with("AUTHV2_ISSUER", "https://auth.example/tenant")).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let (_, claims) = verified(&deployment.api, &tokens.access, Algorithm::EdDSA, "https://auth.example/tenant").await;
    assert_eq!(claims["iss"], "https://auth.example/tenant");
}
