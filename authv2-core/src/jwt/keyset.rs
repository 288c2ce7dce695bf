//! The signing keys of a deployment at one moment: an immutable snapshot, unsealed from the store's records.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    ACCESS_TOKEN_TYPE, Algorithm, Jwk, Jwks, KeyError, SigningKey, TokenRefusal, VerifyingKey, jws::CompactJws, record,
};
use crate::{
    clock::Timestamp,
    master_key::{MasterKey, OpenError, SealError},
    store::{KeyState, SigningKeyRecord},
};

/// The stored signing keys cannot be used. None of them is left out silently: a node that cannot read one of them
/// would refuse good tokens, so it must say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The stored algorithm is nothing spoken here.
    #[error("signing key {kid} has an unknown algorithm")]
    UnknownAlgorithm {
        /// Which key.
        kid: String,
    },
    /// The key does not open: most likely the master key is not the one it was sealed under.
    #[error("signing key {kid} cannot be unsealed")]
    Sealed {
        /// Which key.
        kid: String,
        /// Why.
        source: OpenError,
    },
    /// What was unsealed is no usable key.
    #[error("signing key {kid} cannot be read")]
    Unreadable {
        /// Which key.
        kid: String,
        /// Why.
        source: KeyError,
    },
    /// Two records have the same `kid`.
    #[error("there are two signing keys {kid}")]
    Duplicate {
        /// Which.
        kid: String,
    },
    /// A new key could not be made or read.
    #[error("the new signing key cannot be used")]
    New(#[from] KeyError),
    /// A new key could not be sealed.
    #[error("the new signing key cannot be sealed")]
    Sealing(#[from] SealError),
}

/// The signing keys at one moment.
///
/// What a key may do follows from its record and the time alone, so that a rotation takes effect on every node at the
/// same moment without anybody having to act then:
/// 1. A pending key is published and verifies; it signs nothing.
/// 2. An active key signs from `activates_at` on; of several the one activated last. The one before it goes on
///    signing until that moment.
/// 3. A key verifies until `retires_at`; a retired one is refused from then on, and is not published.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    kid: String,
    state: KeyState,
    activates_at: Timestamp,
    retires_at: Option<Timestamp>,
    /// None for retired keys, which are not even unsealed.
    material: Option<Material>,
}

#[derive(Debug)]
struct Material {
    /// None for retiring keys: they sign no more.
    signing: Option<SigningKey>,
    verifying: VerifyingKey,
    jwk: Option<Jwk>,
    /// The header of every token that the key signs, encoded.
    header: String,
}

/// The key that signs at a moment, with what it puts in front of each token.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    pub(super) key: &'a SigningKey,
    pub(super) header: &'a str,
}

impl KeySet {
    /// Unseals the records.
    ///
    /// # Errors
    /// [`KeyRingError`] on the first record that cannot be used.
    pub fn open(records: &[SigningKeyRecord], master: &MasterKey) -> Result<Self, KeyRingError> {
        let mut keys: Vec<Entry> = Vec::with_capacity(records.len());
        for record in records {
            if keys.iter().any(|key| key.kid == record.kid) {
                return Err(KeyRingError::Duplicate { kid: record.kid.clone() });
            }
            let material = match record.state {
                KeyState::Retired => None,
                KeyState::Pending | KeyState::Active | KeyState::Retiring => Some(Material::open(record, master)?),
            };
            keys.push(Entry {
                kid: record.kid.clone(),
                state: record.state,
                activates_at: record.activates_at,
                retires_at: record.retires_at,
                material,
            });
        }
        Ok(Self { keys })
    }

