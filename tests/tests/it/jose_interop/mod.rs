//! Tokens and published keys are understood by independent JOSE implementations, and theirs here.

mod peers;

use std::{sync::Arc, time::Duration};

use authv2_core::{
    clock::{SystemClock, Timestamp},
    id::{SessionId, TokenId},
    jwt::{AccessClaims, Algorithm, Audience, JwtService, SigningKey, seal_key},
    master_key::MasterKey,
    store::KeyState,
};
use futures_util::FutureExt as _;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode, jwk::JwkSet};
use serde_json::{Value, json};

const ISSUER: &str = "https://auth.example";

/// Every algorithm that access tokens can be signed with.
const ALGORITHMS: [Algorithm; 6] =
    [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::RS256, Algorithm::PS256, Algorithm::HS256];

/// A deployment whose private key the test has.
struct Deployment {
    algorithm: Algorithm,
    service: JwtService,
    key: SigningKey,
    kid: String,
    now: Timestamp,
}

impl Deployment {
    fn new(algorithm: Algorithm) -> Self {
        let master = Arc::new(MasterKey::from_bytes(&[1; 32]));
        let now = SystemClock::wall();
        let key = SigningKey::generate(algorithm).unwrap();
        let record = seal_key(&key, KeyState::Active, now, &master).unwrap();
        let kid = record.kid.clone();
        let service = JwtService::new(ISSUER, ISSUER, &[record], master).unwrap();
        Self { algorithm, service, key, kid, now }
    }

    fn claims(&self) -> AccessClaims {
        AccessClaims {
            iss: ISSUER.to_owned(),
            aud: Audience::one(ISSUER),
            sub: "user".to_owned(),
            exp: self.now + Duration::from_secs(600),
            iat: self.now,
            jti: TokenId::new().to_string(),
            client_id: "authv2".to_owned(),
            sid: Some(SessionId::new()),
            org: None,
            store: None,
            amr: vec!["pwd".to_owned()],
            acr: None,
            auth_time: Some(self.now),
            scope: None,
            cnf: None,
        }
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": self.algorithm, "kid": self.kid})
    }

    /// The private key as other libraries read it: PKCS#8, or the secret itself.
    fn private_der(&self) -> Vec<u8> {
        self.key.private_bytes().unwrap().to_vec()
    }

    /// A token of these claims: a key that is here waits for nobody.
    fn mint(&self, claims: &AccessClaims) -> String {
        self.service.mint(claims, self.now).now_or_never().unwrap().unwrap()
    }

    /// Requires that a token that somebody else made of `claims` with our key is taken for what it says.
    fn takes(&self, token: &str, claims: &Value) {
        let taken = self.service.verify(token, self.now).unwrap();
        assert_eq!(serde_json::to_value(taken).unwrap(), *claims, "{}", self.algorithm);
    }
}

#[test]
fn jsonwebtoken_verifies_our_tokens_with_our_published_keys() {
    for algorithm in ALGORITHMS.into_iter().filter(|algorithm| !algorithm.is_symmetric()) {
        let ours = Deployment::new(algorithm);
        let claims = ours.claims();
        let token = ours.mint(&claims);
        let published: JwkSet =
            serde_json::from_value(serde_json::to_value(ours.service.jwks(ours.now)).unwrap()).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let key = DecodingKey::from_jwk(published.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm.as_str().parse().unwrap());
        validation.set_audience(&[ISSUER]);
        validation.set_issuer(&[ISSUER]);
        let decoded = decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims, serde_json::to_value(claims).unwrap());
    }
}

#[test]
fn tokens_that_jsonwebtoken_signs_with_our_key_are_taken() {
    for algorithm in ALGORITHMS {
        let ours = Deployment::new(algorithm);
        let der = ours.private_der();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(&der),
            Algorithm::HS256 => EncodingKey::from_secret(&der),
            _ => EncodingKey::from_rsa_pem(peers::pem(&der).as_bytes()).unwrap(),
        };
        let header: Header = serde_json::from_value(ours.header()).unwrap();
        let claims = serde_json::to_value(ours.claims()).unwrap();
        ours.takes(&encode(&header, &claims, &key).unwrap(), &claims);
    }
}
