//! Malicious tokens, one class a test: each is refused for the reason that it should be.
//!
//! Most are signed by the real key, as an insider or a defect elsewhere could make them, so that nothing but the rule
//! under test stands in their way.

use aws_lc_rs::hmac;

use super::*;

/// A deployment, and the means to make any token with its key.
struct Forge {
    deployment: Deployment,
    claims: Value,
}

impl Forge {
    fn new(algorithm: Algorithm) -> Self {
        Self { deployment: deployment(algorithm), claims: serde_json::to_value(claims()).unwrap() }
    }

    fn key(&self) -> &SigningKey {
        &self.deployment.key
    }

    fn kid(&self) -> &str {
        &self.deployment.record.kid
    }

    fn header(&self) -> Value {
        self.deployment.header()
    }

    fn good(&self) -> String {
        self.signed(&self.header(), &self.claims)
    }

    fn parts(&self) -> [String; 3] {
        let good = self.good();
        let parts: Vec<&str> = good.split('.').collect();
        [parts[0].to_owned(), parts[1].to_owned(), parts[2].to_owned()]
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        self.raw(header.to_string(), claims.to_string())
    }

    /// Any bytes as header and payload, with a good signature.
    fn raw(&self, header: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key().sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A header with one member set to something else.
    fn header_with(&self, name: &str, value: Value) -> String {
        let mut header = self.header();
        header[name] = value;
        self.signed(&header, &self.claims)
    }

    fn header_without(&self, name: &str) -> String {
        let mut header = self.header();
        header.as_object_mut().unwrap().remove(name);
        self.signed(&header, &self.claims)
    }

    /// A header that goes on after its last member.
    fn header_plus(&self, more: &str) -> String {
        let header = self.header().to_string();
        self.raw(format!("{},{more}}}", header.strip_suffix('}').unwrap()), self.claims.to_string())
    }

    fn claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.signed(&self.header(), &claims)
    }

    /// A claim as it is written, which need not be JSON.
    fn claim_as(&self, name: &str, text: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        let claims = claims.to_string();
        self.payload(format!("{},\"{name}\":{text}}}", claims.strip_suffix('}').unwrap()))
    }

    fn claim_without(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.signed(&self.header(), &claims)
    }

    fn payload(&self, payload: impl AsRef<[u8]>) -> String {
        self.raw(self.header().to_string(), payload)
    }

    fn payload_plus(&self, more: &str) -> String {
        let claims = self.claims.to_string();
        self.payload(format!("{},{more}}}", claims.strip_suffix('}').unwrap()))
    }

    /// Signed by a key that the forger brings, whose header may say more than usual.
    fn by(&self, key: &SigningKey, header: &Value) -> String {
        sign_with(key, &header.to_string(), &self.claims.to_string())
    }

    /// As HS256, with a secret that the forger knows.
    fn hmac(&self, secret: &[u8]) -> String {
        let mut header = self.header();
        header["alg"] = json!("HS256");
        let input = self.input_of(&header);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn input_of(&self, header: &Value) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(self.claims.to_string()))
    }

    /// The good token with its signature changed.
    fn signature(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
        let [header, payload, signature] = self.parts();
        let signature = change(URL_SAFE_NO_PAD.decode(signature).unwrap());
        format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn public(&self) -> Vec<u8> {
        let jwk = self.key().public_jwk("k").unwrap();
        URL_SAFE_NO_PAD.decode(jwk.x.or(jwk.n).unwrap()).unwrap()
    }
}

/// The part spelt with another last character that decodes to the same bytes.
fn respelt(part: &str) -> Option<String> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let spare = match part.len() % 4 {
        2 | 3 => 1,
        _ => return None,
    };
    let (rest, last) = part.split_at(part.len() - 1);
    let index = ALPHABET.find(last).unwrap() + spare;
    Some(format!("{rest}{}", &ALPHABET[index..=index]))
}

