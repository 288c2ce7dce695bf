//! The master key of a deployment: subkeys for each purpose, and the sealing of private keys at rest.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf,
};
use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{
        DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig,
        general_purpose::{self, PAD},
    },
};
use zeroize::Zeroizing;

use crate::secret::{NoRandomness, Secret, random_bytes};

/// The length of a master key and of every subkey, in bytes.
pub const KEY_BYTES: usize = 32;

/// The first byte of everything sealed: AES-256-GCM, a random 96-bit nonce, the tag at the end.
const VERSION: u8 = 1;

/// Separates these keys from those of other software that may be given the same master key.
const SALT: &[u8] = b"authv2 master key v1";

/// Either alphabet, padded or not: it is what people paste, and the length is checked after decoding.
const LENIENT_PADDING: GeneralPurposeConfig = PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The configured text is not a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// It is not base64 (RFC 4648 section 4 or 5).
    #[error("the master key is not base64")]
    NotBase64,
    /// It is base64 of another length.
    #[error("the master key must be 32 bytes")]
    WrongLength,
}

/// Sealing failed: no randomness, or the cipher refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the plaintext could not be sealed")]
pub struct SealError;

/// What should have been sealed here cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is too short to be anything sealed here.
    #[error("the sealed value is truncated")]
    Truncated,
    /// It was sealed by a newer version, or is something else.
    #[error("the sealed value has an unknown version")]
    UnknownVersion,
    /// It was sealed under another master key or for another purpose, or was changed since.
    #[error("the sealed value does not open under this master key")]
    Rejected,
}

/// The master key: 256 bits from the configuration, a file or a KMS, from which every other key is derived.
///
/// Whoever has it can sign tokens; whoever loses it loses the signing keys. It is never used directly: each purpose
/// gets its own HKDF-SHA256 subkey (RFC 5869), so that no two rooms can confuse each other's values.
pub struct MasterKey {
    root: hkdf::Prk,
    sealing: RandomizedNonceKey,
}

impl MasterKey {
    /// Takes the key from its base64 text, in either alphabet, with or without padding.
    ///
    /// # Errors
    /// [`MasterKeyError`] if the text is not base64 of exactly 32 bytes.
    pub fn from_base64(text: &Secret) -> Result<Self, MasterKeyError> {
        let text = text.expose().trim();
        let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
        let bytes = GeneralPurpose::new(alphabet, LENIENT_PADDING)
            .decode(text)
            .map(Zeroizing::new)
            .map_err(|_| MasterKeyError::NotBase64)?;
        bytes.as_slice().try_into().map(Self::from_bytes).map_err(|_| MasterKeyError::WrongLength)
    }

    /// Takes the key from its bytes, which must come from a cryptographic random generator.
    #[must_use]
    #[expect(clippy::expect_used, reason = "AES-256 takes every key of 32 bytes")]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes);
        let sealing = RandomizedNonceKey::new(&AES_256_GCM, subkey(&root, "seal").as_slice())
            .expect("a subkey is as long as an AES-256 key");
        Self { root, sealing }
    }

    /// A fresh key in the base64 form that [`MasterKey::from_base64`] reads: for whoever sets up a deployment.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system's generator fails.
    pub fn random_base64() -> Result<Secret, NoRandomness> {
        let bytes = Zeroizing::new(random_bytes::<KEY_BYTES>()?);
        Ok(Secret::new(general_purpose::STANDARD.encode(bytes.as_slice())))
    }

    /// The subkey for the purpose `label`; the same on every node, unrelated to that of any other label.
    #[must_use]
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        // The prefix keeps a caller's label from ever naming one of the subkeys used in here.
        subkey(&self.root, &format!("subkey/{label}"))
    }

    /// Encrypts `plaintext` and binds it to `context`, without which it does not open again.
    ///
    /// Name in `context` what the value is and whose, so that one sealed value cannot stand in for another. Nonces are
    /// random: one master key seals at most 2^32 values (NIST SP 800-38D section 8.3).
    ///
    /// # Errors
    /// [`SealError`] when there is no randomness.
    pub fn seal(&self, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut body = plaintext.to_vec();
        let nonce =
            self.sealing.seal_in_place_append_tag(Aad::from(bound_to(context)), &mut body).map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Decrypts what [`MasterKey::seal`] made with the same `context`.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of the plaintext is given out unless all of it is authentic.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::Truncated)?;
        if version != VERSION {
            return Err(OpenError::UnknownVersion);
        }
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenError::Truncated)?;
        if body.len() < AES_256_GCM.tag_len() {
            return Err(OpenError::Truncated);
        }
        let mut plaintext = Zeroizing::new(body.to_vec());
        let length = self
            .sealing
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound_to(context)), &mut plaintext)
            .map_err(|_| OpenError::Rejected)?
            .len();
        plaintext.truncate(length);
        Ok(plaintext)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// The version is authenticated along with the context.
