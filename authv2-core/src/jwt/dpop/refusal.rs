//! Why a proof of possession was refused: for logs and metrics, and as a hint to whoever writes a client.

use crate::jwt::TokenRefusal;

/// Why a proof was refused.
///
/// Unlike a token's, its reason is told: whoever made a proof holds its key, and learns nothing by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProofRefusal {
    /// It is no good JWS, or one of the claims that every JWT may have is not.
    #[error(transparent)]
    Jws(#[from] TokenRefusal),
    /// There is more than one (RFC 9449 section 4.3).
    #[error("there is more than one proof")]
    Several,
    /// None came where one must.
    #[error("there is no proof")]
    Missing,
    /// There is no `jwk` in its header.
    #[error("the header has no key")]
    MissingKey,
    /// The `jwk` has private members: whoever sees the proof has the key.
    #[error("the header has a private key")]
    PrivateKey,
    /// `htm` is not the request's method.
    #[error("it is for another method")]
    WrongMethod,
    /// `htu` does not lead here.
    #[error("it is for another address")]
    WrongTarget,
    /// `ath` is not the hash of the access token that it came with.
    #[error("it is for another access token")]
    WrongToken,
    /// `iat` is too long ago.
    #[error("it is too old")]
    TooOld,
    /// The nonce is missing where one is wanted, not from here, or too old.
    #[error("it needs a nonce")]
    WrongNonce,
    /// It was used before.
    #[error("it was used before")]
    Used,
}

impl ProofRefusal {
    /// A stable name for logs and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jws(refusal) => refusal.as_str(),
            Self::Several => "several_proofs",
            Self::Missing => "missing_proof",
            Self::MissingKey => "missing_key",
            Self::PrivateKey => "private_key",
            Self::WrongMethod => "wrong_method",
            Self::WrongTarget => "wrong_target",
            Self::WrongToken => "wrong_token",
            Self::TooOld => "too_old",
            Self::WrongNonce => "wrong_nonce",
            Self::Used => "used",
        }
    }
}
