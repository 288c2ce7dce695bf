//! Fuzzes the judging of access tokens: `fuzz_token CORPUS…`.
//!
//! The first line of an input says what follows: a token as it comes; or a header and a payload, a line each, that are
//! signed here, since no fuzzer finds a signature. `KID` stands for the key's name.
#![no_main]

use std::sync::LazyLock;

use authv2_core::{
    clock::Timestamp,
    jwt::{
        AccessClaims, Algorithm, ClaimRules, KeySet, MAX_TOKEN_BYTES, OpenedToken, SigningKey, TrustedKeys,
        claimed_issuer, open_token, seal_key, verify_access_token, verify_jws, verify_jwt,
    },
    master_key::MasterKey,
    store::KeyState,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey, Validation, crypto};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
const ISSUER: &str = "https://auth.example";
const SECRET: &[u8; 32] = b"a shared key of thirty-two bytes";

struct World {
    keys: KeySet,
    kid: String,
    rules: ClaimRules,
    trusted: TrustedKeys,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let master = MasterKey::from_bytes(&[1; 32]);
    let key = SigningKey::from_secret(Algorithm::HS256, SECRET).expect("a key");
    let record = seal_key(&key, KeyState::Active, NOW, &master).expect("a sealed key");
    let jwks =
        json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": record.kid, "k": URL_SAFE_NO_PAD.encode(SECRET)}]});
    World {
        keys: KeySet::open(std::slice::from_ref(&record), &master).expect("a key set"),
        kid: record.kid,
        rules: ClaimRules::access_token(ISSUER, ISSUER),
        trusted: TrustedKeys::from_jwks(&jwks, None).expect("keys"),
    }
});

fuzz_target!(|input: &[u8]| {
    if let Some(rest) = input.strip_prefix(b"signed\n") {
        judge(&signed(rest));
    } else if let Ok(token) = std::str::from_utf8(input.strip_prefix(b"token\n").unwrap_or(input)) {
        judge(token);
    }
});

fn signed(input: &[u8]) -> String {
    let place = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (header, payload) = input.split_at(place);
    let named = |part: &[u8]| match std::str::from_utf8(part) {
        Ok(text) => URL_SAFE_NO_PAD.encode(text.replace("KID", &WORLD.kid)),
        Err(_) => URL_SAFE_NO_PAD.encode(part),
    };
    let message = format!("{}.{}", named(header), named(payload.strip_prefix(b"\n").unwrap_or_default()));
    let key = EncodingKey::from_secret(SECRET);
    let signature = crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).expect("a signature");
    format!("{message}.{signature}")
}

fn judge(token: &str) {
    let world = &*WORLD;
    let verdict = verify_access_token(token, &world.keys, &world.rules, NOW);
    let foreign = verify_jwt(token, &world.trusted, &world.rules, NOW);
    let payload = verify_jws(token, &world.trusted);
    if foreign.is_ok() {
        assert!(payload.is_ok(), "a JWT that is no JWS");
    }
    let types = [None, Some("JWT".to_owned()), Some("at+jwt".to_owned())];
    let opened = open_token(token, &world.trusted, &types);
    if let Ok(opened) = &opened {
        names_its_issuer(token, opened, payload.as_deref().expect("an opened token is a JWS"));
    }
    let Ok(claims) = verdict else { return };
    assert!(opened.is_ok(), "ours are stricter than what is asked of others: {opened:?}");
    assert!(foreign.is_ok(), "ours are stricter than what is asked of others: {foreign:?}");
    let payload = payload.expect("what verifies has a payload");
    holds_what_it_promises(token, &claims, &payload);
    agrees_with_another_library(token, &claims);
}

/// Whose keys a token is tried with is said by what they verify.
fn names_its_issuer(token: &str, opened: &OpenedToken, payload: &[u8]) {
    let plain: Value = serde_json::from_slice(payload).expect("JSON");
    assert_eq!(opened.claims.get("iss"), plain.get("iss"));
    assert_eq!(claimed_issuer(token).as_deref(), plain["iss"].as_str());
}

/// A token that is taken is the only spelling of itself, and says what it was taken for.
fn holds_what_it_promises(token: &str, claims: &AccessClaims, payload: &[u8]) {
    assert!(token.len() <= MAX_TOKEN_BYTES);
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    for part in &parts {
        let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes), *part, "the one spelling");
    }
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[0]).expect("base64url")).expect("JSON");
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("HS256"), Some(&*WORLD.kid)));
    let typ = header["typ"].as_str().expect("a type").to_ascii_lowercase();
    assert!(matches!(&*typ, "at+jwt" | "application/at+jwt"));
    assert!(header.get("crit").is_none() && header.get("b64").is_none());

    let plain: Value = serde_json::from_slice(payload).expect("JSON");
    assert_eq!((claims.iss.as_str(), plain["iss"].as_str()), (ISSUER, Some(ISSUER)));
    assert!(claims.aud.contains(ISSUER));
    assert!(claims.exp > NOW);
    assert!(claims.iat <= NOW + WORLD.rules.leeway);
    assert_eq!(plain["sub"].as_str(), Some(&*claims.sub));
    assert_eq!(plain["jti"].as_str(), Some(&*claims.jti));
    assert!(![&claims.sub, &claims.jti, &claims.client_id].into_iter().any(String::is_empty));
    assert!(claims.sid.is_some() || claims.sub == claims.client_id);
    assert_eq!(plain.get("cnf").is_some(), claims.cnf.is_some());
    // What was understood can be written, and is understood the same way again.
    let again = signed(format!("{}\n{}", header, serde_json::to_string(claims).expect("JSON")).as_bytes());
    if again.len() <= MAX_TOKEN_BYTES {
        let reread = verify_access_token(&again, &WORLD.keys, &WORLD.rules, NOW);
        // Written in whole seconds, it may end now.
        if claims.exp.as_seconds() > NOW.as_seconds() {
            assert_eq!(reread.expect("it is as good").token_id(), claims.token_id());
        }
    }
}

/// `jsonwebtoken` takes what is taken here. The moment is this test's own.
fn agrees_with_another_library(token: &str, claims: &AccessClaims) {
    let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&[ISSUER]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    let theirs = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_secret(SECRET), &validation);
    assert_eq!(theirs.expect("they take it too").claims["sub"].as_str(), Some(&*claims.sub));
}
