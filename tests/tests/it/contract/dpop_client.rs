//! A client that proves a key of its own, made and signed with by an independent library.

use std::time::{SystemTime, UNIX_EPOCH};

use authv2_core::{
    jwt::jkt,
    secret::{SecretHash, random_bytes},
};
use authv2_tests::client::{Answer, Api};
use jsonwebtoken::{
    Algorithm, EncodingKey, Header, encode,
    jwk::{Jwk, ThumbprintHash},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::fixture::{PASSWORD, send};

/// What stands before the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410 section 7).
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A client's key.
pub(crate) struct Key {
    key: EncodingKey,
    jwk: Jwk,
}

pub(crate) fn new_key() -> Key {
    let seed = random_bytes::<32>().unwrap();
    let key = EncodingKey::from_ed_der(&[PKCS8.as_slice(), &seed].concat());
    let jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA).unwrap();
    Key { key, jwk }
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Key {
    pub(crate) fn thumbprint(&self) -> String {
        self.jwk.thumbprint(ThumbprintHash::SHA256).unwrap()
    }

    /// What a proof says, under a new name.
    pub(crate) fn claims(&self, method: &str, url: &str, access_token: Option<&str>) -> Value {
        let jti = jkt(&random_bytes::<16>().unwrap());
        let mut claims = json!({"jti": jti, "htm": method, "htu": url, "iat": now()});
        if let Some(token) = access_token {
            claims["ath"] = json!(jkt(SecretHash::of(token.as_bytes()).as_bytes()));
        }
        claims
    }

    pub(crate) fn prove(&self, claims: &Value) -> String {
        self.prove_as("dpop+jwt", claims)
    }

    pub(crate) fn prove_as(&self, typ: &str, claims: &Value) -> String {
        let header = Header { typ: Some(typ.to_owned()), jwk: Some(self.jwk.clone()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &self.key).unwrap()
    }
}

pub(crate) fn proof(key: &Key, method: &str, url: &str, access_token: Option<&str>) -> String {
    key.prove(&key.claims(method, url, access_token))
}

/// A request with a bound token and a fresh proof, at the server that clients reach at `base`.
pub(crate) fn dpop(api: &Api, key: &Key, method: Method, base: &str, path: &str, token: &str) -> RequestBuilder {
    let made = proof(key, method.as_str(), &format!("{base}{path}"), Some(token));
    api.request(method, path).header("authorization", format!("DPoP {token}")).header("dpop", made)
}

/// Signs in with the usual password, and binds the session to `key`.
pub(crate) async fn sign_in_with(api: &Api, key: &Key, base: &str, email: &str) -> Answer {
    let request = api.request(Method::POST, "/auth/login").json(&json!({"email": email, "password": PASSWORD}));
    send(request.header("dpop", proof(key, "POST", &format!("{base}/auth/login"), None))).await
}

/// The claims of an access token, unverified.
pub(crate) fn claims_of(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode::<Value>(token).unwrap().claims
}
