//! Values that must not reach a log: redacted when printed, wiped when dropped.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use zeroize::{Zeroize, Zeroizing};

/// A secret: `Debug` prints `[redacted]`, there is no `Display`, the memory is wiped on drop.
///
/// [`Secret::expose`] is the only way to the value, so that every use can be found by its name.
#[derive(Clone)]
pub struct Secret<T: Zeroize = String>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes a value under protection.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value in the clear. Never log or store what this returns.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::new(value.to_owned())
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"type": "string", "format": "password", "writeOnly": true})
    }
}

/// SHA-256 of a 256-bit random secret: the only form in which the store sees it.
///
/// Fast hashing is right here, and only here, because the input has full entropy; passwords go through Argon2id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes `secret`.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref());
        Self(out)
    }

    /// Reads what was stored; none if it is not a hash.
    pub(crate) fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store or to look up.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

/// The operating system gave no randomness: nothing secret can be made.
#[derive(Debug, thiserror::Error)]
#[error("the system's random generator failed")]
pub struct NoRandomness;

/// Fills an array from the system's cryptographic random generator.
///
/// # Errors
/// [`NoRandomness`] when the generator fails; the caller must refuse the request.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A fresh opaque token: `prefix` and 256 random bits in base64url (RFC 4648 section 5, no padding).
///
/// # Errors
/// [`NoRandomness`] when the generator fails.
pub fn random_token(prefix: &str) -> Result<Secret, NoRandomness> {
    let bytes = Zeroizing::new(random_bytes::<32>()?);
    Ok(token_from(prefix, &bytes))
}

/// The token that stands for `bytes`.
pub(crate) fn token_from(prefix: &str, bytes: &[u8; 32]) -> Secret {
    let mut token = String::with_capacity(prefix.len() + 43);
    token.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(bytes, &mut token);
    Secret::new(token)
}

/// Compares two byte strings without telling, by the time it takes, where they differ.
#[must_use]
pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_its_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?} {:?}", SecretHash::of(b"x")), "[redacted] SecretHash(..)");
    }

    #[test]
    fn tokens_carry_256_bits_and_differ() {
        let (a, b) = (random_token("avr_").unwrap(), random_token("avr_").unwrap());
        assert_eq!(a.expose().len(), 47);
        assert!(a.expose().starts_with("avr_"));
        assert_ne!(a.expose(), b.expose());
    }
}
