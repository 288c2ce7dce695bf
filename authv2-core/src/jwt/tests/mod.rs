//! Malicious and ordinary tokens against the whole of verification.

mod malicious;
mod rfc_examples;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    clock::Timestamp,
    id::SessionId,
    master_key::MasterKey,
    store::{KeyState, SigningKeyRecord},
};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const NOW_SECONDS: i64 = 1_700_000_000;
const ISSUER: &str = "https://auth.example";

struct Deployment {
    service: JwtService,
    record: SigningKeyRecord,
    key: SigningKey,
}

fn deployment(algorithm: Algorithm) -> Deployment {
    let master = Arc::new(MasterKey::from_bytes(&[1; 32]));
    let key = SigningKey::generate(algorithm).unwrap();
    let record = seal_key(&key, KeyState::Active, NOW, &master).unwrap();
    let service = JwtService::new(ISSUER, ISSUER, std::slice::from_ref(&record), master).unwrap();
    Deployment { service, record, key }
}

/// A key that is here waits for nobody.
fn mint(service: &JwtService, claims: &AccessClaims) -> Result<String, MintError> {
    service.mint(claims, NOW).now_or_never().expect("at once")
}

fn claims() -> AccessClaims {
    AccessClaims {
        iss: ISSUER.to_owned(),
        aud: Audience::one(ISSUER),
        sub: "0197-user".to_owned(),
        exp: NOW + Duration::from_secs(600),
        iat: NOW,
        jti: "token-1".to_owned(),
        client_id: "authv2".to_owned(),
        sid: Some(SessionId::new()),
        org: None,
        store: None,
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        acr: Some("aal2".to_owned()),
        auth_time: Some(NOW - Duration::from_secs(60)),
        scope: None,
        cnf: None,
    }
}

impl Deployment {
    fn verify(&self, token: &str) -> Result<AccessClaims, TokenRefusal> {
        self.service.verify(token, NOW)
    }

    fn header(&self) -> Value {
        json!({"typ": "at+jwt", "alg": self.record.alg, "kid": self.record.kid})
    }

    /// A token with any header and payload, signed by the real key: what an insider or a bug could make.
    fn sign(&self, header: &str, payload: &str) -> String {
        sign_with(&self.key, header, payload)
    }

    fn refusal_of_header(&self, change: impl FnOnce(&mut Value)) -> Option<TokenRefusal> {
        let mut header = self.header();
        change(&mut header);
        let payload = serde_json::to_string(&claims()).unwrap();
        self.verify(&self.sign(&header.to_string(), &payload)).err()
    }

    fn refusal_of_claims(&self, change: impl FnOnce(&mut Value)) -> Option<TokenRefusal> {
        let mut payload = serde_json::to_value(claims()).unwrap();
        change(&mut payload);
        self.refusal_of_payload(&payload.to_string())
    }

    fn refusal_of_payload(&self, payload: &str) -> Option<TokenRefusal> {
        self.verify(&self.sign(&self.header().to_string(), payload)).err()
    }
}

fn sign_with(key: &SigningKey, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

fn without(name: &'static str) -> impl Fn(&mut Value) {
    move |payload| {
        payload.as_object_mut().unwrap().remove(name);
    }
}

#[test]
fn what_is_minted_verifies_with_every_algorithm() {
    for &algorithm in Algorithm::ALL {
        let deployment = deployment(algorithm);
        let claims = claims();
        let token = mint(&deployment.service, &claims).unwrap();
        assert_eq!(deployment.verify(&token), Ok(claims), "{algorithm}");
    }
}

#[test]
fn a_header_written_another_way_is_as_good() {
    let deployment = deployment(Algorithm::EdDSA);
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(deployment.refusal_of_header(|header| header["typ"] = json!(typ)), None, "{typ}");
    }
    assert_eq!(deployment.refusal_of_header(|header| header["jku"] = json!("https://evil.example")), None);
}

