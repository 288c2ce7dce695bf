//! Tokens as the products send them, under the settings that the guide gives for them.

use std::{fs, path::Path};

use authv2_tests::issuer::Issuer;
use serde_json::{Value, json};

use super::{World, account_calls, jwks, key, now, with};
use crate::contract::fixture::assert_problem;

/// The guide's settings for the issuer of this name.
fn guide(name: &str) -> Value {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/external-issuers.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("```toml").skip(1).filter_map(|block| block.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains(&format!("name = \"{name}\""))).unwrap();
    let table: Value = serde_json::to_value(block.parse::<toml::Table>().unwrap()).unwrap();
    table["issuers"][0].clone()
}

/// A product under the guide's settings, at another host.
struct Product {
    issuer: Issuer,
    world: World,
    /// Its `iss` here.
    iss: String,
}

impl Product {
    async fn start(name: &str, kid: &str) -> Self {
        let settings = guide(name);
        let iss = settings["issuer"].as_str().unwrap();
        let path = iss.splitn(4, '/').nth(3).map_or(String::new(), |path| format!("/{path}"));
        let issuer = Issuer::start().await.unwrap();
        issuer.publish_keys(&path, &jwks(&[kid]), 3600);
        let iss = issuer.at(&path);
        let world = World::start(&json!([with(&settings, json!({"issuer": iss}))])).await;
        Self { issuer, world, iss }
    }

    /// A seller comes in with this token: who it is, and what it may do.
    async fn lets_in(&self, token: &str, subject: &str) {
        let answer = self.world.private(token).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["user_id"], format!("{}|{subject}", self.iss));
        assert_eq!(answer.json["method"], "bearer");
        assert!(answer.json["organization"].is_string());
        let world = &self.world;
        assert_eq!((world.order(token).await, world.refund(token, 500).await), (200, 200));
        assert_eq!(world.refund(token, 501).await, 403, "the condition is evaluated");
        assert_eq!(self.issuer.asked("/keys").times, 1);
    }

    async fn refuses(&self, token: &str, why: &str) {
        let answer = self.world.private(token).await;
        assert_eq!((answer.status, answer.code()), (401, "invalid_token"), "{why}: {}", answer.text);
    }
}