fn bound_to(context: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(1 + context.len());
    bound.push(VERSION);
    bound.extend_from_slice(context);
    bound
}

#[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 255 blocks of 32 bytes (RFC 5869); this asks for one")]
fn subkey(root: &hkdf::Prk, label: &str) -> Zeroizing<[u8; KEY_BYTES]> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    root.expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
        .and_then(|block| block.fill(key.as_mut_slice()))
        .expect("one block of HKDF output");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MasterKey {
        MasterKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn reads_its_key_in_every_usual_base64_spelling() {
        let expected = key(0xfb).derive("x");
        let padded = general_purpose::STANDARD.encode([0xfb; 32]);
        let url = general_purpose::URL_SAFE_NO_PAD.encode([0xfb; 32]);
        for text in [padded.clone(), padded.trim_end_matches('=').to_owned(), url, format!(" {padded}\n")] {
            assert_eq!(MasterKey::from_base64(&Secret::from(text)).unwrap().derive("x"), expected);
        }
        assert!(MasterKey::from_base64(&MasterKey::random_base64().unwrap()).is_ok());
    }

    #[test]
    fn refuses_keys_of_another_length_or_alphabet() {
        let refusal = |text: &str| MasterKey::from_base64(&Secret::from(text)).unwrap_err();
        assert_eq!(refusal("c2hvcnQ="), MasterKeyError::WrongLength);
        assert_eq!(refusal(""), MasterKeyError::WrongLength);
        assert_eq!(refusal("not base64!"), MasterKeyError::NotBase64);
    }

    #[test]
    fn subkeys_depend_on_label_and_master_key() {
        assert_eq!(key(1).derive("csrf"), key(1).derive("csrf"));
        assert_ne!(key(1).derive("csrf"), key(1).derive("refresh"));
        assert_ne!(key(1).derive("csrf"), key(2).derive("csrf"));
    }

    #[test]
    fn opens_what_it_sealed_and_only_in_the_same_context() {
        let sealed = key(1).seal(b"private", b"kid-1").unwrap();
        assert_eq!(key(1).open(&sealed, b"kid-1").unwrap().as_slice(), b"private");
        assert_eq!(key(1).open(&sealed, b"kid-2"), Err(OpenError::Rejected));
        assert_eq!(key(2).open(&sealed, b"kid-1"), Err(OpenError::Rejected));
        assert_ne!(key(1).seal(b"private", b"kid-1").unwrap(), sealed, "nonces are fresh");
    }

    #[test]
    fn refuses_every_changed_byte_and_every_truncation() {
        let sealed = key(1).seal(b"private", b"").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key(1).open(&changed, b"").is_err(), "byte {at}");
            assert!(key(1).open(&sealed[..at], b"").is_err(), "length {at}");
        }
    }

    #[test]
    fn never_prints_itself() {
        assert_eq!(format!("{:?}", key(1)), "MasterKey(..)");
    }
}
