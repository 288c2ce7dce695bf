//! Token introspection: what a token stands for, for keys that may ask, of their own organization; signed where wanted.

use authv2_tests::client::{Answer, Api};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{
    client_credentials::token,
    dpop_client::claims_of,
    fixture::{Store, get, members, on_each_store, quick, send},
    key_quotas::{Minted, key},
    oauth::{assert_refused, form},
    tenancy::{Organization, Person, deploy},
};

on_each_store!(tells_what_a_token_stands_for_while_it_does, tells_nothing_of_what_is_not_ones_own);

const INTROSPECT: &str = "/auth/oauth/introspect";
const SIGNED: &str = "application/token-introspection+jwt";

fn inactive() -> Value {
    json!({"active": false})
}

/// An organization, and a key in it that may ask.
async fn asking(api: &Api, slug: &str, owner: &str) -> (Organization, Minted) {
    let organization = Organization::found(api, slug, owner).await;
    let key = key(&organization, json!({"scopes": ["tokens:introspect"]})).await;
    (organization, key)
}

fn request(api: &Api, by: &Minted, token: &str) -> RequestBuilder {
    form(api, INTROSPECT, &[("token", token)]).bearer_auth(&by.secret)
}

async fn introspect(api: &Api, by: &Minted, token: &str) -> Answer {
    let answer = send(request(api, by, token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    answer
}

async fn tells_what_a_token_stands_for_while_it_does(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let (acme, asks) = asking(api, "acme", "ada").await;
    let client = key(&acme, json!({"scopes": ["orders:read"]})).await;
    let (of_client, of_user) = (token(api, &client, &[]).await, acme.owner.tokens.access.clone());
    for token in [&of_client, &of_user] {
        let answer = introspect(api, &asks, token).await;
        let mut expected = claims_of(token);
        (expected["active"], expected["token_type"]) = (json!(true), json!("Bearer"));
        assert_eq!(answer.json, expected);
    }
    // By every way to say who asks.
    let own = [("token", of_user.as_str()), ("client_id", asks.id.as_str()), ("client_secret", asks.secret.as_str())];
    let by_token = token(api, &asks, &[]).await;
    for request in [
        form(api, INTROSPECT, &own),
        form(api, INTROSPECT, &own[..1]).basic_auth(&asks.id, Some(&asks.secret)),
        form(api, INTROSPECT, &own[..1]).header("x-api-key", &asks.secret),
        form(api, INTROSPECT, &own[..1]).bearer_auth(by_token),
    ] {
        let answer = send(request).await;
        assert_eq!((answer.status, &answer.json["active"]), (200, &json!(true)), "{}", answer.text);
    }
    assert_eq!(acme.owner.delete(&client.path).await.status, 204);
    assert_eq!(introspect(api, &asks, &of_client).await.json, inactive());
    assert_eq!(acme.owner.post("/auth/logout", json!({})).await.status, 204);
    assert_eq!(introspect(api, &asks, &of_user).await.json, inactive());
}

async fn tells_nothing_of_what_is_not_ones_own(store: Store) {
    let deployment = deploy(store).await;
    let api = &deployment.api;
    let ((acme, asks), (other, asks_there)) = (asking(api, "acme", "ada").await, asking(api, "other", "bob").await);
    let nowhere = Person::new(api, "eve").await;
    let theirs = token(api, &asks_there, &[]).await;
    let refresh = acme.owner.tokens.refresh.clone();
    let (forged, unknown) = (format!("{theirs}A"), format!("avr_{}", "A".repeat(43)));
    for token in [
        theirs.as_str(),
        &other.owner.tokens.access,
        &nowhere.tokens.access,
        &refresh,
        &unknown,
        &asks.secret,
        &forged,
        "x",
        "a.b.c",
    ] {
        assert_eq!(introspect(api, &asks, token).await.json, inactive(), "{token}");
    }
    assert_eq!(introspect(api, &asks_there, &theirs).await.json["active"], true);
    // A key of one store sees what is of that store.
    acme.store("north").await;
    let of_north = key(&acme, json!({"scopes": ["tokens:introspect", "orders:read"], "store": "north"})).await;
    let in_north = token(api, &of_north, &[]).await;
    assert_eq!(introspect(api, &of_north, &in_north).await.json["active"], true);
    assert_eq!(introspect(api, &asks, &in_north).await.json["active"], true);
    assert_eq!(introspect(api, &of_north, &acme.owner.tokens.access).await.json, inactive());
}

#[tokio::test]
async fn who_may_not_ask_is_told_so() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let (acme, asks) = asking(api, "acme", "ada").await;
    let may_not = key(&acme, json!({"scopes": ["orders:read"]})).await;
    let parameter = ("token", acme.owner.tokens.access.as_str());
    let asked = || form(api, INTROSPECT, &[parameter]);
    assert_refused(&send(asked()).await, 401, "invalid_client");
    assert_refused(&send(asked().basic_auth(&asks.id, Some("x"))).await, 401, "invalid_client");
    assert_refused(
        &send(asked().basic_auth(&asks.id, Some(&asks.secret)).header("x-api-key", &asks.secret)).await,
        400,
        "invalid_request",
    );
    assert_refused(&send(form(api, INTROSPECT, &[]).bearer_auth(&asks.secret)).await, 400, "invalid_request");
    assert_refused(&send(asked().bearer_auth(&acme.owner.tokens.access)).await, 403, "access_denied");
    for (secret, status, error, challenge) in [
        (format!("{}x", asks.secret), 401, "invalid_token", "Bearer realm=\"authv2\", error=\"invalid_token\""),
        (
            may_not.secret.clone(),
            403,
            "insufficient_scope",
            "Bearer realm=\"authv2\", error=\"insufficient_scope\", scope=\"tokens:introspect\"",
        ),
    ] {
        let answer = send(asked().bearer_auth(secret)).await;
        assert_eq!((answer.status, answer.string("/error")), (status, error), "{}", answer.text);
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
}

#[tokio::test]
async fn a_signed_answer_is_for_its_caller_and_no_access_token() {
    let deployment = deploy(Store::Sqlite).await;
    let api = &deployment.api;
    let (acme, asks) = asking(api, "acme", "ada").await;
    let metadata = get(api, "/.well-known/oauth-authorization-server", "").await;
    let keys: JwkSet = serde_json::from_value(get(api, "/.well-known/jwks.json", "").await.json).unwrap();
    for (token, active) in [(acme.owner.tokens.access.as_str(), true), ("x", false)] {
        let answer = send(request(api, &asks, token).header("accept", SIGNED)).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, SIGNED), "{}", answer.text);
        let header = decode_header(&answer.text).unwrap();
        assert_eq!(header.typ.as_deref(), Some("token-introspection+jwt"));
        let key = DecodingKey::from_jwk(keys.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();
        let mut rules = Validation::new(header.alg);
        rules.set_issuer(&[metadata.string("/issuer")]);
        rules.set_audience(&[&asks.id]);
        rules.set_required_spec_claims(&["iss", "aud"]);
        rules.validate_exp = false;
        let claims = decode::<Value>(&answer.text, &key, &rules).unwrap().claims;
        assert_eq!(members(&claims), ["aud", "iat", "iss", "token_introspection"]);
        assert_eq!(claims["token_introspection"], introspect(api, &asks, token).await.json);
        assert_eq!(claims["token_introspection"]["active"], active);
        // Neither passes for the other.
        assert_eq!(get(api, "/private", &answer.text).await.status, 401);
        assert_eq!(introspect(api, &asks, &answer.text).await.json, inactive());
    }
}

#[tokio::test]
async fn what_nobody_else_could_verify_is_not_signed() {
    let server = quick().with("AUTHV2_TOKENS__ALG", "HS256").start().unwrap();
    let api = Api::new(server.url()).unwrap();
    let (acme, asks) = asking(&api, "acme", "ada").await;
    let answer = send(request(&api, &asks, &acme.owner.tokens.access).header("accept", SIGNED)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{}", answer.text);
    let metadata = get(&api, "/.well-known/oauth-authorization-server", "").await.json;
    assert!(metadata.get("introspection_signing_alg_values_supported").is_none());
}
