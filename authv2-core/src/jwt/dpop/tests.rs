//! The examples of RFC 9449, and each way in which a proof can be no good.

use serde_json::json;

use super::*;
use crate::jwt::SigningKey;

/// Sections 4.1 and 5: a proof for a token request.
const TOKEN_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
/// Section 7.1: a proof with an access token.
const RESOURCE_REQUEST: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const ACCESS_TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
/// The thumbprint of their key, from section 6.1.
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

const NOW: i64 = 1_700_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn base(url: &str) -> Vec<Base> {
    vec![Base::of_url(url).unwrap()]
}

fn rules<'a>(bases: &'a [Base], method: &'a str, path: &'a str, access_token: Option<&'a str>) -> ProofRules<'a> {
    let (max_age, leeway) = (Duration::from_secs(60), Duration::from_secs(30));
    ProofRules { method, path, bases, access_token, max_age, leeway }
}

#[test]
fn takes_the_examples_of_rfc_9449() {
    let bases = base("https://server.example.com");
    let proven = verify_proof(TOKEN_REQUEST, &rules(&bases, "POST", "/token", None), at(1_562_262_616)).unwrap();
    assert_eq!((jkt(&proven.proof.key).as_str(), proven.nonce), (JKT, None));
    assert_eq!(proven.proof.expires_at, at(1_562_262_616 + 90));

    let bases = base("https://resource.example.org");
    let rules = |token| rules(&bases, "GET", "/protectedresource", Some(token));
    let other = verify_proof(RESOURCE_REQUEST, &rules(ACCESS_TOKEN), at(1_562_262_620)).unwrap();
    assert_eq!(other.proof.key, proven.proof.key);
    assert_ne!(other.proof.id, proven.proof.id);
    let refused = verify_proof(RESOURCE_REQUEST, &rules("another"), at(1_562_262_620));
    assert_eq!(refused, Err(ProofRefusal::WrongToken));
}

/// A client with its key.
struct Client {
    key: SigningKey,
    jwk: Value,
}

impl Client {
    fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm).unwrap();
        let mut jwk = serde_json::to_value(key.public_jwk("k")).unwrap();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| !["use", "alg", "kid"].contains(&name.as_str()));
        }
        Self { key, jwk }
    }

    fn header(&self) -> Value {
        json!({"typ": PROOF_TYPE, "alg": self.key.algorithm().as_str(), "jwk": self.jwk})
    }

    /// Signs any texts as header and payload.
    fn sign(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn prove(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

fn claims() -> Value {
    json!({"jti": "j", "htm": "GET", "htu": "https://api.example.com/orders", "iat": NOW})
}

fn judge(proof: &str) -> Result<Proven, ProofRefusal> {
    verify_proof(proof, &rules(&base("https://api.example.com"), "GET", "/orders", None), at(NOW))
}

/// `value` with one member set, or removed by `null`.
fn with(mut value: Value, name: &str, member: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    if member.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), member)
    };
    value
}

#[test]
fn takes_a_proof_by_every_asymmetric_algorithm() {
    for algorithm in proof_algorithms() {
        let client = Client::new(algorithm);
        let proven = judge(&client.prove(&claims())).unwrap();
        assert_eq!(jkt(&proven.proof.key), Jwk::deserialize(&client.jwk).unwrap().thumbprint().unwrap(), "{algorithm}");
    }
    assert_eq!(proof_algorithms().count(), Algorithm::ALL.len() - 3);
}

#[test]
fn a_proof_is_known_by_its_key_and_its_name() {
    let (one, two) = (Client::new(Algorithm::ES256), Client::new(Algorithm::ES256));
    let id = |client: &Client, claims: &Value| judge(&client.prove(claims)).unwrap().proof.id;
    let later = with(claims(), "iat", json!(NOW + 1));
    assert_eq!(id(&one, &claims()), id(&one, &later), "another signature does not make it another proof");
    assert_ne!(id(&one, &claims()), id(&one, &with(claims(), "jti", json!("i"))));
    assert_ne!(id(&one, &claims()), id(&two, &claims()));
}

