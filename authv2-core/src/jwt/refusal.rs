//! Why a token was refused: for logs and metrics. Clients get one answer for all of them.

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $message:literal;)+) => {
        /// Why a token was refused.
        ///
        /// Which rule failed is for operators: a client that probes learns only that its token is not valid.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
        #[non_exhaustive]
        pub enum TokenRefusal {
            $($(#[$doc])* #[error($message)] $name,)+
        }

        impl TokenRefusal {
            /// Every refusal.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// A stable name for logs and metric labels.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

refusals! {
    /// Longer than [`super::MAX_TOKEN_BYTES`]; nothing of it was decoded.
    TooLarge = "too_large", "the token is too large";
    /// Not header, payload and signature between two dots (RFC 7515 section 7.1).
    NotCompact = "not_compact", "the token does not have exactly three parts";
    /// A part is not canonical base64url without padding (RFC 7515 section 2, RFC 4648 section 3.5).
    BadEncoding = "bad_encoding", "a part of the token is not base64url";
    /// The header is not a JSON object of the expected shape.
    BadHeader = "bad_header", "the header is not a valid JOSE header";
    /// The header names a member twice (RFC 7515 section 4).
    DuplicateHeader = "duplicate_header", "the header has a duplicate member";
    /// `alg` is `none`, in whatever case (RFC 8725 section 3.2).
    Unsigned = "unsigned", "the token is not signed";
    /// `alg` is nothing spoken here.
    UnsupportedAlgorithm = "unsupported_algorithm", "the algorithm is not supported";
    /// `alg` is not the one that belongs to the key (RFC 8725 section 3.1).
    AlgorithmMismatch = "algorithm_mismatch", "the algorithm is not the key's";
    /// There is a `crit` member: no extension is understood here (RFC 7515 section 4.1.11).
    CriticalExtension = "critical_extension", "the header demands an extension";
    /// There is a `b64` member (RFC 7797).
    UnencodedPayload = "unencoded_payload", "the header changes the payload's encoding";
    /// No `kid`: our tokens always have one.
    MissingKeyId = "missing_key_id", "the header names no key";
    /// No key has this `kid`. It may be newer than the keys this node has loaded.
    UnknownKeyId = "unknown_key_id", "the key is not known";
    /// The key has come to the end of its life.
    RetiredKey = "retired_key", "the key is retired";
    /// The key was revoked.
    RevokedKey = "revoked_key", "the key was revoked";
    /// The key named is there and must not be used: too weak, for encryption, malformed.
    UnusableKey = "unusable_key", "the key must not be used";
    /// The signature is not the key's over this header and payload.
    BadSignature = "bad_signature", "the signature is wrong";
    /// `typ` is missing or another one (RFC 8725 section 3.11).
    WrongType = "wrong_type", "the token is of another type";
    /// `cty` says that the payload is another token.
    NestedToken = "nested_token", "the token wraps another one";
    /// The payload is not a JSON object.
    BadPayload = "bad_payload", "the payload is not a JSON object";
    /// A claim is there twice (RFC 7519 section 4).
    DuplicateClaim = "duplicate_claim", "the payload has a duplicate member";
    /// A claim is of the wrong JSON type or out of range.
    MalformedClaim = "malformed_claim", "a claim is malformed";
    /// A required claim is missing.
    MissingClaim = "missing_claim", "a required claim is missing";
    /// A required claim is the empty string.
    EmptyClaim = "empty_claim", "a required claim is empty";
    /// `iss` is not the trusted issuer.
    WrongIssuer = "wrong_issuer", "the issuer is another one";
    /// `aud` does not contain this audience.
    WrongAudience = "wrong_audience", "the token is for somebody else";
    /// At or after `exp`.
    Expired = "expired", "the token has expired";
    /// Before `nbf`, by more than the leeway.
    NotYetValid = "not_yet_valid", "the token is not valid yet";
    /// `iat` is in the future, by more than the leeway.
    IssuedInFuture = "issued_in_future", "the token was issued in the future";
    /// No `sid`, and the subject is not the client itself.
    NoSession = "no_session", "the token belongs to no session";
    /// Another issuer's token is, or may be, an ID token, a refresh token or a logout token (OpenID Connect Core
    /// section 2).
    NotAnAccessToken = "not_an_access_token", "the token is no access token";
    /// A claim that the settings require of this issuer has another value.
    UnwantedClaim = "unwanted_claim", "a claim has another value than required";
    /// The issuer does not speak for the organization.
    ForeignOrganization = "foreign_organization", "the issuer does not speak for the organization";
    /// It was revoked by its `jti`, whatever has become of its session.
    Revoked = "revoked", "the token was revoked";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_snake_case() {
        let names: HashSet<_> = TokenRefusal::ALL.iter().map(|refusal| refusal.as_str()).collect();
        assert_eq!(names.len(), TokenRefusal::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
