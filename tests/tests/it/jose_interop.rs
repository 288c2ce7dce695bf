//! Tokens and published keys are understood by an independent JOSE implementation.

use std::{sync::Arc, time::Duration};

use authv2_core::{
    clock::SystemClock,
    id::SessionId,
    jwt::{AccessClaims, Algorithm, Audience, JwtService, new_key_record},
    master_key::MasterKey,
};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::Value;

const ISSUER: &str = "https://auth.example";

#[tokio::test]
async fn jsonwebtoken_verifies_our_tokens_with_our_published_keys() {
    let master = Arc::new(MasterKey::from_bytes(&[1; 32]));
    let now = SystemClock::wall();
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::ES384, Algorithm::RS256, Algorithm::PS256] {
        let record = new_key_record(algorithm, now, &master).unwrap();
        let service = JwtService::new(ISSUER, ISSUER, &[record], Arc::clone(&master)).unwrap();
        let claims = AccessClaims {
            iss: ISSUER.to_owned(),
            aud: Audience::one(ISSUER),
            sub: "user".to_owned(),
            exp: now + Duration::from_secs(600),
            iat: now,
            jti: "token".to_owned(),
            client_id: "authv2".to_owned(),
            sid: Some(SessionId::new()),
            org: None,
            store: None,
            amr: Vec::new(),
            acr: None,
            auth_time: Some(now),
            scope: None,
            cnf: None,
        };
        let token = service.mint(&claims, now).await.unwrap();

        let published: JwkSet = serde_json::from_value(serde_json::to_value(service.jwks(now)).unwrap()).unwrap();
        let header = decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let key = DecodingKey::from_jwk(published.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut validation = Validation::new(algorithm.as_str().parse().unwrap());
        validation.set_audience(&[ISSUER]);
        validation.set_issuer(&[ISSUER]);
        let decoded = decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims["sid"], claims.sid.unwrap().to_string());
        assert_eq!(decoded.claims["iat"], now.as_seconds());
    }
}