#[tokio::test]
async fn keycloak() {
    let product = Product::start("keycloak", "rsa-1").await;
    let access = json!({
        "exp": now() + 300, "iat": now(), "auth_time": now(), "jti": "onrtac:3a5a5e0e", "iss": product.iss,
        "aud": ["shop-api", "account"], "sub": "f1f27d71-6d2c-4c1a-bd54-5e4d7c2f3d27", "typ": "Bearer", "azp": "shop-web",
        "sid": "0b2f7d5e-52ab-4b8f-8d1e-7e4b9e8f7a11", "acr": "1", "allowed-origins": ["https://shop.example.com"],
        "realm_access": {"roles": ["offline_access", "shop-seller", "uma_authorization"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "scope": "openid profile email", "email_verified": true, "name": "Sam Seller",
        "preferred_username": "sam", "given_name": "Sam", "family_name": "Seller", "email": "sam@example.com",
    });
    let sign = |claims: &Value| key("rsa-1").sign(Some("JWT"), claims);
    product.lets_in(&sign(&access), "f1f27d71-6d2c-4c1a-bd54-5e4d7c2f3d27").await;
    // Versions before 24 write the nonce into both.
    assert_eq!(product.world.order(&sign(&with(&access, json!({"nonce": "n"})))).await, 200);
    let id =
        with(&access, json!({"typ": "ID", "aud": "shop-web", "at_hash": "uTJ0g", "realm_access": null, "nonce": "n"}));
    product.refuses(&sign(&id), "an ID token").await;
    product.refuses(&sign(&with(&id, json!({"aud": "shop-api"}))), "an ID token for the API").await;
    product.refuses(&sign(&with(&access, json!({"typ": "Refresh"}))), "a refresh token").await;
    product.refuses(&sign(&with(&access, json!({"typ": null}))), "what does not say what it is").await;
    product.refuses(&sign(&with(&access, json!({"aud": "account"}))), "a token for another API").await;
}

#[tokio::test]
async fn auth0() {
    let product = Product::start("auth0", "rsa-1").await;
    let access = json!({
        "iss": product.iss, "sub": "auth0|62e1f4d1a3b2c1d0e9f8a7b6",
        "aud": ["https://api.shop.example.com", "https://shop.eu.auth0.com/userinfo"],
        "iat": now(), "exp": now() + 86_400, "azp": "my_client_id", "scope": "openid profile read:orders",
        "org_id": "org_Xk2aVJq1", "permissions": ["read:orders"],
    });
    let sign = |claims: &Value| key("rsa-1").sign(Some("JWT"), claims);
    product.lets_in(&sign(&access), "auth0|62e1f4d1a3b2c1d0e9f8a7b6").await;
    let machine = with(&access, json!({"sub": "my_client_id@clients", "gty": "client-credentials", "scope": null}));
    product.lets_in(&sign(&machine), "my_client_id@clients").await;
    let beta = sign(&with(&access, json!({"org_id": "org_9dLm3uTz"})));
    assert_eq!(product.world.private(&beta).await.status, 200);
    assert_eq!(product.world.order(&beta).await, 403, "there is no such role in that organization");
    product.refuses(&sign(&with(&access, json!({"org_id": "org_other"}))), "another organization").await;
    product.refuses(&sign(&with(&access, json!({"org_id": null}))), "no organization").await;
    product.refuses(&sign(&with(&access, json!({"org_id": "acme"}))), "our name for it").await;
    let id = json!({
        "iss": product.iss, "sub": "auth0|62e1f4d1a3b2c1d0e9f8a7b6", "aud": "https://api.shop.example.com",
        "iat": now(), "exp": now() + 36_000, "sid": "s", "nonce": "n", "org_id": "org_Xk2aVJq1", "name": "Sam",
    });
    product.refuses(&sign(&id), "an ID token").await;
    product.refuses(&sign(&with(&id, json!({"nonce": null}))), "an ID token without a nonce").await;
}

#[tokio::test]
async fn entra() {
    let product = Product::start("entra", "rsa-1").await;
    let tenant = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let access = json!({
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "iss": product.iss, "iat": now(), "nbf": now(), "exp": now() + 4000,
        "aio": "AXQAi/8IAAAA", "azp": "my-client", "azpacr": "0", "name": "Sam Seller", "rh": "I",
        "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "preferred_username": "sam@shop.example.com",
        "roles": ["Orders.Sell"], "scp": "access_as_user", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ",
        "tid": tenant, "uti": "fqiBqXLPj0eQa82S-IYFAA", "ver": "2.0", "email": "owner@shop.example.com",
    });
    let sign = |claims: &Value| key("rsa-1").sign(Some("JWT"), claims);
    product.lets_in(&sign(&access), "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ").await;
    let app_only = with(&access, json!({"scp": null, "sub": "690222be", "azpacr": "1", "idtyp": "app"}));
    product.lets_in(&sign(&app_only), "690222be").await;
    let id = with(&access, json!({"scp": null, "azp": null, "azpacr": null}));
    product.refuses(&sign(&id), "an ID token of the same registration").await;
    product.refuses(&sign(&with(&access, json!({"tid": "other"}))), "another tenant").await;
    product.refuses(&sign(&with(&access, json!({"ver": "1.0"}))), "a token of version 1").await;
}

#[tokio::test]
async fn cognito() {
    let product = Product::start("cognito", "rsa-1").await;
    let access = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["sellers"], "iss": product.iss, "version": 2,
        "client_id": "5u5b0hk9n4s8r7q2example", "origin_jti": "aaaa", "event_id": "bbbb", "token_use": "access",
        "scope": "phone openid profile", "auth_time": now(), "exp": now() + 3600, "iat": now(), "jti": "cccc",
        "username": "sam",
    });
    let sign = |claims: &Value| key("rsa-1").sign(None, claims);
    product.lets_in(&sign(&access), "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee").await;
    let id = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["sellers"], "email_verified": true,
        "iss": product.iss, "cognito:username": "sam", "origin_jti": "aaaa", "aud": "5u5b0hk9n4s8r7q2example",
        "event_id": "bbbb", "token_use": "id", "auth_time": now(), "exp": now() + 3600, "iat": now(), "jti": "dddd",
        "email": "sam@example.com",
    });
    product.refuses(&sign(&id), "an ID token").await;
    product
        .refuses(&sign(&with(&id, json!({"client_id": "5u5b0hk9n4s8r7q2example"}))), "an ID token for the client")
        .await;
    product.refuses(&sign(&with(&access, json!({"client_id": "another"}))), "another client's").await;
    product.refuses(&key("rsa-1").sign(Some("JWT"), &access), "a type that it never writes").await;
}

#[tokio::test]
async fn any_issuer_that_follows_rfc_9068() {
    for kid in ["ed-1", "ec-1", "rsa-1"] {
        let product = Product::start("partner", kid).await;
        let access =
            with(&super::claims(&product.iss), json!({"aud": "https://api.shop.example.com", "roles": ["seller"]}));
        let sign = |typ, claims: &Value| key(kid).sign(Some(typ), claims);
        product.lets_in(&sign("at+jwt", &access), "somebody").await;
        product.lets_in(&sign("application/at+jwt", &access), "somebody").await;
        product.refuses(&sign("JWT", &access), "a type that says nothing").await;
        product.refuses(&sign("dpop+jwt", &access), "another type").await;
        product.refuses(&sign("at+jwt", &with(&access, json!({"cnf": {"jkt": "x"}}))), "a token bound to a key").await;
        product.refuses(&sign("at+jwt", &with(&access, json!({"cnf": {"x5t#S256": "x"}}))), "bound otherwise").await;
    }
}

#[tokio::test]
async fn somebody_from_elsewhere_has_no_account_here() {
    let product = Product::start("partner", "ed-1").await;
    let claims = super::claims(&product.iss);
    let token = key("ed-1").sign(
        Some("at+jwt"),
        &with(&claims, json!({"aud": "https://api.shop.example.com", "roles": ["seller", "owner", "platform_admin"]})),
    );
    for (call, answer) in account_calls(&product.world, &token).await {
        assert_problem(&answer, 403, "permission_denied");
        assert!(!answer.text.contains("session\":"), "{call}: {}", answer.text);
    }
}
