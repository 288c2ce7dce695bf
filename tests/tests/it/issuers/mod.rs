//! Tokens of issuers elsewhere, against a server that is started here and an issuer that is played here.

mod keys;
mod refusals;
mod shapes;
mod tls;

use std::time::{Duration, SystemTime};

use authv2_tests::{client::Answer, issuer::Issuer};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::contract::fixture::{ADA, Deployment, PASSWORD, Tokens, call, get, post, quick, sign_up, start};

/// A key that issuers here sign with, made and written as a JWK by another library.
#[derive(serde::Deserialize)]
pub(crate) struct Key {
    kid: String,
    alg: Algorithm,
    pem: String,
    jwk: Value,
}

/// The key of this name.
fn key(kid: &str) -> Key {
    let keys: Vec<Key> = serde_json::from_str(include_str!("keys.json")).unwrap();
    keys.into_iter().find(|key| key.kid == kid).unwrap()
}

fn jwks(kids: &[&str]) -> Vec<Value> {
    kids.iter().map(|kid| key(kid).jwk).collect()
}

impl Key {
    /// A token with just this header type and these claims.
    fn sign(&self, typ: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.alg);
        header.typ = typ.map(str::to_owned);
        header.kid = Some(self.kid.clone());
        self.sign_with(&header, claims)
    }

    fn sign_with(&self, header: &Header, claims: &Value) -> String {
        let pem = self.pem.as_bytes();
        let key = match self.alg {
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
            _ => EncodingKey::from_rsa_pem(pem),
        };
        jsonwebtoken::encode(header, claims, &key.unwrap()).unwrap()
    }
}

/// Seconds since the epoch.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// `base` with these members put in, or taken out where they are null.
fn with(base: &Value, mut members: Value) -> Value {
    let mut all = base.as_object().unwrap().clone();
    for (name, value) in std::mem::take(members.as_object_mut().unwrap()) {
        if value.is_null() { drop(all.remove(&name)) } else { drop(all.insert(name, value)) }
    }
    all.into()
}

/// A server with the organizations `acme` and `beta`, where sellers read orders, and refund up to 500.
pub(crate) struct World {
    deployment: Deployment,
    /// Ada, who owns both, in `acme`.
    owner: Tokens,
}

impl World {
    async fn start(issuers: &Value) -> Self {
        let deployment = start(quick().with("AUTHV2_ISSUERS", issuers.to_string())).await;
        let api = &deployment.api;
        let first = sign_up(api, ADA).await;
        for slug in ["acme", "beta"] {
            let founded = post(api, "/auth/orgs", &first.access, json!({"slug": slug, "name": slug})).await;
            assert_eq!(founded.status, 201, "{}", founded.text);
        }
        let body = json!({"email": ADA, "password": PASSWORD, "organization": "acme"});
        let owner = Tokens::of(&post(api, "/auth/login", "", body).await);
        let world = Self { deployment, owner };
        world
            .seller_may(json!([
                {"permission": "orders:read", "effect": "allow"},
                {"permission": "orders:refund", "effect": "allow", "when": "resource.amount <= 500"},
            ]))
            .await;
        world
    }

    async fn seller_may(&self, grants: Value) {
        let body = json!({"inherits": [], "grants": grants});
        let api = &self.deployment.api;
        let put = api.call(reqwest::Method::PUT, "/auth/orgs/acme/roles/seller", &self.owner.access, Some(&body)).await;
        assert!([200, 201].contains(&put.as_ref().unwrap().status), "{put:?}");
    }

    async fn private(&self, token: &str) -> Answer {
        get(&self.deployment.api, "/private", token).await
    }

    async fn order(&self, token: &str) -> u16 {
        get(&self.deployment.api, "/orders/1", token).await.status
    }

    async fn refund(&self, token: &str, amount: u64) -> u16 {
        post(&self.deployment.api, "/orders/1/refund", token, json!({"amount": amount})).await.status
    }

    /// What health says of the issuer of this name: the overall code, its status and its circuit.
    async fn health(&self, name: &str) -> (u16, String, String) {
        let answer = get(&self.deployment.api, "/health/ready", "").await;
        let component = &answer.json["components"][format!("issuer:{name}")];
        let field = |name: &str| component[name].as_str().unwrap_or_default().to_owned();
        (answer.status, field("status"), field("circuit"))
    }
}

/// An issuer that follows RFC 9068, and the server that trusts it.
pub(crate) struct Plain {
    issuer: Issuer,
    world: World,
}

impl Plain {
    /// With these settings beside the usual ones; keys are good for so many seconds.
    async fn start(settings: Value, max_age: u64) -> Self {
        let issuer = Issuer::start().await.unwrap();
        issuer.publish_keys("", &jwks(&["ed-1"]), max_age);
        Self::of(issuer, settings).await
    }

    async fn of(issuer: Issuer, settings: Value) -> Self {
        let entry = with(&usual(&issuer), settings);
        let world = World::start(&json!([entry])).await;
        Self { issuer, world }
    }

    fn claims(&self) -> Value {
        claims(&self.issuer.at(""))
    }

    fn token(&self, kid: &str) -> String {
        key(kid).sign(Some("at+jwt"), &self.claims())
    }

    /// The answer to a call with a token of these members.
    async fn answer(&self, members: Value) -> Answer {
        self.world.private(&key("ed-1").sign(Some("at+jwt"), &with(&self.claims(), members))).await
    }
}

/// The settings of an issuer that follows RFC 9068.
fn usual(issuer: &Issuer) -> Value {
    json!({
        "issuer": issuer.at(""), "name": "partner", "audiences": ["api"], "organizations": ["acme"],
        "roles_claim": "roles", "role_map": {"sales": "seller"}, "timeout": 1, "refresh_min": 1,
    })
}

/// What an issuer that follows RFC 9068 says (section 2.2).
fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "somebody", "aud": "api", "client_id": "app", "jti": "1",
        "iat": now(), "exp": now() + 600, "roles": ["sales"],
    })
}

/// Waits until it holds: far longer than it should take.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(40), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The calls that are for those who signed in here.
async fn account_calls(world: &World, token: &str) -> Vec<(String, Answer)> {
    use reqwest::Method;
    let api = &world.deployment.api;
    let mut answers = Vec::new();
    for (method, path) in [
        (Method::GET, "/auth/me"),
        (Method::GET, "/auth/sessions"),
        (Method::GET, "/auth/orgs"),
        (Method::GET, "/auth/orgs/acme"),
        (Method::GET, "/auth/orgs/acme/members"),
        (Method::POST, "/auth/logout"),
        (Method::POST, "/auth/logout-all"),
    ] {
        answers.push((format!("{method} {path}"), call(api, method, path, token).await));
    }
    for (path, body) in [
        ("/auth/password/change", json!({"current_password": PASSWORD, "new_password": "another horse battery"})),
        ("/auth/session/switch", json!({"organization": "acme"})),
        ("/auth/orgs", json!({"slug": "mine", "name": "Mine"})),
    ] {
        answers.push((format!("POST {path}"), post(api, path, token, body).await));
    }
    answers
}