#[test]
fn refuses_unsigned_tokens() {
    let deployment = deployment(Algorithm::EdDSA);
    let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
    for alg in ["none", "None", "NONE"] {
        let header =
            URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"at+jwt","alg":"{alg}","kid":"{}"}}"#, deployment.record.kid));
        assert_eq!(deployment.verify(&format!("{header}.{payload}.")), Err(TokenRefusal::Unsigned));
    }
    let header = URL_SAFE_NO_PAD.encode(deployment.header().to_string());
    assert_eq!(deployment.verify(&format!("{header}.{payload}.")), Err(TokenRefusal::BadSignature));
}

#[test]
fn refuses_an_hmac_made_with_the_public_key() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256] {
        let deployment = deployment(algorithm);
        let jwk = deployment.key.public_jwk(&deployment.record.kid).unwrap();
        let public = URL_SAFE_NO_PAD.decode(jwk.x.or(jwk.n).unwrap()).unwrap();
        let mut header = deployment.header();
        header["alg"] = json!("HS256");
        let forger = SigningKey::from_secret(Algorithm::HS256, &public).unwrap();
        let token = sign_with(&forger, &header.to_string(), &serde_json::to_string(&claims()).unwrap());
        assert_eq!(deployment.verify(&token), Err(TokenRefusal::AlgorithmMismatch), "{algorithm}");
    }
}

#[test]
fn refuses_an_algorithm_of_the_same_family() {
    let deployment = deployment(Algorithm::RS256);
    let pss = SigningKey::from_private_bytes(Algorithm::PS256, &deployment.key.private_bytes().unwrap()).unwrap();
    let mut header = deployment.header();
    header["alg"] = json!("PS256");
    let token = sign_with(&pss, &header.to_string(), &serde_json::to_string(&claims()).unwrap());
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::AlgorithmMismatch));
}

#[test]
fn refuses_headers_that_name_no_key_or_another_one() {
    let deployment = deployment(Algorithm::EdDSA);
    assert_eq!(deployment.refusal_of_header(without("kid")), Some(TokenRefusal::MissingKeyId));
    for kid in ["", "../../etc/passwd", "' OR 1=1 --", "unknown"] {
        assert_eq!(deployment.refusal_of_header(|header| header["kid"] = json!(kid)), Some(TokenRefusal::UnknownKeyId));
    }
    assert_eq!(deployment.refusal_of_header(|header| header["kid"] = json!(1)), Some(TokenRefusal::BadHeader));
}

#[test]
fn refuses_keys_brought_along() {
    let deployment = deployment(Algorithm::EdDSA);
    let forger = SigningKey::generate(Algorithm::EdDSA).unwrap();
    let mut header = deployment.header();
    header["jwk"] = serde_json::to_value(forger.public_jwk(&deployment.record.kid).unwrap()).unwrap();
    let token = sign_with(&forger, &header.to_string(), &serde_json::to_string(&claims()).unwrap());
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::BadSignature));
}

#[test]
fn refuses_other_types_of_token_and_critical_extensions() {
    let deployment = deployment(Algorithm::EdDSA);
    assert_eq!(deployment.refusal_of_header(without("typ")), Some(TokenRefusal::WrongType));
    for (name, value, refusal) in [
        ("typ", json!("JWT"), TokenRefusal::WrongType),
        ("typ", json!("dpop+jwt"), TokenRefusal::WrongType),
        ("cty", json!("JWT"), TokenRefusal::NestedToken),
        ("crit", json!(["b64"]), TokenRefusal::CriticalExtension),
        ("crit", json!(["http://example/x"]), TokenRefusal::CriticalExtension),
        ("b64", json!(false), TokenRefusal::UnencodedPayload),
    ] {
        let changed = deployment.refusal_of_header(|header| header[name] = value.clone());
        assert_eq!(changed, Some(refusal), "{name}: {value}");
    }
}