/// The token respelt in one part, after a claim or a header member has made that part as long as that needs.
fn with_trailing_bits(forge: &Forge, part: usize) -> String {
    ["", "a", "aa"]
        .iter()
        .find_map(|filler| {
            let mut header = forge.header();
            header["x"] = json!(filler);
            let mut claims = forge.claims.clone();
            claims["x"] = json!(filler);
            let token = forge.signed(&header, &claims);
            let parts: Vec<&str> = token.split('.').collect();
            let other = respelt(parts[part])?;
            // Signed as it is sent, where it is signed at all.
            let mut parts: Vec<String> = parts.into_iter().map(str::to_owned).collect();
            parts[part] = other;
            if part < 2 {
                let input = format!("{}.{}", parts[0], parts[1]);
                parts[2] = URL_SAFE_NO_PAD.encode(forge.key().sign(input.as_bytes()).unwrap());
            }
            Some(parts.join("."))
        })
        .unwrap()
}

/// The part with something put into it, signed as it is sent.
fn with_part(forge: &Forge, part: usize, change: impl Fn(&str) -> String) -> String {
    let mut parts = forge.parts();
    parts[part] = change(&parts[part]);
    if part < 2 {
        let input = format!("{}.{}", parts[0], parts[1]);
        parts[2] = URL_SAFE_NO_PAD.encode(forge.key().sign(input.as_bytes()).unwrap());
    }
    parts.join(".")
}

/// The order of P-256's group, big-endian.
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The order of Ed25519's group, little-endian.
const ED25519_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The sum of two little-endian numbers, modulo 2^256.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0_u16;
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            carry += u16::from(*a) + u16::from(*b);
            let digit = u8::try_from(carry & 0xff).unwrap();
            carry >>= 8;
            digit
        })
        .collect()
}

/// The difference of two big-endian numbers of which the first is the larger.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            u8::try_from(digit.rem_euclid(256)).unwrap()
        })
        .collect();
    digits.reverse();
    digits
}

/// Two unsigned big-endian numbers as ASN.1 has them (RFC 3279 section 2.2.3).
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut digits: Vec<u8> = number.iter().copied().skip_while(|&digit| digit == 0).collect();
        if digits.first().is_none_or(|&first| first >= 0x80) {
            digits.insert(0, 0);
        }
        [&[2, u8::try_from(digits.len()).unwrap()], digits.as_slice()].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat()
}

macro_rules! refused {
    ($($algorithm:ident: { $($name:ident: $refusal:ident, $token:expr;)+ })+) => {$($(
        #[test]
        fn $name() {
            let forge = Forge::new(Algorithm::$algorithm);
            assert!(forge.deployment.verify(&forge.good()).is_ok(), "what follows would prove nothing");
            let token: fn(&Forge) -> String = $token;
            let token = token(&forge);
            assert_eq!(forge.deployment.verify(&token), Err(TokenRefusal::$refusal), "{token}");
        }
    )+)+};
}

// Who chooses the algorithm, and the key.
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

// Headers that would change what the signature means.
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

