//! The double-submit token of cookie sessions, bound to the session by HMAC (ASVS 3.5.1).

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    id::SessionId,
    secret::{Secret, equal_in_constant_time},
};

/// The header in which a page sends the token back.
pub(crate) const HEADER: &str = "x-csrf-token";
/// The cookie from which a page reads the token.
pub(crate) const COOKIE: &str = "authv2_csrf";

/// Makes and checks the tokens of one deployment.
pub(super) struct CsrfTokens(hmac::Key);

impl CsrfTokens {
    pub(super) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
    }

    /// The token of a session.
    pub(super) fn of(&self, session: SessionId) -> Secret {
        let tag = hmac::sign(&self.0, session.as_uuid().as_bytes());
        Secret::new(URL_SAFE_NO_PAD.encode(tag))
    }

    /// Whether `token` is the one of `session`.
    pub(super) fn matches(&self, session: SessionId, token: &str) -> bool {
        equal_in_constant_time(self.of(session).expose().as_bytes(), token.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_session_only() {
        let tokens = CsrfTokens::new(&Zeroizing::new([7; 32]));
        let (mine, other) = (SessionId::new(), SessionId::new());
        assert!(tokens.matches(mine, tokens.of(mine).expose()));
        assert!(!tokens.matches(other, tokens.of(mine).expose()));
    }
}