#[test]
fn refuses_every_part_that_is_not_canonical_base64url() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = mint(&deployment.service, &claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    // 64 signature bytes leave four bits over in the last of 86 characters: setting one of them spells the same bytes.
    let last = token.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
    let trailing_bits = format!("{}{next}", &token[..token.len() - 1]);
    for bad in [
        trailing_bits,
        format!("{token}=="),
        format!("{token}\n"),
        format!("{}.{}.{} ", parts[0], parts[1], parts[2]),
        format!("{}.{}.{}+/", parts[0], parts[1], parts[2]),
    ] {
        assert_eq!(deployment.verify(&bad), Err(TokenRefusal::BadEncoding), "{bad}");
    }
    let padded_header = format!("{}=.{}.{}", parts[0], parts[1], parts[2]);
    assert_eq!(deployment.verify(&padded_header), Err(TokenRefusal::BadEncoding));
}

#[test]
fn refuses_everything_without_exactly_three_parts() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = mint(&deployment.service, &claims()).unwrap();
    let two = token.rsplit_once('.').unwrap().0.to_owned();
    for bad in [String::new(), "x".to_owned(), two, format!("{token}."), format!(".{token}"), format!("{token}.AAAA")] {
        assert_eq!(deployment.verify(&bad), Err(TokenRefusal::NotCompact), "{bad}");
    }
    assert_eq!(deployment.verify(".."), Err(TokenRefusal::BadHeader));
}

#[test]
fn refuses_oversized_tokens_before_decoding_and_mints_none() {
    let deployment = deployment(Algorithm::EdDSA);
    assert_eq!(deployment.verify(&"?".repeat(MAX_TOKEN_BYTES + 1)), Err(TokenRefusal::TooLarge));
    assert_eq!(deployment.verify(&"?".repeat(MAX_TOKEN_BYTES)), Err(TokenRefusal::NotCompact));
    let large = AccessClaims { scope: Some("x".repeat(MAX_TOKEN_BYTES)), ..claims() };
    assert!(matches!(mint(&deployment.service, &large), Err(MintError::TooLarge)));
}

