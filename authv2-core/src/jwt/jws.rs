//! Strict reading of a compact JWS (RFC 7515 section 7.1): its three parts and its header, before any key is touched.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{
    Algorithm, TokenRefusal,
    strict_json::{Finding, Ignored, Name, Names, once},
};

/// The longest token looked at, in bytes: well over any of ours, and what bounds the work a stranger can cause.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A compact JWS, split but not decoded.
#[derive(Clone, Copy)]
pub(super) struct CompactJws<'a> {
    /// What is signed: header, dot, payload, as they came.
    pub(super) signing_input: &'a str,
    pub(super) header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> CompactJws<'a> {
    /// Splits a token of acceptable size at exactly two dots.
    pub(super) fn split(token: &'a str) -> Result<Self, TokenRefusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefusal::TooLarge);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenRefusal::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenRefusal::NotCompact)?;
        if payload.contains('.') {
            return Err(TokenRefusal::NotCompact);
        }
        Ok(Self { signing_input, header, payload, signature })
    }

    pub(super) fn payload(&self) -> Result<Vec<u8>, TokenRefusal> {
        decode(self.payload)
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, TokenRefusal> {
        decode(self.signature)
    }

    /// The header as it came: for what [`CompactJws::read_header`] leaves out, after it found no name twice.
    pub(super) fn header_bytes(&self) -> Result<Vec<u8>, TokenRefusal> {
        decode(self.header)
    }

    /// Reads the header and refuses every one that could change what the signature means.
    pub(super) fn read_header(&self) -> Result<JoseHeader, TokenRefusal> {
        JoseHeader::read(&self.header_bytes()?)
    }
}

/// The engine refuses padding, white space, foreign characters and trailing bits that are not zero.
fn decode(part: &str) -> Result<Vec<u8>, TokenRefusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefusal::BadEncoding)
}

/// What of a header counts. Keys that a token brings along or points to (`jwk`, `jku`, `x5u`, `x5c`) do not
/// (RFC 8725 section 3.10).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JoseHeader {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) cty: Option<String>,
}

impl JoseHeader {
    fn read(json: &[u8]) -> Result<Self, TokenRefusal> {
        let finding = Finding::default();
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let fields = deserializer
            .deserialize_map(HeaderVisitor { finding: &finding })
            .and_then(|fields| deserializer.end().map(|()| fields))
            .map_err(|error| finding.refusal(&error, TokenRefusal::BadHeader, TokenRefusal::BadHeader))?;
        let name = fields.alg.ok_or(TokenRefusal::BadHeader)?;
        if name.eq_ignore_ascii_case("none") {
            return Err(TokenRefusal::Unsigned);
        }
        let algorithm = name.parse().map_err(|_| TokenRefusal::UnsupportedAlgorithm)?;
        if fields.unencoded {
            return Err(TokenRefusal::UnencodedPayload);
        }
        if fields.critical {
            return Err(TokenRefusal::CriticalExtension);
        }
        Ok(Self { algorithm, kid: fields.kid, typ: fields.typ, cty: fields.cty })
    }
}

#[derive(Default)]
struct HeaderFields {
    alg: Option<String>,
    kid: Option<String>,
    typ: Option<String>,
    cty: Option<String>,
    critical: bool,
    unencoded: bool,
}

struct HeaderVisitor<'a> {
    finding: &'a Finding,
}

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = HeaderFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<HeaderFields, A::Error> {
        let duplicate = TokenRefusal::DuplicateHeader;
        let mut fields = HeaderFields::default();
        let mut others = Names::default();
        while let Some(name) = members.next_key::<Name<'de>>()? {
            match &*name.0 {
                "alg" => once(&mut fields.alg, &mut members, self.finding, duplicate)?,
                "kid" => once(&mut fields.kid, &mut members, self.finding, duplicate)?,
                "typ" => once(&mut fields.typ, &mut members, self.finding, duplicate)?,
                "cty" => once(&mut fields.cty, &mut members, self.finding, duplicate)?,
                _ => {
                    others.add::<A::Error>(name, self.finding, duplicate)?;
                    members.next_value_seed(Ignored { finding: self.finding, duplicate })?;
                }
            }
        }
        fields.critical = others.has("crit");
        fields.unencoded = others.has("b64");
        Ok(fields)
    }
}

/// Whether a `typ` or `cty` value names the media type `wanted`, given without `application/`: in any case, with or
/// without that prefix (RFC 7515 section 4.1.9).
pub(super) fn names_type(value: &str, wanted: &str) -> bool {
    const PREFIX: &str = "application/";
    let bare = match value.split_at_checked(PREFIX.len()) {
        Some((prefix, bare)) if prefix.eq_ignore_ascii_case(PREFIX) => bare,
        _ => value,
    };
    bare.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Result<JoseHeader, TokenRefusal> {
        JoseHeader::read(json.as_bytes())
    }

    #[test]
    fn reads_what_counts_and_ignores_keys_brought_along() {
        let read = header(r#"{"alg":"EdDSA","kid":"k","typ":"at+jwt","jwk":{"kty":"OKP"},"jku":"https://x"}"#).unwrap();
        assert_eq!((read.algorithm, read.kid.as_deref()), (Algorithm::EdDSA, Some("k")));
    }

    #[test]
    fn refuses_headers_that_change_the_meaning_of_the_signature() {
        for (json, refusal) in [
            (r#"{"alg":"none"}"#, TokenRefusal::Unsigned),
            (r#"{"alg":"nOnE"}"#, TokenRefusal::Unsigned),
            (r#"{"alg":"HS1"}"#, TokenRefusal::UnsupportedAlgorithm),
            (r#"{"alg":""}"#, TokenRefusal::UnsupportedAlgorithm),
            (r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#, TokenRefusal::CriticalExtension),
            (r#"{"alg":"EdDSA","crit":[]}"#, TokenRefusal::CriticalExtension),
            (r#"{"alg":"EdDSA","b64":true}"#, TokenRefusal::UnencodedPayload),
            (r#"{"alg":"EdDSA","alg":"HS256"}"#, TokenRefusal::DuplicateHeader),
            (r#"{"alg":"EdDSA","x":1,"x":2}"#, TokenRefusal::DuplicateHeader),
            (r#"{"alg":"EdDSA","x":{"y":1,"y":2}}"#, TokenRefusal::DuplicateHeader),
            (r#"{"kid":"k"}"#, TokenRefusal::BadHeader),
            (r#"{"alg":1}"#, TokenRefusal::BadHeader),
            (r#"{"alg":["EdDSA"]}"#, TokenRefusal::BadHeader),
            (r#"{"alg":"EdDSA","kid":null}"#, TokenRefusal::BadHeader),
            (r#"{"alg":"EdDSA"} x"#, TokenRefusal::BadHeader),
            (r#"["alg","EdDSA"]"#, TokenRefusal::BadHeader),
            ("", TokenRefusal::BadHeader),
        ] {
            assert_eq!(header(json), Err(refusal), "{json}");
        }
        assert_eq!(JoseHeader::read(b"{\"alg\":\"EdDSA\",\"kid\":\"\xff\"}"), Err(TokenRefusal::BadHeader));
    }

    #[test]
    fn types_compare_as_media_types() {
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            assert!(names_type(typ, "at+jwt"), "{typ}");
        }
        for typ in ["jwt", "", "at+jwt ", "application/", "x/at+jwt", "application/application/at+jwt", "ååååååå"]
        {
            assert!(!names_type(typ, "at+jwt"), "{typ}");
        }
    }
}