#[test]
fn each_claim_is_judged() {
    let client = Client::new(Algorithm::ES256);
    for (name, member, refusal) in [
        ("jti", Value::Null, TokenRefusal::MissingClaim.into()),
        ("jti", json!(""), TokenRefusal::EmptyClaim.into()),
        ("jti", json!(7), TokenRefusal::MalformedClaim.into()),
        ("htm", Value::Null, TokenRefusal::MissingClaim.into()),
        ("htm", json!("POST"), ProofRefusal::WrongMethod),
        ("htm", json!("get"), ProofRefusal::WrongMethod),
        ("htu", Value::Null, TokenRefusal::MissingClaim.into()),
        ("htu", json!("https://api.example.com/other"), ProofRefusal::WrongTarget),
        ("htu", json!("https://evil.example/orders"), ProofRefusal::WrongTarget),
        ("htu", json!("http://api.example.com/orders"), ProofRefusal::WrongTarget),
        ("htu", json!(["https://api.example.com/orders"]), TokenRefusal::MalformedClaim.into()),
        ("iat", Value::Null, TokenRefusal::MissingClaim.into()),
        ("iat", json!("now"), TokenRefusal::MalformedClaim.into()),
        ("iat", json!(1e300), TokenRefusal::MalformedClaim.into()),
        ("iat", json!(NOW - 91), ProofRefusal::TooOld),
        ("iat", json!(NOW + 31), TokenRefusal::IssuedInFuture.into()),
        ("exp", json!(NOW - 30), TokenRefusal::Expired.into()),
        ("nbf", json!(NOW + 31), TokenRefusal::NotYetValid.into()),
        ("nonce", json!(7), TokenRefusal::MalformedClaim.into()),
        ("ath", json!(7), TokenRefusal::MalformedClaim.into()),
    ] {
        let claims = with(claims(), name, member);
        assert_eq!(judge(&client.prove(&claims)), Err(refusal), "{claims}");
    }
    for (name, member) in [
        ("iat", json!(NOW - 90)),
        ("iat", json!(NOW + 30)),
        ("iat", json!(NOW as f64 + 0.5)),
        ("exp", json!(NOW)),
        ("nbf", json!(NOW + 30)),
        ("htu", json!("HTTPS://API.example.com:443/orders?page=2#x")),
        // Nothing asks for it here.
        ("ath", json!("x")),
        ("extra", json!({"a": [1]})),
    ] {
        let claims = with(claims(), name, member);
        assert!(judge(&client.prove(&claims)).is_ok(), "{claims}");
    }
    assert_eq!(judge(&client.prove(&with(claims(), "nonce", json!("n")))).unwrap().nonce.as_deref(), Some("n"));
}

#[test]
fn an_access_token_wants_its_own_hash() {
    let client = Client::new(Algorithm::EdDSA);
    let hash = |token: &str| json!(URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())));
    let bases = base("https://api.example.com");
    let judge = |member| {
        let proof = client.prove(&with(claims(), "ath", member));
        verify_proof(&proof, &rules(&bases, "GET", "/orders", Some("token")), at(NOW)).map(|_| ())
    };
    assert_eq!(judge(hash("token")), Ok(()));
    assert_eq!(judge(hash("tokem")), Err(ProofRefusal::WrongToken));
    assert_eq!(judge(json!("token")), Err(ProofRefusal::WrongToken));
    assert_eq!(judge(Value::Null), Err(TokenRefusal::MissingClaim.into()));
    assert_eq!(judge(json!("")), Err(TokenRefusal::EmptyClaim.into()));
}

#[test]
fn the_header_is_judged() {
    let client = Client::new(Algorithm::ES256);
    let other = Client::new(Algorithm::ES256);
    let private = |name: &str| with(client.header(), "jwk", with(client.jwk.clone(), name, json!("AAAA")));
    for (header, refusal) in [
        (with(client.header(), "typ", Value::Null), TokenRefusal::WrongType.into()),
        (with(client.header(), "typ", json!("JWT")), TokenRefusal::WrongType.into()),
        (with(client.header(), "typ", json!("at+jwt")), TokenRefusal::WrongType.into()),
        (with(client.header(), "typ", json!("DPoP+JWT")), TokenRefusal::WrongType.into()),
        (with(client.header(), "typ", json!("application/dpop+jwt")), TokenRefusal::WrongType.into()),
        (with(client.header(), "alg", Value::Null), TokenRefusal::BadHeader.into()),
        (with(client.header(), "alg", json!("none")), TokenRefusal::Unsigned.into()),
        (with(client.header(), "alg", json!("HS256")), TokenRefusal::UnsupportedAlgorithm.into()),
        (with(client.header(), "alg", json!("ES256K")), TokenRefusal::UnsupportedAlgorithm.into()),
        (with(client.header(), "alg", json!("ES384")), TokenRefusal::AlgorithmMismatch.into()),
        (with(client.header(), "alg", json!("RS256")), TokenRefusal::AlgorithmMismatch.into()),
        (with(client.header(), "crit", json!(["exp"])), TokenRefusal::CriticalExtension.into()),
        (with(client.header(), "b64", json!(false)), TokenRefusal::UnencodedPayload.into()),
        (with(client.header(), "jwk", Value::Null), ProofRefusal::MissingKey),
        (with(client.header(), "jwk", json!("key")), TokenRefusal::UnusableKey.into()),
        (with(client.header(), "jwk", json!([])), TokenRefusal::UnusableKey.into()),
        (with(client.header(), "jwk", json!({})), TokenRefusal::UnusableKey.into()),
        (with(client.header(), "jwk", json!({"kty": "oct"})), TokenRefusal::AlgorithmMismatch.into()),
        (with(client.header(), "jwk", other.jwk.clone()), TokenRefusal::BadSignature.into()),
        (with(client.header(), "jwk", with(client.jwk.clone(), "x", json!("AAAA"))), TokenRefusal::UnusableKey.into()),
        (with(client.header(), "jwk", with(client.jwk.clone(), "x", Value::Null)), TokenRefusal::UnusableKey.into()),
        (with(client.header(), "jwk", with(client.jwk.clone(), "use", json!("enc"))), TokenRefusal::UnusableKey.into()),
        (private("d"), ProofRefusal::PrivateKey),
        (private("k"), ProofRefusal::PrivateKey),
        (private("oth"), ProofRefusal::PrivateKey),
    ] {
        assert_eq!(judge(&client.sign(&header.to_string(), &claims().to_string())), Err(refusal), "{header}");
    }
    // A key elsewhere is not looked for, and a name for one means nothing.
    let header = with(with(client.header(), "jku", json!("https://evil.example")), "kid", json!("other"));
    assert!(judge(&client.sign(&header.to_string(), &claims().to_string())).is_ok());
}

