//! Who chooses the algorithm, and the key: never the token.

use super::*;

refused! {
    EdDSA: {
        alg_none_without_a_signature: Unsigned, |f| {
            let mut header = f.header();
            header["alg"] = json!("none");
            format!("{}.", f.input_of(&header))
        };
        alg_none_in_capitals: Unsigned, |f| f.header_with("alg", json!("NONE"));
        alg_none_in_mixed_case: Unsigned, |f| f.header_with("alg", json!("nOnE"));
        alg_none_with_a_good_signature: Unsigned, |f| f.header_with("alg", json!("none"));
        alg_none_spelt_with_escapes: Unsigned, |f| {
            let header = f.header().to_string().replace("EdDSA", r"\u006eone");
            f.raw(header, f.claims.to_string())
        };
        alg_none_with_a_space_behind: UnsupportedAlgorithm, |f| f.header_with("alg", json!("none "));
        alg_empty: UnsupportedAlgorithm, |f| f.header_with("alg", json!(""));
        alg_missing: BadHeader, |f| f.header_without("alg");
        alg_null: BadHeader, |f| f.header_with("alg", Value::Null);
        alg_a_number: BadHeader, |f| f.header_with("alg", json!(1));
        alg_a_list_with_the_right_one: BadHeader, |f| f.header_with("alg", json!(["EdDSA"]));
        alg_in_another_case: UnsupportedAlgorithm, |f| f.header_with("alg", json!("EDDSA"));
        alg_with_a_nul_behind: UnsupportedAlgorithm, |f| f.header_with("alg", json!("EdDSA\0"));
        alg_of_a_newer_name_for_the_same: UnsupportedAlgorithm, |f| f.header_with("alg", json!("Ed25519"));
        alg_of_another_curve: UnsupportedAlgorithm, |f| f.header_with("alg", json!("ES256K"));
        alg_of_encryption: UnsupportedAlgorithm, |f| f.header_with("alg", json!("RSA-OAEP-256"));
        alg_of_another_family: AlgorithmMismatch, |f| f.header_with("alg", json!("ES256"));
        an_hmac_under_the_public_key: AlgorithmMismatch, |f| f.hmac(&f.public());
        an_hmac_under_the_public_key_as_json: AlgorithmMismatch, |f| {
            f.hmac(serde_json::to_string(&f.key().public_jwk(f.kid()).unwrap()).unwrap().as_bytes())
        };
        an_hmac_under_the_public_key_as_pem: AlgorithmMismatch, |f| {
            use base64::engine::general_purpose::STANDARD;
            let der = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0], f.public().as_slice()].concat();
            f.hmac(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der)).as_bytes())
        };
        an_hmac_under_nothing: AlgorithmMismatch, |f| f.hmac(b"");
        an_hmac_under_the_kid: AlgorithmMismatch, |f| f.hmac(f.kid().as_bytes());
        kid_missing: MissingKeyId, |f| f.header_without("kid");
        kid_null: BadHeader, |f| f.header_with("kid", Value::Null);
        kid_a_number: BadHeader, |f| f.header_with("kid", json!(0));
        kid_a_list_with_the_right_one: BadHeader, |f| f.header_with("kid", json!([f.kid()]));
        kid_empty: UnknownKeyId, |f| f.header_with("kid", json!(""));
        kid_of_a_file: UnknownKeyId, |f| f.header_with("kid", json!("../../../../dev/null"));
        kid_of_a_query: UnknownKeyId, |f| f.header_with("kid", json!("x' UNION SELECT 'secret' --"));
        kid_of_a_command: UnknownKeyId, |f| f.header_with("kid", json!("|/bin/id"));
        kid_of_a_url: UnknownKeyId, |f| f.header_with("kid", json!("https://evil.example/keys"));
        kid_as_long_as_fits: UnknownKeyId, |f| f.header_with("kid", json!("k".repeat(4000)));
        kid_in_another_case: UnknownKeyId, |f| {
            let swapped = f.kid().chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
            f.header_with("kid", json!(swapped.collect::<String>()))
        };
        kid_with_a_space_behind: UnknownKeyId, |f| f.header_with("kid", json!(format!("{} ", f.kid())));
        kid_with_a_nul_behind: UnknownKeyId, |f| f.header_with("kid", json!(format!("{}\0", f.kid())));
        kid_of_another_deployment: UnknownKeyId, |f| {
            let other = deployment(Algorithm::EdDSA);
            f.by(&other.key, &other.header())
        };
        a_key_of_another_deployment_under_our_kid: BadSignature, |f| {
            f.by(&SigningKey::generate(Algorithm::EdDSA).unwrap(), &f.header())
        };
        a_jwk_brought_along: BadSignature, |f| {
            let forger = SigningKey::generate(Algorithm::EdDSA).unwrap();
            let mut header = f.header();
            header["jwk"] = serde_json::to_value(forger.public_jwk(f.kid()).unwrap()).unwrap();
            f.by(&forger, &header)
        };
        a_jwk_brought_along_without_a_kid: MissingKeyId, |f| {
            let forger = SigningKey::generate(Algorithm::EdDSA).unwrap();
            let jwk = serde_json::to_value(forger.public_jwk(f.kid()).unwrap()).unwrap();
            f.by(&forger, &json!({"typ": "at+jwt", "alg": "EdDSA", "jwk": jwk}))
        };
        a_jku_pointed_to: BadSignature, |f| {
            let mut header = f.header();
            header["jku"] = json!("http://127.0.0.1:1/jwks.json");
            f.by(&SigningKey::generate(Algorithm::EdDSA).unwrap(), &header)
        };
        an_x5u_pointed_to: BadSignature, |f| {
            let mut header = f.header();
            header["x5u"] = json!("file:///etc/ssl/certs/ca.pem");
            f.by(&SigningKey::generate(Algorithm::EdDSA).unwrap(), &header)
        };
        an_x5c_brought_along: BadSignature, |f| {
            let mut header = f.header();
            header["x5c"] = json!(["MIIB", "MIIC"]);
            header["x5t#S256"] = json!("AAAA");
            f.by(&SigningKey::generate(Algorithm::EdDSA).unwrap(), &header)
        };
    }
    RS256: {
        pss_under_the_pkcs1_key: AlgorithmMismatch, |f| {
            let pss = SigningKey::from_private_bytes(Algorithm::PS256, &f.key().private_bytes().unwrap()).unwrap();
            let mut header = f.header();
            header["alg"] = json!("PS256");
            f.by(&pss, &header)
        };
        pss_called_pkcs1: BadSignature, |f| {
            let pss = SigningKey::from_private_bytes(Algorithm::PS256, &f.key().private_bytes().unwrap()).unwrap();
            f.by(&pss, &f.header())
        };
        another_digest_called_sha256: BadSignature, |f| {
            let longer = SigningKey::from_private_bytes(Algorithm::RS512, &f.key().private_bytes().unwrap()).unwrap();
            f.by(&longer, &f.header())
        };
        an_hmac_under_the_modulus: AlgorithmMismatch, |f| f.hmac(&f.public());
        an_rsa_signature_of_zeros: BadSignature, |f| f.signature(|signature| vec![0; signature.len()]);
        an_rsa_signature_of_one: BadSignature, |f| f.signature(|signature| {
            let mut one = vec![0; signature.len()];
            *one.last_mut().unwrap() = 1;
            one
        });
        an_rsa_signature_over_the_modulus: BadSignature, |f| f.signature(|signature| vec![0xff; signature.len()]);
        an_rsa_signature_with_a_zero_before_it: BadSignature, |f| f.signature(|signature| [&[0], &*signature].concat());
        an_rsa_signature_cut_short: BadSignature, |f| f.signature(|signature| signature[1..].to_vec());
    }
}

