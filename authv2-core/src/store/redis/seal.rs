//! Seals what goes to Redis: whoever reads it there learns nothing, and whoever writes there makes nothing believed.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf,
};
#[cfg(test)]
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{entry::Header, script::Key};
use crate::master_key::KEY_BYTES;

/// AES-256-GCM under a key of its own for each name.
///
/// What was sealed for one name opens under no other. And a cache writes so often that random nonces under one key
/// would pass their limit of 2^32 within days (NIST SP 800-38D section 8.3); no single name is written so often.
pub(super) struct Seal(hkdf::Prk);

impl Seal {
    /// `key` must be derived for this purpose alone.
    pub(super) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, key))
    }

    /// Nothing when there is no randomness: then it is not cached.
    pub(super) fn seal(&self, name: &Key, header: &Header, plain: &[u8]) -> Option<Vec<u8>> {
        let mut body = plain.to_vec();
        let nonce = self.key_of(name)?.seal_in_place_append_tag(Aad::from(header.bytes()), &mut body).ok()?;
        Some([nonce.as_ref().as_slice(), &body].concat())
    }

    /// Nothing unless it was sealed here, for this name, under this header.
    pub(super) fn open(&self, name: &Key, header: &Header, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        if body.len() < AES_256_GCM.tag_len() {
            return None;
        }
        let mut plain = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key_of(name)?.open_in_place(nonce, Aad::from(header.bytes()), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn key_of(&self, name: &Key) -> Option<RandomizedNonceKey> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let info = [name.name().as_bytes()];
        self.0.expand(&info, hkdf::HKDF_SHA256).and_then(|block| block.fill(key.as_mut_slice())).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).ok()
    }
}

#[cfg(test)]
pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, store::redis::entry::Kind};

    const HEADER: Header = Header { kind: Kind::Value, version: 1, read_at: Timestamp::from_micros(2) };

    fn name(tag: &str) -> Key {
        Key::new("authv2", "session", &tag)
    }

    #[test]
    fn opens_under_its_own_name_header_and_key_only() {
        let seal = Seal::new(&[1; 32]);
        let sealed = seal.seal(&name("a"), &HEADER, b"private").unwrap();
        assert_eq!(seal.open(&name("a"), &HEADER, &sealed).unwrap().as_slice(), b"private");
        assert!(seal.open(&name("b"), &HEADER, &sealed).is_none());
        assert!(seal.open(&name("a"), &Header { version: 2, ..HEADER }, &sealed).is_none());
        let later = Header { read_at: Timestamp::from_micros(3), ..HEADER };
        assert!(seal.open(&name("a"), &later, &sealed).is_none());
        assert!(Seal::new(&[2; 32]).open(&name("a"), &HEADER, &sealed).is_none());
    }

    #[test]
    fn refuses_every_changed_byte_and_every_truncation() {
        let seal = Seal::new(&[1; 32]);
        let sealed = seal.seal(&name("a"), &HEADER, b"private").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open(&name("a"), &HEADER, &changed).is_none(), "byte {at}");
            assert!(seal.open(&name("a"), &HEADER, &sealed[..at]).is_none(), "length {at}");
        }
    }
}