#[test]
fn refuses_a_weak_rsa_key() {
    let client = Client::new(Algorithm::RS256);
    for (name, member) in [("n", "AQAB"), ("e", "AQ"), ("e", "Ag")] {
        let header = with(client.header(), "jwk", with(client.jwk.clone(), name, json!(member)));
        let proof = client.sign(&header.to_string(), &claims().to_string());
        assert_eq!(judge(&proof), Err(TokenRefusal::UnusableKey.into()), "{name}");
    }
}

#[test]
fn nothing_is_read_two_ways() {
    let client = Client::new(Algorithm::ES256);
    let (header, payload) = (client.header().to_string(), claims().to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for (header, payload, refusal) in [
        (twice(&header, r#""alg":"ES256""#), payload.clone(), TokenRefusal::DuplicateHeader),
        (header.replacen(r#""jwk":{"#, r#""jwk":{"kty":"EC","#, 1), payload.clone(), TokenRefusal::DuplicateHeader),
        (
            header.replacen(r#""jwk":{"#, r#""jwk":{"\u006bty":"EC","#, 1),
            payload.clone(),
            TokenRefusal::DuplicateHeader,
        ),
        (header.clone(), twice(&payload, r#""htm":"POST""#), TokenRefusal::DuplicateClaim),
        (header.clone(), twice(&payload, r#""\u0068tm":"GET""#), TokenRefusal::DuplicateClaim),
        (header.clone(), twice(&payload, r#""x":{"a":1,"a":2}"#), TokenRefusal::DuplicateClaim),
        (header.clone(), format!("{payload} x"), TokenRefusal::BadPayload),
        (header.clone(), format!("[{payload}]"), TokenRefusal::BadPayload),
        (header.clone(), String::new(), TokenRefusal::BadPayload),
        (format!("[{header}]"), payload.clone(), TokenRefusal::BadHeader),
    ] {
        assert_eq!(judge(&client.sign(&header, &payload)), Err(refusal.into()), "{header} {payload}");
    }
}

#[test]
fn is_a_compact_jws_of_bounded_size() {
    let proof = Client::new(Algorithm::ES256).prove(&claims());
    let (input, signature) = proof.rsplit_once('.').unwrap();
    for (text, refusal) in [
        (String::new(), TokenRefusal::NotCompact),
        (input.to_owned(), TokenRefusal::NotCompact),
        (format!("{proof}.x"), TokenRefusal::NotCompact),
        (format!("{proof}="), TokenRefusal::BadEncoding),
        (format!("{proof}, {proof}"), TokenRefusal::NotCompact),
        (format!(" {proof}"), TokenRefusal::BadEncoding),
        (format!("{input}."), TokenRefusal::BadSignature),
        (format!("{input}.{}", "A".repeat(signature.len())), TokenRefusal::BadSignature),
        ("x".repeat(9000), TokenRefusal::TooLarge),
    ] {
        assert!(
            matches!(judge(&text), Err(ProofRefusal::Jws(found)) if found == refusal),
            "{text}: {:?}",
            judge(&text)
        );
    }
}

#[test]
fn reasons_have_names_of_their_own() {
    let own = [
        ProofRefusal::Several,
        ProofRefusal::Missing,
        ProofRefusal::MissingKey,
        ProofRefusal::PrivateKey,
        ProofRefusal::WrongMethod,
        ProofRefusal::WrongTarget,
        ProofRefusal::WrongToken,
        ProofRefusal::TooOld,
        ProofRefusal::WrongNonce,
        ProofRefusal::Used,
    ];
    let all = TokenRefusal::ALL.iter().map(|&refusal| ProofRefusal::Jws(refusal)).chain(own);
    let names: std::collections::HashSet<_> = all.map(ProofRefusal::as_str).collect();
    assert_eq!(names.len(), TokenRefusal::ALL.len() + own.len());
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{names:?}");
}
