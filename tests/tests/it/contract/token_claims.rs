//! Access tokens: what is in them, verified by an independent library, and what is refused.

use authv2_tests::client::Api;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, dangerous::insecure_decode, decode, decode_header, encode,
    jwk::JwkSet,
};
use serde_json::{Value, json};

use super::{
    fixture::{
        ADA, Deployment, Store, assert_problem, get, is_live, login, members, on_each_store, post, quick, register,
        sign_in, sign_up, start,
    },
    tenancy::{NOBODY_ID, Organization},
};

on_each_store!(an_independent_library_verifies_our_tokens);

/// A key of 32 bytes that a test may know.
pub(crate) const SHARED_KEY: &[u8; 32] = b"a shared key of thirty-two bytes";

/// Verifies a token with what the server publishes; its header and claims.
pub(crate) async fn verified(api: &Api, token: &str, algorithm: Algorithm, audience: &str) -> (Header, Value) {
    let jwks = get(api, "/.well-known/jwks.json", "").await;
    let keys: JwkSet = serde_json::from_str(&jwks.text).unwrap();
    let header = decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).expect("the key is published");
    assert_eq!(key.common.key_algorithm.unwrap().to_string(), format!("{algorithm:?}"));
    let metadata = get(api, "/.well-known/oauth-authorization-server", "").await;
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[metadata.string("/issuer")]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let decoded = decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &validation).unwrap();
    (header, decoded.claims)
}

/// RFC 9068 section 2, with the contract's private claims.
async fn an_independent_library_verifies_our_tokens(store: Store) {
    let deployment = store.deploy(quick()).await;
    let api = &deployment.api;
    register(api, ADA).await;
    let answer = login(api, ADA, super::fixture::PASSWORD).await;
    let token = answer.string("/access_token");
    let issuer = get(api, "/.well-known/oauth-authorization-server", "").await.string("/issuer").to_owned();
    assert_eq!(issuer, deployment.server.url());
    let (header, claims) = verified(api, token, Algorithm::EdDSA, &issuer).await;
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(
        members(&claims),
        ["acr", "amr", "aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "sid", "sub"]
    );
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!(issuer)));
    assert_eq!((claims["sub"].as_str().unwrap(), &claims["client_id"]), (answer.string("/user/id"), &json!("authv2")));
    assert_eq!(claims["sid"], answer.json["session"]["id"]);
    assert_eq!(claims["amr"], json!(["pwd"]));
    let seconds = |name: &str| claims[name].as_i64().unwrap();
    assert_eq!(seconds("exp") - seconds("iat"), 600);
    assert!((seconds("auth_time") - seconds("iat")).abs() <= 1);
    assert!(claims["jti"].as_str().unwrap().len() >= 16);
    let renewed = super::fixture::refresh(api, answer.string("/refresh_token")).await;
    let (_, next) = verified(api, renewed.string("/access_token"), Algorithm::EdDSA, &issuer).await;
    assert_ne!(next["jti"], claims["jti"]);
    assert_eq!((&next["sid"], &next["auth_time"]), (&claims["sid"], &claims["auth_time"]), "a refresh is no sign-in");
}

#[tokio::test]
async fn a_token_that_was_touched_is_refused() {
    let deployment = start(quick()).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let parts: Vec<&str> = tokens.access.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{}", tokens.access) };
    let (middle, last) = (claims.len() / 2, if signature.starts_with('A') { "B" } else { "A" });
    let flipped = if claims[middle..].starts_with('A') { "B" } else { "A" };
    let touched = format!("{}{flipped}{}", &claims[..middle], &claims[middle + 1..]);
    // {"alg":"none","typ":"at+jwt"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0";
    for token in [
        format!("{header}.{touched}.{signature}"),
        format!("{header}.{claims}.{last}{}", &signature[1..]),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.x"),
        format!("{header}.{claims}.{signature}="),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        ".".to_owned(),
        "..".to_owned(),
    ] {
        assert_problem(&get(&deployment.api, "/private", &token).await, 401, "invalid_token");
    }
    assert!(is_live(&deployment.api, &tokens.access).await);
}

#[tokio::test]
async fn an_expired_token_is_refused_at_once() {
    let deployment = start(quick().with("AUTHV2_TOKENS__ACCESS_TTL", "2")).await;
    register(&deployment.api, ADA).await;
    let answer = login(&deployment.api, ADA, super::fixture::PASSWORD).await;
    assert_eq!(answer.json["expires_in"], 2);
    let token = answer.string("/access_token");
    assert!(is_live(&deployment.api, token).await);
    tokio::time::sleep(std::time::Duration::from_millis(2050)).await;
    assert_problem(&get(&deployment.api, "/private", token).await, 401, "invalid_token");
}

#[tokio::test]
async fn a_token_of_another_deployment_is_refused() {
    let settings = || quick().with("AUTHV2_ISSUER", "https://auth.example");
    let (one, other) = (start(settings()).await, start(settings()).await);
    let tokens = sign_up(&one.api, ADA).await;
    register(&other.api, ADA).await;
    assert_problem(&get(&other.api, "/private", &tokens.access).await, 401, "invalid_token");
}

/// A deployment whose signing key the test knows, and a good token of it taken apart.
pub(crate) async fn forgeable() -> (Deployment, Header, Value) {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), SHARED_KEY).unwrap();
    let settings = quick().with("AUTHV2_TOKENS__ALG", "HS256");
    let deployment = start(settings.with("AUTHV2_TOKENS__SIGNING_KEY_FILE", key.path().to_string_lossy())).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let good = insecure_decode::<Value>(&tokens.access).unwrap();
    (deployment, good.header, good.claims)
}

