//! From whom a token is, for whom, and about whom.

use super::*;

refused! {
    EdDSA: {
        iss_missing: MissingClaim, |f| f.claim_without("iss");
        iss_empty: WrongIssuer, |f| f.claim("iss", json!(""));
        iss_with_a_slash_behind: WrongIssuer, |f| f.claim("iss", json!("https://auth.example/"));
        iss_in_another_case: WrongIssuer, |f| f.claim("iss", json!("https://Auth.example"));
        iss_without_encryption: WrongIssuer, |f| f.claim("iss", json!("http://auth.example"));
        iss_that_begins_like_ours: WrongIssuer, |f| f.claim("iss", json!("https://auth.example.evil"));
        iss_with_a_nul_behind: WrongIssuer, |f| f.claim("iss", json!("https://auth.example\0"));
        iss_that_looks_like_ours: WrongIssuer, |f| f.claim("iss", json!("https://\u{430}uth.example"));
        iss_in_a_list: MalformedClaim, |f| f.claim("iss", json!([ISSUER]));
        aud_missing: MissingClaim, |f| f.claim_without("aud");
        aud_null: MalformedClaim, |f| f.claim("aud", Value::Null);
        aud_empty: WrongAudience, |f| f.claim("aud", json!(""));
        aud_of_nobody: WrongAudience, |f| f.claim("aud", json!([]));
        aud_of_others: WrongAudience, |f| f.claim("aud", json!(["https://a.example", "https://b.example"]));
        aud_that_contains_ours: WrongAudience, |f| f.claim("aud", json!("x https://auth.example x"));
        aud_a_number: MalformedClaim, |f| f.claim("aud", json!(1));
        aud_an_object: MalformedClaim, |f| f.claim("aud", json!({ISSUER: true}));
        aud_with_a_number_beside_ours: MalformedClaim, |f| f.claim("aud", json!([ISSUER, 1]));
        aud_nested: MalformedClaim, |f| f.claim("aud", json!([[ISSUER]]));
        sub_missing: MissingClaim, |f| f.claim_without("sub");
        sub_empty: EmptyClaim, |f| f.claim("sub", json!(""));
        sub_a_number: MalformedClaim, |f| f.claim("sub", json!(1));
        sub_an_object: MalformedClaim, |f| f.claim("sub", json!({"$ne": ""}));
        jti_missing: MissingClaim, |f| f.claim_without("jti");
        jti_empty: EmptyClaim, |f| f.claim("jti", json!(""));
        jti_a_number: MalformedClaim, |f| f.claim("jti", json!(1));
        client_id_missing: MissingClaim, |f| f.claim_without("client_id");
        client_id_empty: EmptyClaim, |f| f.claim("client_id", json!(""));
        sid_missing: NoSession, |f| f.claim_without("sid");
        sid_null: MalformedClaim, |f| f.claim("sid", Value::Null);
        sid_empty: MalformedClaim, |f| f.claim("sid", json!(""));
        sid_of_no_id: MalformedClaim, |f| f.claim("sid", json!("1 OR 1=1"));
        sid_a_number: MalformedClaim, |f| f.claim("sid", json!(1));
        org_of_no_id: MalformedClaim, |f| f.claim("org", json!("*"));
        store_in_a_list: MalformedClaim, |f| f.claim("store", json!([]));
        amr_text: MalformedClaim, |f| f.claim("amr", json!("pwd otp"));
        acr_a_number: MalformedClaim, |f| f.claim("acr", json!(2));
        auth_time_text: MalformedClaim, |f| f.claim("auth_time", json!("today"));
        scope_in_a_list: MalformedClaim, |f| f.claim("scope", json!(["orders:read"]));
        cnf_of_another_kind: MalformedClaim, |f| f.claim("cnf", json!({"x5t#S256": "AAAA"}));
        cnf_of_two_kinds: MalformedClaim, |f| f.claim("cnf", json!({"jkt": "AAAA", "x5t#S256": "AAAA"}));
        cnf_empty: MalformedClaim, |f| f.claim("cnf", json!({}));
        cnf_null: MalformedClaim, |f| f.claim("cnf", Value::Null);
    }
}