// Spelling: one token is one string.
refused! {
    EdDSA: {
        nothing_at_all: NotCompact, |_| String::new();
        one_part: NotCompact, |f| f.parts()[0].clone();
        two_parts: NotCompact, |f| f.good().rsplit_once('.').unwrap().0.to_owned();
        four_parts: NotCompact, |f| format!("{}.AAAA", f.good());
        five_parts_as_encrypted_tokens_have: NotCompact, |f| format!("{}.AAAA.AAAA", f.good());
        a_dot_behind: NotCompact, |f| format!("{}.", f.good());
        a_dot_before: NotCompact, |f| format!(".{}", f.good());
        a_thousand_dots: NotCompact, |_| ".".repeat(1000);
        two_dots_alone: BadHeader, |_| "..".to_owned();
        an_empty_header: BadHeader, |f| { let [_, payload, signature] = f.parts(); format!(".{payload}.{signature}") };
        an_empty_payload: BadPayload, |f| f.payload("");
        an_empty_signature: BadSignature, |f| f.signature(|_| Vec::new());
        dots_of_another_script: NotCompact, |f| f.good().replace('.', "\u{3002}");
        dots_that_are_percent_encoded: NotCompact, |f| f.good().replace('.', "%2E");
        the_json_serialization: NotCompact, |f| {
            let [protected, payload, signature] = f.parts();
            json!({"protected": protected, "payload": payload, "signature": signature}).to_string()
        };
        the_scheme_in_front: BadEncoding, |f| format!("Bearer {}", f.good());
        a_space_before: BadEncoding, |f| format!(" {}", f.good());
        a_line_feed_behind: BadEncoding, |f| format!("{}\n", f.good());
        a_nul_behind: BadEncoding, |f| format!("{}\0", f.good());
        a_line_break_inside: BadEncoding, |f| with_part(f, 1, |part| format!("{}\r\n{}", &part[..8], &part[8..]));
        padding_on_the_header: BadEncoding, |f| with_part(f, 0, |part| format!("{part}="));
        padding_on_the_payload: BadEncoding, |f| with_part(f, 1, |part| format!("{part}="));
        padding_on_the_signature: BadEncoding, |f| with_part(f, 2, |part| format!("{part}=="));
        bits_to_spare_in_the_header: BadEncoding, |f| with_trailing_bits(f, 0);
        bits_to_spare_in_the_payload: BadEncoding, |f| with_trailing_bits(f, 1);
        bits_to_spare_in_the_signature: BadEncoding, |f| with_trailing_bits(f, 2);
        the_standard_alphabet: BadEncoding, |f| {
            // A payload whose encoding has characters in which the alphabets differ.
            let claims = f.claims.to_string().replace("0197-user", "\u{7f}???>>>\u{3ff}\u{3fe}");
            let token = f.payload(claims);
            assert!(token.contains(['-', '_']));
            let parts: Vec<&str> = token.split('.').collect();
            let input = format!("{}.{}", parts[0], parts[1].replace('-', "+").replace('_', "/"));
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(f.key().sign(input.as_bytes()).unwrap()))
        };
        a_character_alone_at_the_end: BadEncoding, |f| with_part(f, 1, |part| {
            let whole = part.len() / 4 * 4;
            format!("{}A", &part[..whole])
        });
        letters_of_another_script: BadEncoding, |f| with_part(f, 1, |part| part.replacen('e', "\u{435}", 1));
        a_token_too_large: TooLarge, |f| f.claim("x", json!("x".repeat(MAX_TOKEN_BYTES)));
        a_token_of_megabytes: TooLarge, |f| format!("{}{}", f.good(), "A".repeat(1 << 22));
        a_header_too_large: TooLarge, |f| f.header_with("x", json!("x".repeat(MAX_TOKEN_BYTES)));
    }
}

// Payloads that two parsers would read in two ways.
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

// When.
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
        iat_a_fraction_beyond_the_leeway: IssuedInFuture, |f| f.claim_as("iat", "1700000030.000001");
        iat_text: MalformedClaim, |f| f.claim("iat", json!("now"));
    }
}

// From whom, for whom, about whom.
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