pub(crate) fn sign(header: &Header, claims: &Value) -> String {
    encode(header, claims, &EncodingKey::from_secret(SHARED_KEY)).unwrap()
}

#[tokio::test]
async fn a_well_signed_token_without_what_it_must_say_is_refused() {
    let (deployment, header, claims) = forgeable().await;
    assert!(is_live(&deployment.api, &sign(&header, &claims)).await, "what follows would prove nothing");
    let now = claims["iat"].as_i64().unwrap();
    for name in ["iss", "aud", "sub", "exp", "iat", "jti", "client_id", "sid"] {
        let mut lacking = claims.clone();
        lacking.as_object_mut().unwrap().remove(name);
        let answer = get(&deployment.api, "/private", &sign(&header, &lacking)).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "without {name}");
    }
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("iss", json!("")),
        ("aud", json!("https://other.example")),
        ("aud", json!([])),
        ("sub", json!("0198c0de-0000-7000-8000-000000000000")),
        ("sid", json!("0198c0de-0000-7000-8000-000000000000")),
        ("exp", json!(now - 1)),
        ("exp", json!("tomorrow")),
        ("iat", json!(now + 60)),
        ("nbf", json!(now + 60)),
        ("org", json!("acme")),
        ("store", json!("north")),
    ] {
        let mut wrong = claims.clone();
        wrong[name] = value.clone();
        let answer = get(&deployment.api, "/private", &sign(&header, &wrong)).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{name} = {value}");
    }
    let mut leeway = claims.clone();
    (leeway["iat"], leeway["nbf"]) = (json!(now + 20), json!(now + 20));
    assert!(is_live(&deployment.api, &sign(&header, &leeway)).await, "clocks may differ by the leeway");
}

/// Rights are resolved at the time of the check: where the caller is no member, the claim alone gives none.
#[tokio::test]
async fn an_organization_in_a_token_gives_nothing_by_itself() {
    let (deployment, header, claims) = forgeable().await;
    let globex = Organization::found(&deployment.api, "globex", "bob").await;
    for organization in [&*globex.id, NOBODY_ID] {
        let mut moved = claims.clone();
        moved["org"] = json!(organization);
        let token = sign(&header, &moved);
        assert_eq!(get(&deployment.api, "/private", &token).await.status, 200);
        let check = post(&deployment.api, "/auth/permissions/check", &token, json!({"permission": "a:b"})).await;
        assert_eq!(check.json, json!({"allowed": false}), "{}", check.text);
        assert_problem(&get(&deployment.api, "/orders/7", &token).await, 403, "permission_denied");
        let me = get(&deployment.api, "/auth/me", &token).await;
        assert_eq!(members(&me.json), ["auth", "permissions", "roles", "session", "user"], "{}", me.text);
        assert_eq!((&me.json["roles"], &me.json["permissions"]), (&json!([]), &json!([])));
        for path in ["", "/members", "/roles", "/stores"] {
            assert_problem(&get(&deployment.api, &globex.path(path), &token).await, 404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_tenant_that_the_user_does_not_belong_to_is_none() {
    let (deployment, header, mut claims) = forgeable().await;
    claims["org"] = json!("0198c0de-0000-7000-8000-000000000000");
    let answer = get(&deployment.api, "/private", &sign(&header, &claims)).await;
    assert_eq!((answer.status, &answer.json["organization"]), (200, &Value::Null), "{}", answer.text);
    // Bound to a store it would act nowhere.
    claims["store"] = json!("0198c0de-0000-7000-8000-000000000001");
    let answer = get(&deployment.api, "/private", &sign(&header, &claims)).await;
    assert_problem(&answer, 401, "invalid_token");
}

#[tokio::test]
async fn the_tokens_header_decides_nothing() {
    let (deployment, header, claims) = forgeable().await;
    for wrong in [
        Header { typ: Some("JWT".to_owned()), ..header.clone() },
        Header { typ: None, ..header.clone() },
        Header { alg: Algorithm::HS512, ..header.clone() },
        Header { alg: Algorithm::HS384, ..header.clone() },
        Header { kid: Some("another".to_owned()), ..header.clone() },
        Header { kid: None, ..header.clone() },
    ] {
        assert_problem(&get(&deployment.api, "/private", &sign(&wrong, &claims)).await, 401, "invalid_token");
    }
    let foreign = encode(&header, &claims, &EncodingKey::from_secret(b"another key of thirty-two bytes.")).unwrap();
    assert_problem(&get(&deployment.api, "/private", &foreign).await, 401, "invalid_token");
}

#[tokio::test]
async fn a_public_key_is_no_shared_one() {
    let deployment = start(quick().with("AUTHV2_TOKENS__ALG", "RS256")).await;
    let tokens = sign_up(&deployment.api, ADA).await;
    let good = insecure_decode::<Value>(&tokens.access).unwrap();
    let jwks = get(&deployment.api, "/.well-known/jwks.json", "").await;
    // Whoever trusted the token's `alg` would take what everybody can read for the key.
    let header = Header { alg: Algorithm::HS256, ..good.header };
    for public in [jwks.text.as_str(), jwks.string("/keys/0/n")] {
        let forged = encode(&header, &good.claims, &EncodingKey::from_secret(public.as_bytes())).unwrap();
        assert_problem(&get(&deployment.api, "/private", &forged).await, 401, "invalid_token");
    }
    assert!(is_live(&deployment.api, &sign_in(&deployment.api, ADA).await.access).await);
}