#[test]
fn a_retired_key_signs_nothing_that_is_taken() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = mint(&deployment.service, &claims()).unwrap();
    let retired = SigningKeyRecord { state: KeyState::Retired, ..deployment.record.clone() };
    deployment.service.reload(&[retired]).unwrap();
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::RetiredKey));
}

#[test]
fn a_key_retired_by_time_alone_signs_nothing_that_is_taken() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = mint(&deployment.service, &claims()).unwrap();
    let retiring = SigningKeyRecord { state: KeyState::Retiring, retires_at: Some(NOW), ..deployment.record.clone() };
    deployment.service.reload(&[retiring]).unwrap();
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::RetiredKey));
}

#[test]
fn the_kid_of_another_key_of_ours_brings_its_algorithm() {
    let master = Arc::new(MasterKey::from_bytes(&[1; 32]));
    let deployment = deployment(Algorithm::EdDSA);
    let other = new_key_record(Algorithm::ES256, NOW, &master).unwrap();
    deployment.service.reload(&[deployment.record.clone(), other.clone()]).unwrap();
    let mut header = deployment.header();
    header["kid"] = json!(other.kid);
    let token = deployment.sign(&header.to_string(), &serde_json::to_string(&claims()).unwrap());
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::AlgorithmMismatch));
}