    /// The key that signs at `now`, if there is one.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<Signer<'_>> {
        self.signing_entry(now)
            .and_then(|entry| entry.material.as_ref())
            .and_then(|material| Some(Signer { key: material.signing.as_ref()?, header: &material.header }))
    }

    /// The key of `kid`, if it verifies at `now`.
    ///
    /// # Errors
    /// [`TokenRefusal::UnknownKeyId`], [`TokenRefusal::RetiredKey`].
    pub fn verifying(&self, kid: &str, now: Timestamp) -> Result<&VerifyingKey, TokenRefusal> {
        let entry = self.keys.iter().find(|key| key.kid == kid).ok_or(TokenRefusal::UnknownKeyId)?;
        entry.usable(now).map(|material| &material.verifying).ok_or(TokenRefusal::RetiredKey)
    }

    /// The key whose tokens begin with exactly this encoded header, if it verifies at `now`.
    pub(super) fn by_encoded_header(&self, header: &str, now: Timestamp) -> Option<&VerifyingKey> {
        self.keys
            .iter()
            .filter_map(|key| key.usable(now))
            .find(|material| material.header == header)
            .map(|material| &material.verifying)
    }

    /// When the key of a verified token retires, if that is known yet.
    pub(super) fn retires_at(&self, token: &str) -> Option<Timestamp> {
        let jws = CompactJws::split(token).ok()?;
        let is_its = |entry: &&Entry| entry.material.as_ref().is_some_and(|material| material.header == jws.header);
        let key = match self.keys.iter().find(is_its) {
            Some(key) => key,
            None => {
                let kid = jws.read_header().ok()?.kid?;
                self.keys.iter().find(|key| *key.kid == *kid)?
            }
        };
        key.retires_at
    }

    /// Where the key of `kid` stands at `now`, which the stored state tells only together with the times.
    #[must_use]
    pub fn state(&self, kid: &str, now: Timestamp) -> Option<KeyState> {
        let entry = self.keys.iter().find(|key| key.kid == kid)?;
        let signs = self.signing_entry(now).is_some_and(|signing| signing.kid == kid);
        Some(match entry.state {
            _ if entry.usable(now).is_none() => KeyState::Retired,
            KeyState::Active if signs => KeyState::Active,
            KeyState::Active if entry.activates_at > now => KeyState::Pending,
            KeyState::Active => KeyState::Retiring,
            stored @ (KeyState::Pending | KeyState::Retiring | KeyState::Retired) => stored,
        })
    }

    /// Every public key that can still verify at `now`, to be published (RFC 7517 section 5). HMAC keys never are.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        Jwks { keys: self.keys.iter().filter_map(|key| key.usable(now)?.jwk.clone()).collect() }
    }

    fn signing_entry(&self, now: Timestamp) -> Option<&Entry> {
        self.keys
            .iter()
            .filter(|key| key.state == KeyState::Active && key.activates_at <= now && key.usable(now).is_some())
            .max_by_key(|key| key.activates_at)
    }
}

impl Entry {
    fn usable(&self, now: Timestamp) -> Option<&Material> {
        self.material.as_ref().filter(|_| self.retires_at.is_none_or(|at| now < at))
    }
}

