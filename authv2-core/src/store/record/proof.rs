//! Proofs of possession.

use crate::{clock::Timestamp, secret::SecretHash};

/// A proof that a request's sender holds a key (RFC 9449), good for that request. It is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// The key: the SHA-256 thumbprint of RFC 7638.
    pub key: [u8; 32],
    /// What tells it from every other: a hash of the key and of the name that the client gave it.
    pub id: SecretHash,
    /// When it is too old anyway, so that nobody need remember it.
    pub expires_at: Timestamp,
}
