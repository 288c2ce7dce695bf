//! Names of signing keys (`kid`): each says when it was made, and that it was made here.
//!
//! A name that no key at hand has may belong to a key that another node has just made. Only names that could be such
//! are worth asking the store for: made-up ones cost nothing.

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::KeyError;
use crate::{clock::Timestamp, master_key::MasterKey, secret::random_bytes};

/// The bytes of a name: milliseconds since the epoch, random ones, a MAC of both.
const TIME: usize = 6;
const RANDOM: usize = 4;
const MAC: usize = 6;

/// A name for a key that is made at `now`. It is no secret.
pub(super) fn new(now: Timestamp, master: &MasterKey) -> Result<String, KeyError> {
    let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0).to_be_bytes();
    let random = random_bytes::<RANDOM>().map_err(|_| KeyError::Failed)?;
    let mut name = Vec::with_capacity(TIME + RANDOM + MAC);
    name.extend_from_slice(millis.last_chunk::<TIME>().unwrap_or(&[0; TIME]));
    name.extend_from_slice(&random);
    let mac = mac(&name, master);
    name.extend_from_slice(&mac);
    Ok(URL_SAFE_NO_PAD.encode(name))
}

/// When the key of this name was made; `None` if the name was not made here.
pub(super) fn made_at(kid: &str, master: &MasterKey) -> Option<Timestamp> {
    let bytes: [u8; TIME + RANDOM + MAC] = URL_SAFE_NO_PAD.decode(kid).ok()?.try_into().ok()?;
    let (name, sent) = bytes.split_at(TIME + RANDOM);
    constant_time::verify_slices_are_equal(&mac(name, master), sent).ok()?;
    let millis = name.iter().take(TIME).fold(0_i64, |millis, byte| millis << 8 | i64::from(*byte));
    Some(Timestamp::from_micros(millis.saturating_mul(1000)))
}

fn mac(name: &[u8], master: &MasterKey) -> [u8; MAC] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, master.derive("key names").as_slice());
    let tag = hmac::sign(&key, name);
    *tag.as_ref().first_chunk::<MAC>().unwrap_or(&[0; MAC])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_it_was_made_and_cannot_be_made_up() {
        let master = MasterKey::from_bytes(&[1; 32]);
        let now = Timestamp::from_micros(1_700_000_000_123_000);
        let name = new(now, &master).unwrap();
        assert_eq!((name.len(), made_at(&name, &master)), (22, Some(now)));
        assert_eq!(made_at(&name, &MasterKey::from_bytes(&[2; 32])), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&name).unwrap();
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            assert_eq!(made_at(&URL_SAFE_NO_PAD.encode(&bytes), &master), None, "byte {place}");
            bytes[place] ^= 1;
        }
        for made_up in ["", "x", "AAAAAAAAAAAAAAAAAAAAAA", &format!("{name}A"), &name[..21]] {
            assert_eq!(made_at(made_up, &master), None, "{made_up}");
        }
    }
}