impl Material {
    fn open(record: &SigningKeyRecord, master: &MasterKey) -> Result<Self, KeyRingError> {
        let kid = || record.kid.clone();
        let algorithm: Algorithm = record.alg.parse().map_err(|_| KeyRingError::UnknownAlgorithm { kid: kid() })?;
        let bytes = master
            .open(&record.sealed, &record::sealing_context(&record.kid, algorithm))
            .map_err(|source| KeyRingError::Sealed { kid: kid(), source })?;
        let unreadable = |source| KeyRingError::Unreadable { kid: kid(), source };
        let signing = SigningKey::from_private_bytes(algorithm, &bytes).map_err(unreadable)?;
        let verifying = signing.verifying_key().map_err(unreadable)?;
        let jwk = signing.public_jwk(&record.kid);
        let header = json!({"typ": ACCESS_TOKEN_TYPE, "alg": algorithm, "kid": record.kid}).to_string();
        Ok(Self {
            signing: (record.state != KeyState::Retiring).then_some(signing),
            verifying,
            jwk,
            header: URL_SAFE_NO_PAD.encode(header),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jwt::{new_key_record, pending_key_record};

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn master() -> MasterKey {
        MasterKey::from_bytes(&[1; 32])
    }

    fn kids(jwks: &Jwks) -> Vec<&str> {
        jwks.keys.iter().filter_map(|key| key.kid.as_deref()).collect()
    }

    #[test]
    fn a_rotation_takes_effect_by_time_alone() {
        let minute = Duration::from_secs(60);
        let mut old = new_key_record(Algorithm::EdDSA, NOW, &master()).unwrap();
        let mut new = pending_key_record(Algorithm::EdDSA, NOW, &master()).unwrap();
        let spare = pending_key_record(Algorithm::ES256, NOW, &master()).unwrap();
        new.state = KeyState::Active;
        new.activates_at = NOW + minute * 5;
        old.retires_at = Some(NOW + minute * 15);
        let keys = KeySet::open(&[old.clone(), new.clone(), spare.clone()], &master()).unwrap();
        let states = |at| [&old, &new, &spare].map(|record| keys.state(&record.kid, at).unwrap());
        use KeyState::{Active, Pending, Retired, Retiring};
        assert_eq!(states(NOW), [Active, Pending, Pending]);
        assert_eq!(states(NOW + minute * 5), [Retiring, Active, Pending]);
        assert_eq!(states(NOW + minute * 15), [Retired, Active, Pending]);
        assert_eq!(kids(&keys.jwks(NOW)), [&old.kid, &new.kid, &spare.kid]);
        assert_eq!(kids(&keys.jwks(NOW + minute * 15)), [&new.kid, &spare.kid]);
        assert_eq!(keys.verifying(&old.kid, NOW + minute * 15).unwrap_err(), TokenRefusal::RetiredKey);
    }

    #[test]
    fn a_retired_key_is_refused_and_never_unsealed() {
        let mut record = new_key_record(Algorithm::EdDSA, NOW, &master()).unwrap();
        record.state = KeyState::Retired;
        record.sealed.clear();
        let keys = KeySet::open(std::slice::from_ref(&record), &master()).unwrap();
        assert_eq!(keys.verifying(&record.kid, NOW).unwrap_err(), TokenRefusal::RetiredKey);
        assert!(keys.signer(NOW).is_none());
        assert!(keys.jwks(NOW).keys.is_empty());
    }

    #[test]
    fn records_that_cannot_be_used_are_errors_not_gaps() {
        let record = new_key_record(Algorithm::EdDSA, NOW, &master()).unwrap();
        let open = |record: SigningKeyRecord| KeySet::open(&[record], &master()).unwrap_err();
        let kid = record.kid.clone();
        let other = MasterKey::from_bytes(&[2; 32]);
        assert_eq!(
            KeySet::open(std::slice::from_ref(&record), &other).unwrap_err(),
            KeyRingError::Sealed { kid: kid.clone(), source: OpenError::Rejected }
        );
        let renamed = SigningKeyRecord { kid: "other".to_owned(), ..record.clone() };
        assert!(matches!(open(renamed), KeyRingError::Sealed { .. }), "a key cannot pass for another");
        let relabelled = SigningKeyRecord { alg: "HS256".to_owned(), ..record.clone() };
        assert!(matches!(open(relabelled), KeyRingError::Sealed { .. }), "nor its algorithm change");
        let unknown = SigningKeyRecord { alg: "none".to_owned(), ..record.clone() };
        assert_eq!(open(unknown), KeyRingError::UnknownAlgorithm { kid: kid.clone() });
        let twice = KeySet::open(&[record.clone(), record], &master()).unwrap_err();
        assert_eq!(twice, KeyRingError::Duplicate { kid });
    }

    #[test]
    fn hmac_keys_are_never_published() {
        let record = new_key_record(Algorithm::HS256, NOW, &master()).unwrap();
        let keys = KeySet::open(&[record], &master()).unwrap();
        assert!(keys.signer(NOW).is_some());
        assert!(keys.jwks(NOW).keys.is_empty());
    }
}
