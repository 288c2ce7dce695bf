//! Project Wycheproof's JSON Web vectors against the core's JWS verification.

use authv2_core::jwt::{TrustedKeys, verify_jws};
use serde_json::{Value, json};
use wycheproof_ng_kdf_jose::json_web::{TestName, TestSet};

/// Vectors whose upstream verdict is wrong, and why.
const UPSTREAM_DEFECTS: [(TestName, usize, &str); 8] = [
    (TestName::JsonWebSignature, 346, "the key's alg is PS256, the token's PS384: algorithms belong to keys"),
    (TestName::JsonWebSignature, 347, "the key's alg ES521 does not exist"),
    (TestName::JsonWebSignature, 350, "as 346"),
    (TestName::JsonWebSignature, 351, "as 347"),
    (TestName::JsonWebSignature, 367, "the padding was lost in conversion: the token is that of the valid vector 357"),
    (TestName::JsonWebSignature, 370, "as 367"),
    (TestName::JsonWebSignature, 372, "a foreign character in base64url must be refused (RFC 4648 section 3.3)"),
    (TestName::JsonWebSignature, 373, "as 372"),
];

#[test]
fn agrees_with_every_sound_jws_vector() {
    let mut judged = 0;
    let mut disagreements = Vec::new();
    for name in [TestName::JsonWebSignature, TestName::JsonWebKey, TestName::JsonWebCrypto] {
        for group in TestSet::load(name).unwrap().test_groups {
            let Some(key) = group.public_key.or(group.private_key) else { continue };
            let jwks = if key.get("keys").is_some() { key } else { json!({"keys": [key]}) };
            let keys = TrustedKeys::from_jwks(&jwks, None);
            for test in group.tests {
                let Some(token) = test.jws else { continue };
                if UPSTREAM_DEFECTS.iter().any(|(set, id, _)| *set == name && *id == test.tc_id) {
                    continue;
                }
                let token = match token {
                    Value::String(token) => token,
                    serialized => serialized.to_string(),
                };
                judged += 1;
                let accepted = keys.as_ref().is_ok_and(|keys| verify_jws(&token, keys).is_ok());
                if accepted == test.result.must_fail() {
                    disagreements.push(format!("{name:?} {} {}", test.tc_id, test.comment));
                }
            }
        }
    }
    assert_eq!(disagreements, Vec::<String>::new());
    // Every case of a signature and of a key, and those of the third set that are no encryption.
    assert_eq!(judged, 401 + 26 + 49 - UPSTREAM_DEFECTS.len());
}
