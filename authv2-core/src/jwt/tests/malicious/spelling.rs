//! One token is one string.

use super::*;

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