// Signatures.
refused! {
    EdDSA: {
        the_signature_of_another_token: BadSignature, |f| {
            let other = f.claim("sub", json!("somebody-else"));
            let [header, payload, _] = f.parts();
            format!("{header}.{payload}.{}", other.rsplit_once('.').unwrap().1)
        };
        the_payload_of_another_token: BadSignature, |f| {
            let other = f.claim("sub", json!("somebody-else"));
            let [header, _, signature] = f.parts();
            format!("{header}.{}.{signature}", other.split('.').nth(1).unwrap())
        };
        a_signature_over_the_payload_alone: BadSignature, |f| {
            let [header, payload, _] = f.parts();
            let signature = f.key().sign(payload.as_bytes()).unwrap();
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        a_signature_over_what_is_decoded: BadSignature, |f| {
            let [header, payload, _] = f.parts();
            let input = format!("{}.{}", f.header(), f.claims);
            format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(f.key().sign(input.as_bytes()).unwrap()))
        };
        a_header_and_a_payload_that_meet_elsewhere: BadHeader, |f| {
            let [header, payload, signature] = f.parts();
            let place = (header.len() - 1) / 4 * 4;
            format!("{}.{}{payload}.{signature}", &header[..place], &header[place..])
        };
        one_bit_of_the_signature: BadSignature, |f| f.signature(|mut signature| { signature[0] ^= 1; signature });
        a_signature_cut_short: BadSignature, |f| f.signature(|signature| signature[..63].to_vec());
        a_signature_with_a_byte_more: BadSignature, |f| f.signature(|signature| [&*signature, &[0]].concat());
        a_signature_twice: BadSignature, |f| f.signature(|signature| signature.repeat(2));
        a_signature_of_zeros: BadSignature, |f| f.signature(|signature| vec![0; signature.len()]);
        a_signature_whose_scalar_is_beyond_the_order: BadSignature, |f| f.signature(|signature| {
            let (point, scalar) = signature.split_at(32);
            [point, &sum(scalar, &ED25519_ORDER)].concat()
        });
        a_signature_with_the_point_of_order_one: BadSignature, |f| f.signature(|_| {
            let mut signature = vec![0; 64];
            signature[0] = 1;
            signature
        });
        a_signature_with_a_point_that_is_not_canonical: BadSignature, |f| f.signature(|_| {
            // y = p + 1, which is 1 again.
            let mut signature = vec![0xff; 32];
            (signature[0], signature[31]) = (0xee, 0x7f);
            signature.resize(64, 0);
            signature
        });
    }
    ES256: {
        the_psychic_signature: BadSignature, |f| f.signature(|_| vec![0; 64]);
        an_r_of_zero: BadSignature, |f| f.signature(|signature| [&[0; 32], &signature[32..]].concat());
        an_s_of_zero: BadSignature, |f| f.signature(|signature| [&signature[..32], &[0; 32]].concat());
        an_r_and_s_of_the_order: BadSignature, |f| f.signature(|_| P256_ORDER.repeat(2));
        an_s_beyond_the_order: BadSignature, |f| f.signature(|signature| {
            let mut s = signature[32..].to_vec();
            s.reverse();
            let mut order = P256_ORDER.to_vec();
            order.reverse();
            let mut beyond = sum(&s, &order);
            beyond.reverse();
            [&signature[..32], &beyond].concat()
        });
        a_signature_in_der: BadSignature, |f| f.signature(|signature| der(&signature));
        a_signature_whose_halves_changed_places: BadSignature, |f| f.signature(|signature| {
            [&signature[32..], &signature[..32]].concat()
        });
        a_signature_of_another_curve: BadSignature, |f| {
            f.by(&SigningKey::generate(Algorithm::ES384).unwrap(), &f.header())
        };
        a_signature_as_long_as_another_curves: BadSignature, |f| f.signature(|signature| {
            [&[0; 16], &signature[..32], &[0; 16], &signature[32..]].concat()
        });
    }
    ES384: {
        the_psychic_signature_on_p384: BadSignature, |f| f.signature(|_| vec![0; 96]);
        a_signature_of_the_smaller_curve: BadSignature, |f| {
            f.by(&SigningKey::generate(Algorithm::ES256).unwrap(), &f.header())
        };
    }
    HS256: {
        an_hmac_cut_short: BadSignature, |f| f.signature(|tag| tag[..16].to_vec());
        an_hmac_of_zeros: BadSignature, |f| f.signature(|tag| vec![0; tag.len()]);
        an_hmac_left_out: BadSignature, |f| f.signature(|_| Vec::new());
        an_hmac_under_a_word: BadSignature, |f| f.hmac(b"secret");
        an_hmac_under_no_secret: BadSignature, |f| f.hmac(b"");
        an_hmac_under_a_key_for_another_purpose: BadSignature, |f| {
            f.hmac(MasterKey::from_bytes(&[1; 32]).derive("csrf tokens").as_slice())
        };
        a_longer_hmac_under_the_same_secret: AlgorithmMismatch, |f| f.header_with("alg", json!("HS512"));
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

#[test]
fn a_retired_key_signs_nothing_that_is_taken() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = deployment.service.mint(&claims(), NOW).unwrap();
    let retired = SigningKeyRecord { state: KeyState::Retired, ..deployment.record.clone() };
    deployment.service.reload(&[retired]).unwrap();
    assert_eq!(deployment.verify(&token), Err(TokenRefusal::RetiredKey));
}

#[test]
fn a_key_retired_by_time_alone_signs_nothing_that_is_taken() {
    let deployment = deployment(Algorithm::EdDSA);
    let token = deployment.service.mint(&claims(), NOW).unwrap();
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

/// Of the two signatures (r, s) and (r, n - s) JWS demands neither (RFC 7518 section 3.4): both are taken, so that
/// nothing may be built on a token's signature being the only one. What a token is revoked by is its `jti`.
#[test]
fn the_other_signature_of_ecdsa_is_as_good() {
    let forge = Forge::new(Algorithm::ES256);
    let other = forge.signature(|signature| {
        let (r, s) = signature.split_at(32);
        [r, &difference(&P256_ORDER, s)].concat()
    });
    assert_ne!(other, forge.good());
    assert!(forge.deployment.verify(&other).is_ok());
}
