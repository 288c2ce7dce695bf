//! Headers that would change what the signature means, or what the token is.

use super::*;

refused! {
    EdDSA: {
        crit_that_names_a_claim: CriticalExtension, |f| f.header_with("crit", json!(["exp"]));
        crit_that_names_nothing: CriticalExtension, |f| f.header_with("crit", json!([]));
        crit_null: CriticalExtension, |f| f.header_with("crit", Value::Null);
        crit_that_names_an_extension: CriticalExtension, |f| f.header_plus(r#""crit":["x"],"x":true"#);
        crit_spelt_with_escapes: CriticalExtension, |f| f.header_plus(r#""\u0063rit":["x"],"x":true"#);
        b64_false: UnencodedPayload, |f| f.header_with("b64", json!(false));
        b64_false_and_critical: UnencodedPayload, |f| f.header_plus(r#""b64":false,"crit":["b64"]"#);
        b64_true: UnencodedPayload, |f| f.header_with("b64", json!(true));
        cty_of_a_token: NestedToken, |f| f.header_with("cty", json!("JWT"));
        cty_of_a_token_as_a_media_type: NestedToken, |f| f.header_with("cty", json!("application/jwt"));
        cty_null: BadHeader, |f| f.header_with("cty", Value::Null);
        typ_missing: WrongType, |f| f.header_without("typ");
        typ_null: BadHeader, |f| f.header_with("typ", Value::Null);
        typ_empty: WrongType, |f| f.header_with("typ", json!(""));
        typ_a_list_with_the_right_one: BadHeader, |f| f.header_with("typ", json!(["at+jwt"]));
        typ_of_any_token: WrongType, |f| f.header_with("typ", json!("JWT"));
        typ_of_a_logout_token: WrongType, |f| f.header_with("typ", json!("logout+jwt"));
        typ_of_a_proof_of_possession: WrongType, |f| f.header_with("typ", json!("dpop+jwt"));
        typ_of_an_authorization_request: WrongType, |f| f.header_with("typ", json!("oauth-authz-req+jwt"));
        typ_with_a_space_behind: WrongType, |f| f.header_with("typ", json!("at+jwt "));
        typ_with_a_parameter: WrongType, |f| f.header_with("typ", json!("at+jwt; v=1"));
        typ_with_the_prefix_twice: WrongType, |f| f.header_with("typ", json!("application/application/at+jwt"));
        typ_of_another_tree: WrongType, |f| f.header_with("typ", json!("text/at+jwt"));
        a_header_member_twice: DuplicateHeader, |f| f.header_plus(r#""alg":"none""#);
        a_header_member_twice_in_two_spellings: DuplicateHeader, |f| f.header_plus(r#""\u0061lg":"none""#);
        a_kid_twice: DuplicateHeader, |f| f.header_plus(&format!(r#""kid":"{}""#, f.kid()));
        an_unknown_header_member_twice: DuplicateHeader, |f| f.header_plus(r#""x":1,"x":1"#);
        a_header_member_twice_further_down: DuplicateHeader, |f| f.header_plus(r#""jwk":{"kty":"OKP","kty":"oct"}"#);
        a_header_that_is_a_list: BadHeader, |f| f.raw(r#"["alg","EdDSA"]"#, f.claims.to_string());
        a_header_that_is_null: BadHeader, |f| f.raw("null", f.claims.to_string());
        a_header_with_something_behind: BadHeader, |f| f.raw(format!("{} x", f.header()), f.claims.to_string());
        a_header_with_a_byte_order_mark: BadHeader, |f| f.raw(format!("\u{feff}{}", f.header()), f.claims.to_string());
        a_header_that_is_not_utf8: BadHeader, |f| {
            let header = [f.header().to_string().trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat();
            f.raw(header, f.claims.to_string())
        };
        a_header_in_utf16: BadHeader, |f| {
            let header: Vec<u8> = f.header().to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
            f.raw(header, f.claims.to_string())
        };
        a_header_with_half_a_character: BadHeader, |f| f.header_plus(r#""x":"\ud800""#);
        a_header_nested_too_deep: BadHeader, |f| {
            f.header_plus(&format!(r#""x":{}{}"#, "[".repeat(200), "]".repeat(200)))
        };
        a_header_with_a_comment: BadHeader, |f| f.raw(f.header().to_string().replacen('{', "{/**/", 1), f.claims.to_string());
    }
}

// What the same deployment makes for other purposes.
refused! {
    EdDSA: {
        a_refresh_token: NotCompact, |_| format!("avr_{}", "A".repeat(43));
        a_session_cookie: NotCompact, |_| format!("avs_{}", "A".repeat(65));
        an_api_key: NotCompact, |_| format!("avk_live_{}_{}", "0".repeat(22), "0".repeat(49));
        a_sealed_value: NotCompact, |f| URL_SAFE_NO_PAD.encode(&f.deployment.record.sealed);
        a_proof_of_possession_by_our_own_key: WrongType, |f| {
            let jwk = serde_json::to_value(f.key().public_jwk(f.kid()).unwrap()).unwrap();
            let claims = json!({"jti": "x", "htm": "GET", "htu": "https://auth.example/auth/me", "iat": NOW_SECONDS});
            f.signed(&json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk}), &claims)
        };
        an_id_token_by_our_own_key: WrongType, |f| {
            let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": f.kid()});
            let mut claims = f.claims.clone();
            claims["nonce"] = json!("n");
            f.signed(&header, &claims)
        };
        an_introspection_answer_by_our_own_key: WrongType, |f| {
            f.header_with("typ", json!("token-introspection+jwt"))
        };
    }
}
