//! Tokens of issuers elsewhere: who they say issued them, and what they say once a key of that issuer vouches for it.

use serde_json::{Map, Value};

use super::{
    TokenRefusal,
    jws::{CompactJws, names_type},
    trusted::TrustedKeys,
    verify::{bare, read_strictly},
};

/// A JWT whose signature was verified, and nothing else of it.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenedToken {
    /// The media type of its header, as it came.
    pub typ: Option<String>,
    /// Its claims, no name twice at any depth, the registered ones of the right form.
    pub claims: Map<String, Value>,
}

/// The `iss` of a token, as far as it can be read. Nothing vouches for it: it is good to choose whose keys to verify
/// with, and for nothing else.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Named {
        iss: String,
    }
    let payload = CompactJws::split(token).ok()?.payload().ok()?;
    // Serde would take a list for an object.
    if !payload.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    // A second `iss` is an error here.
    serde_json::from_slice::<Named>(&payload).ok().map(|named| named.iss)
}

/// Verifies the signature of an issuer's token that is of one of these types, `None` for none.
///
/// # Errors
/// [`TokenRefusal`], the first rule that failed; [`TokenRefusal::UnknownKeyId`] may mean that the keys are out of date.
pub fn open_token(token: &str, keys: &TrustedKeys, types: &[Option<String>]) -> Result<OpenedToken, TokenRefusal> {
    let jws = CompactJws::split(token)?;
    let header = jws.read_header()?;
    if header.cty.as_deref().is_some_and(|cty| names_type(cty, "jwt")) {
        return Err(TokenRefusal::NestedToken);
    }
    let is_wanted = types.iter().any(|wanted| match (wanted, &header.typ) {
        (Some(wanted), Some(typ)) => names_type(typ, bare(wanted)),
        (None, None) => true,
        _ => false,
    });
    if !is_wanted {
        return Err(TokenRefusal::WrongType);
    }
    keys.verify(&header, jws.signing_input.as_bytes(), &jws.signature()?)?;
    Ok(OpenedToken { typ: header.typ, claims: read_strictly(&jws.payload()?)? })
}

impl OpenedToken {
    /// Whether its header says that it is an access token (RFC 9068 section 2.1).
    #[must_use]
    pub fn is_typed_as_access_token(&self) -> bool {
        self.typ.as_deref().is_some_and(|typ| names_type(typ, super::ACCESS_TOKEN_TYPE))
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn an_issuer_is_read_only_where_it_is_said_once() {
        let token = |payload: &str| format!("x.{}.y", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(claimed_issuer(&token(r#"{"iss":"https://a","sub":"b"}"#)).as_deref(), Some("https://a"));
        for payload in
            [r#"{"iss":"a","iss":"b"}"#, r#"{"iss":1}"#, "{}", r#"["a"]"#, "", r#"{"iss":"a"} x"#, r#"{"iss":"a""#]
        {
            assert_eq!(claimed_issuer(&token(payload)), None, "{payload}");
        }
        for token in ["", "a.b", "a.b.c", &"a".repeat(9000), &format!("{}.y", token("{}"))] {
            assert_eq!(claimed_issuer(token), None);
        }
    }
}
