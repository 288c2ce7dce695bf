//! When a token is good: to the moment, in whatever notation.

use super::*;

refused! {
    EdDSA: {
        exp_missing: MissingClaim, |f| f.claim_without("exp");
        exp_null: MalformedClaim, |f| f.claim("exp", Value::Null);
        exp_text: MalformedClaim, |f| f.claim("exp", json!("1700000600"));
        exp_true: MalformedClaim, |f| f.claim("exp", json!(true));
        exp_in_a_list: MalformedClaim, |f| f.claim("exp", json!([1_700_000_600]));
        exp_not_a_number: BadPayload, |f| f.claim_as("exp", "NaN");
        exp_infinite: BadPayload, |f| f.claim_as("exp", "Infinity");
        exp_beyond_any_float: BadPayload, |f| f.claim_as("exp", "1e999");
        exp_of_four_hundred_digits: BadPayload, |f| f.claim_as("exp", &"9".repeat(400));
        exp_beyond_all_years: MalformedClaim, |f| f.claim_as("exp", "1e300");
        exp_beyond_64_bits: MalformedClaim, |f| f.claim_as("exp", "18446744073709551616");
        exp_that_would_wrap: MalformedClaim, |f| f.claim_as("exp", "9223372036854775808");
        exp_in_milliseconds: MalformedClaim, |f| f.claim("exp", json!(1_700_000_600_000_u64));
        exp_in_hexadecimal: BadPayload, |f| f.claim_as("exp", "0x7fffffff");
        exp_with_a_zero_before: BadPayload, |f| f.claim_as("exp", "01700000600");
        exp_with_a_plus: BadPayload, |f| f.claim_as("exp", "+1700000600");
        exp_negative: Expired, |f| f.claim("exp", json!(-1));
        exp_zero: Expired, |f| f.claim("exp", json!(0));
        exp_minus_zero: Expired, |f| f.claim_as("exp", "-0.0");
        exp_at_this_moment: Expired, |f| f.claim("exp", json!(NOW_SECONDS));
        exp_a_fraction_ago: Expired, |f| f.claim_as("exp", "1699999999.999999");
        exp_at_this_moment_in_another_notation: Expired, |f| f.claim_as("exp", "1.7e9");
        nbf_beyond_the_leeway: NotYetValid, |f| f.claim("nbf", json!(NOW_SECONDS + 31));
        nbf_text: MalformedClaim, |f| f.claim("nbf", json!("0"));
        nbf_null: MalformedClaim, |f| f.claim("nbf", Value::Null);
        iat_missing: MissingClaim, |f| f.claim_without("iat");
        iat_beyond_the_leeway: IssuedInFuture, |f| f.claim("iat", json!(NOW_SECONDS + 31));
        iat_a_fraction_beyond_the_leeway: IssuedInFuture, |f| f.claim_as("iat", "1700000030.001");
        iat_text: MalformedClaim, |f| f.claim("iat", json!("now"));
    }
}
