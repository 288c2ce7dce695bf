//! Payloads that two parsers would read in two ways.

use super::*;

refused! {
    EdDSA: {
        a_payload_that_is_null: BadPayload, |f| f.payload("null");
        a_payload_that_is_a_list: BadPayload, |f| f.payload(format!("[{}]", f.claims));
        a_payload_that_is_a_string: BadPayload, |f| f.payload(json!(f.claims.to_string()).to_string());
        a_payload_that_is_a_number: BadPayload, |f| f.payload("1");
        a_payload_that_is_another_token: BadPayload, |f| f.payload(f.good());
        two_objects: BadPayload, |f| f.payload(format!("{0}{0}", f.claims));
        an_object_cut_short: BadPayload, |f| f.payload(f.claims.to_string().trim_end_matches('}'));
        a_comma_too_many: BadPayload, |f| f.payload(f.claims.to_string().replace('}', ",}"));
        a_comment: BadPayload, |f| f.payload(format!("{}//", f.claims));
        single_quotes: BadPayload, |f| f.payload(f.claims.to_string().replace('"', "'"));
        names_without_quotes: BadPayload, |f| f.payload(f.claims.to_string().replace("\"iss\"", "iss"));
        a_byte_order_mark: BadPayload, |f| f.payload(format!("\u{feff}{}", f.claims));
        a_payload_that_is_not_utf8: BadPayload, |f| {
            f.payload([f.claims.to_string().trim_end_matches('}').as_bytes(), b",\"x\":\"\xff\"}"].concat())
        };
        a_payload_of_overlong_utf8: BadPayload, |f| {
            f.payload([f.claims.to_string().trim_end_matches('}').as_bytes(), b",\"x\":\"\xc0\xae\"}"].concat())
        };
        a_payload_in_utf16: BadPayload, |f| {
            f.payload(f.claims.to_string().encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
        };
        half_a_character: BadPayload, |f| f.payload_plus(r#""x":"\ud800""#);
        half_a_character_in_a_name: BadPayload, |f| f.payload_plus(r#""\udc00":1"#);
        a_line_feed_in_a_string: BadPayload, |f| f.payload_plus("\"x\":\"a\nb\"");
        a_nul_behind_the_object: BadPayload, |f| f.payload(format!("{}\0", f.claims));
        nested_too_deep_in_lists: BadPayload, |f| {
            f.payload_plus(&format!(r#""x":{}{}"#, "[".repeat(2000), "]".repeat(2000)))
        };
        nested_too_deep_in_objects: BadPayload, |f| {
            f.payload_plus(&format!(r#""x":{}1{}"#, r#"{"a":"#.repeat(500), "}".repeat(500)))
        };
        sub_twice: DuplicateClaim, |f| f.payload_plus(r#""sub":"somebody-else""#);
        sub_twice_in_two_spellings: DuplicateClaim, |f| f.payload_plus(r#""\u0073ub":"somebody-else""#);
        sub_twice_the_same: DuplicateClaim, |f| f.payload_plus(r#""sub":"0197-user""#);
        exp_twice: DuplicateClaim, |f| f.payload_plus(r#""exp":9999999999"#);
        jti_twice: DuplicateClaim, |f| f.payload_plus(r#""jti":"another""#);
        an_unknown_claim_twice: DuplicateClaim, |f| f.payload_plus(r#""x":1,"x":1"#);
        an_unknown_claim_twice_in_two_spellings: DuplicateClaim, |f| f.payload_plus(r#""admin":0,"\u0061dmin":1"#);
        a_name_twice_further_down: DuplicateClaim, |f| f.payload_plus(r#""x":[{"y":{"z":1,"z":2}}]"#);
    }
}