#[test]
fn refuses_duplicate_members_in_header_and_payload() {
    let deployment = deployment(Algorithm::EdDSA);
    let payload = serde_json::to_string(&claims()).unwrap();
    for (added, refusal) in [
        (r#""sub":"someone-else""#, TokenRefusal::DuplicateClaim),
        (r#""\u0073ub":"someone-else""#, TokenRefusal::DuplicateClaim),
        (r#""x":1,"x":1"#, TokenRefusal::DuplicateClaim),
        (r#""x":{"y":[{"z":1,"z":2}]}"#, TokenRefusal::DuplicateClaim),
    ] {
        let payload = format!("{},{added}}}", payload.strip_suffix('}').unwrap());
        assert_eq!(deployment.refusal_of_payload(&payload), Some(refusal), "{added}");
    }
    let header = deployment.header().to_string();
    let header = format!(r#"{},"alg":"none"}}"#, header.strip_suffix('}').unwrap());
    assert_eq!(deployment.verify(&deployment.sign(&header, &payload)), Err(TokenRefusal::DuplicateHeader));
}

#[test]
fn refuses_payloads_that_are_no_json_object() {
    let deployment = deployment(Algorithm::EdDSA);
    for payload in ["", "null", "[]", "\"x\"", "{", "{}{}", "{\"sub\":\"a\",}", "\u{feff}{}", &"[".repeat(5000)] {
        assert_eq!(deployment.refusal_of_payload(payload), Some(TokenRefusal::BadPayload), "{payload}");
    }
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(deployment.header().to_string()),
        URL_SAFE_NO_PAD.encode(b"{\"sub\":\"\xff\"}")
    );
    let signature = URL_SAFE_NO_PAD.encode(deployment.key.sign(input.as_bytes()).unwrap());
    assert_eq!(deployment.verify(&format!("{input}.{signature}")), Err(TokenRefusal::BadPayload));
}

#[test]
fn refuses_hostile_nesting_within_the_size_limit() {
    let deployment = deployment(Algorithm::EdDSA);
    let payload = serde_json::to_string(&claims()).unwrap();
    let deep = format!(r#"{},"x":{}1{}}}"#, payload.strip_suffix('}').unwrap(), "[".repeat(2000), "]".repeat(2000));
    assert_eq!(deployment.refusal_of_payload(&deep), Some(TokenRefusal::BadPayload));
}

#[test]
fn refuses_claims_that_are_missing_empty_or_of_another_type() {
    let deployment = deployment(Algorithm::EdDSA);
    for name in ["iss", "aud", "exp", "iat", "jti", "sub", "client_id"] {
        assert_eq!(deployment.refusal_of_claims(without(name)), Some(TokenRefusal::MissingClaim), "{name}");
        for value in [Value::Null, json!({}), json!(true)] {
            let refusal = deployment.refusal_of_claims(|payload| payload[name] = value.clone());
            assert_eq!(refusal, Some(TokenRefusal::MalformedClaim), "{name}: {value}");
        }
    }
    for name in ["jti", "sub", "client_id"] {
        let refusal = deployment.refusal_of_claims(|payload| payload[name] = json!(""));
        assert_eq!(refusal, Some(TokenRefusal::EmptyClaim), "{name}");
    }
    for (name, value) in [
        ("exp", json!("1700000600")),
        ("exp", json!(1e300)),
        ("nbf", json!("0")),
        ("sid", json!("not-a-session")),
        ("amr", json!("pwd")),
        ("cnf", json!({"x5t#S256": "abc"})),
    ] {
        let refusal = deployment.refusal_of_claims(|payload| payload[name] = value.clone());
        assert_eq!(refusal, Some(TokenRefusal::MalformedClaim), "{name}: {value}");
    }
}

#[test]
fn refuses_other_issuers_and_audiences() {
    let deployment = deployment(Algorithm::EdDSA);
    for (name, value, refusal) in [
        ("iss", json!("https://auth.example/"), Some(TokenRefusal::WrongIssuer)),
        ("iss", json!("https://AUTH.example"), Some(TokenRefusal::WrongIssuer)),
        ("aud", json!("https://auth.example.evil"), Some(TokenRefusal::WrongAudience)),
        ("aud", json!([]), Some(TokenRefusal::WrongAudience)),
        ("aud", json!(["other", ISSUER]), None),
    ] {
        let got = deployment.refusal_of_claims(|payload| payload[name] = value.clone());
        assert_eq!(got, refusal, "{name}: {value}");
    }
}

#[test]
fn judges_times_to_the_second_and_the_fraction() {
    let deployment = deployment(Algorithm::EdDSA);
    for (name, value, refusal) in [
        ("exp", json!(NOW_SECONDS), Some(TokenRefusal::Expired)),
        ("exp", json!(NOW_SECONDS - 1), Some(TokenRefusal::Expired)),
        ("exp", json!(NOW_SECONDS + 1), None),
        ("exp", json!(NOW_SECONDS as f64 + 0.5), None),
        ("exp", json!(NOW_SECONDS as f64 - 0.5), Some(TokenRefusal::Expired)),
        ("nbf", json!(NOW_SECONDS + 30), None),
        ("nbf", json!(NOW_SECONDS + 31), Some(TokenRefusal::NotYetValid)),
        ("iat", json!(NOW_SECONDS + 30), None),
        ("iat", json!(NOW_SECONDS as f64 + 30.25), Some(TokenRefusal::IssuedInFuture)),
        ("iat", json!(NOW_SECONDS + 31), Some(TokenRefusal::IssuedInFuture)),
    ] {
        let got = deployment.refusal_of_claims(|payload| payload[name] = value.clone());
        assert_eq!(got, refusal, "{name}: {value}");
    }
}

#[test]
fn a_token_without_a_session_is_the_clients_own() {
    let deployment = deployment(Algorithm::EdDSA);
    assert_eq!(deployment.refusal_of_claims(without("sid")), Some(TokenRefusal::NoSession));
    let own = deployment.refusal_of_claims(|payload| {
        without("sid")(payload);
        payload["sub"] = json!("authv2");
    });
    assert_eq!(own, None);
}

#[test]
fn keys_are_replaced_at_once_and_a_bad_set_replaces_nothing() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = mint(&deployment.service, &claims()).unwrap();
    let master = MasterKey::from_bytes(&[1; 32]);
    let next = new_key_record(Algorithm::ES256, NOW, &master).unwrap();
    let retired = SigningKeyRecord { state: KeyState::Retired, ..deployment.record.clone() };

    let broken = SigningKeyRecord { sealed: vec![1], ..next.clone() };
    assert!(deployment.service.reload(&[broken]).is_err());
    assert!(deployment.verify(&token).is_ok());

    deployment.service.reload(&[retired.clone(), next.clone()]).unwrap();
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::RetiredKey));
    deployment.service.reload(&[SigningKeyRecord { revoked_at: Some(NOW), ..retired }, next.clone()]).unwrap();
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::RevokedKey));
    deployment.service.reload(&[next]).unwrap();
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::UnknownKeyId));
    assert_eq!(deployment.service.key_made_at(&token), Some(NOW), "another node may have made it");
    let made_up = token.replacen("eyJ", "eyJhbGciOiJFZERTQSIsImtpZCI6IkFBQUFBQUFBQUFBQUFBQUFBQUFBQUEifQ", 1);
    assert_eq!(deployment.service.key_made_at(&made_up), None);
}

