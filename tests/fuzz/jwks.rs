//! Fuzzes the reading of JWK Sets, as other issuers send them: `fuzz_jwks CORPUS…`.
#![no_main]

use authv2_core::jwt::{Algorithm, Jwk, Jwks, MAX_TRUSTED_KEYS, TrustedKeys, verify_jws};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// Tokens that name no key, which every key of the set is asked about.
const TOKENS: [&str; 2] = [
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
     hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    "eyJhbGciOiJFUzI1NiJ9.e30.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];
const LISTS: [Option<&[Algorithm]>; 3] =
    [None, Some(Algorithm::ALL), Some(&[Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256])];

fuzz_target!(|input: &[u8]| {
    let Ok(set) = serde_json::from_slice::<Value>(input) else { return };
    for allowed in LISTS {
        let Ok(keys) = TrustedKeys::from_jwks(&set, allowed) else { continue };
        assert!(set["keys"].as_array().is_some_and(|keys| keys.len() <= MAX_TRUSTED_KEYS));
        let accepted = TOKENS.iter().map(|token| verify_jws(token, &keys).is_ok());
        // The second one's signature is of zeros: no key of any kind made it.
        assert!(accepted.collect::<Vec<_>>()[1..].iter().all(|accepted| !accepted));
    }
    if let Ok(jwks) = serde_json::from_value::<Jwks>(set) {
        jwks.keys.iter().take(MAX_TRUSTED_KEYS).for_each(holds_what_it_promises);
    }
});

fn holds_what_it_promises(jwk: &Jwk) {
    let written = serde_json::to_value(jwk).expect("JSON");
    for private in ["k", "d", "p", "q", "dp", "dq", "qi", "oth"] {
        assert!(written.get(private).is_none(), "nothing private is written");
    }
    let reread: Jwk = serde_json::from_value(written).expect("what was written");
    assert_eq!(jwk.thumbprint().ok(), reread.thumbprint().ok());
    for &algorithm in Algorithm::ALL {
        let fits = jwk.algorithms(Some(&[algorithm])).is_ok();
        let Ok(key) = jwk.verifying_key(algorithm) else { continue };
        assert!(fits, "a key for an algorithm that it is not for");
        assert_eq!(key.algorithm(), algorithm);
        assert!(!key.verifies(b"message", &[]));
        if !algorithm.is_symmetric() {
            assert!(reread.verifying_key(algorithm).is_ok(), "the public half is all of it");
            assert!(jwk.thumbprint().is_ok());
            let set = json!({"keys": [serde_json::to_value(jwk).expect("JSON")]});
            assert!(TrustedKeys::from_jwks(&set, Some(&[algorithm])).is_ok());
        }
    }
}
