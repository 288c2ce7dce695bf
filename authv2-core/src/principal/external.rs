//! Somebody whom an issuer elsewhere vouches for.

use crate::clock::Timestamp;

/// What an issuer elsewhere says of a caller, in a token of its own that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIdentity {
    /// The issuer (`iss`).
    pub issuer: String,
    /// Its name for the caller (`sub`).
    pub subject: String,
    /// The caller's e-mail, if it tells.
    pub email: Option<String>,
    /// The authentication methods, separated by spaces; empty if it does not tell.
    pub amr: String,
    /// The authentication context class; empty if it does not tell.
    pub acr: String,
    /// When the caller proved who it is; the earliest moment there is, if it does not tell.
    pub auth_time: Timestamp,
    /// When the token was issued.
    pub issued_at: Timestamp,
}