#[test]
fn no_token_outlives_its_key() {
    let mut deployment = deployment(Algorithm::EdDSA);
    deployment.record.token_life = 600;
    deployment.service.reload(&[deployment.record.clone()]).unwrap();
    assert_eq!(deployment.service.token_life(NOW), Duration::from_secs(600));
    assert!(mint(&deployment.service, &claims()).is_ok());
    let long = AccessClaims { exp: NOW + Duration::from_secs(601), ..claims() };
    assert!(matches!(mint(&deployment.service, &long), Err(MintError::TooLong)));
}

#[test]
fn without_an_active_key_nothing_is_minted() {
    let master = Arc::new(MasterKey::from_bytes(&[1; 32]));
    let pending = pending_key_record(Algorithm::EdDSA, NOW, &master).unwrap();
    let service = JwtService::new(ISSUER, ISSUER, &[pending], master).unwrap();
    assert!(matches!(mint(&service, &claims()), Err(MintError::NoActiveKey)));
}

#[test]
fn foreign_claims_are_judged_by_the_rules_and_not_interpreted() {
    let issuer = SigningKey::generate(Algorithm::ES256).unwrap();
    let jwks = json!({"keys": [issuer.public_jwk("k").unwrap()]});
    let keys = TrustedKeys::from_jwks(&jwks, None).unwrap();
    let mut rules = ClaimRules::access_token("https://issuer.example", "api");
    rules.required = vec!["sid".to_owned(), "groups".to_owned()];
    let judge = |payload: &str| {
        let token = sign_with(&issuer, r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#, payload);
        verify_jwt(&token, &keys, &rules, NOW)
    };
    let base = r#"{"iss":"https://issuer.example","aud":"api","exp":1700000001"#;
    assert_eq!(judge(&format!(r#"{base},"sid":"any text","groups":["a"]}}"#)), Ok(()));
    assert_eq!(judge(&format!(r#"{base},"sid":"any text"}}"#)), Err(TokenRefusal::MissingClaim));
    assert_eq!(judge(&format!(r#"{base},"sid":1,"sid":1,"groups":1}}"#)), Err(TokenRefusal::DuplicateClaim));
}
