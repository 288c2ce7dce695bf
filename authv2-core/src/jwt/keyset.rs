//! The signing keys of a deployment at one moment: an immutable snapshot, unsealed from the store's records.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;

use super::{
    ACCESS_TOKEN_TYPE, Jwk, Jwks, KeyError, SigningKey, TokenRefusal, VerifyingKey, jws::CompactJws, record, rotation,
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

/// The signing keys at one moment: what each may do follows from its record and the time (`rotation.rs`).
#[derive(Debug)]
pub struct KeySet {
    /// Without their sealed halves.
    records: Vec<SigningKeyRecord>,
    /// In the same order; none for retired keys, which are not even unsealed.
    materials: Vec<Option<Material>>,
}

#[derive(Debug)]
struct Material {
    /// None for retiring keys: they sign no more.
    private: Option<PrivateHalf>,
    verifying: VerifyingKey,
    jwk: Option<Jwk>,
    /// The header of every token that the key signs, encoded.
    header: String,
}

/// The half of a key that signs.
#[derive(Debug)]
pub(super) enum PrivateHalf {
    Here(SigningKey),
    /// Held elsewhere, under this name.
    Elsewhere(String),
}

/// The key that signs at a moment, with what it puts in front of each token.
#[derive(Debug, Clone, Copy)]
pub struct ActiveKey<'a> {
    pub(super) private: &'a PrivateHalf,
    pub(super) verifying: &'a VerifyingKey,
    pub(super) header: &'a str,
    /// Its name.
    pub(super) kid: &'a str,
    /// The longest that its tokens may live: it verifies that much longer than it signs.
    pub(super) token_life: Duration,
}

impl KeySet {
    /// Unseals the records.
    ///
    /// # Errors
    /// [`KeyRingError`] on the first record that cannot be used.
    pub fn open(records: &[SigningKeyRecord], master: &MasterKey) -> Result<Self, KeyRingError> {
        let mut set = Self { records: Vec::with_capacity(records.len()), materials: Vec::with_capacity(records.len()) };
        for record in records {
            if set.records.iter().any(|key| key.kid == record.kid) {
                return Err(KeyRingError::Duplicate { kid: record.kid.clone() });
            }
            set.materials.push(match record.state {
                KeyState::Retired => None,
                KeyState::Pending | KeyState::Active | KeyState::Retiring => Some(Material::open(record, master)?),
            });
            set.records.push(SigningKeyRecord { sealed: Vec::new(), ..record.clone() });
        }
        Ok(set)
    }

    /// The key that signs at `now`, if there is one.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<ActiveKey<'_>> {
        let record = rotation::signing(self.records.iter(), now)?;
        let (_, material) = self.verifying_at(now).find(|(key, _)| key.kid == record.kid)?;
        Some(ActiveKey {
            private: material.private.as_ref()?,
            verifying: &material.verifying,
            header: &material.header,
            kid: &record.kid,
            token_life: rotation::of_seconds(record.token_life),
        })
    }

    /// The key of `kid`, if it verifies at `now`.
    ///
    /// # Errors
    /// [`TokenRefusal::UnknownKeyId`], [`TokenRefusal::RetiredKey`], [`TokenRefusal::RevokedKey`].
    pub fn verifying(&self, kid: &str, now: Timestamp) -> Result<&VerifyingKey, TokenRefusal> {
        if let Some((_, material)) = self.verifying_at(now).find(|(key, _)| key.kid == kid) {
            return Ok(&material.verifying);
        }
        let key = self.records.iter().find(|key| key.kid == kid).ok_or(TokenRefusal::UnknownKeyId)?;
        Err(if key.revoked_at.is_some() { TokenRefusal::RevokedKey } else { TokenRefusal::RetiredKey })
    }

    /// The key whose tokens begin with exactly this encoded header, if it verifies at `now`.
    pub(super) fn by_encoded_header(&self, header: &str, now: Timestamp) -> Option<&VerifyingKey> {
        self.verifying_at(now).find(|(_, material)| material.header == header).map(|(_, material)| &material.verifying)
    }

    /// When the key of a verified token retires, if that is known yet.
    pub(super) fn retires_at(&self, token: &str) -> Option<Timestamp> {
        let jws = CompactJws::split(token).ok()?;
        let begins_so = |material: &Option<Material>| material.as_ref().is_some_and(|own| own.header == jws.header);
        let key = match self.materials.iter().position(begins_so) {
            Some(index) => self.records.get(index)?,
            None => {
                let kid = jws.read_header().ok()?.kid?;
                self.records.iter().find(|key| *key.kid == *kid)?
            }
        };
        key.retires_at
    }

    /// Where the key of `kid` stands at `now`, which the stored state tells only together with the times.
    #[must_use]
    pub fn state(&self, kid: &str, now: Timestamp) -> Option<KeyState> {
        let key = self.records.iter().find(|key| key.kid == kid)?;
        Some(rotation::state(key, &self.records, now))
    }

    /// Every public key that can still verify at `now`, to be published (RFC 7517 section 5). HMAC keys never are.
    #[must_use]
    pub fn jwks(&self, now: Timestamp) -> Jwks {
        Jwks { keys: self.verifying_at(now).filter_map(|(_, material)| material.jwk.clone()).collect() }
    }

    /// How long the keys of `now` may be kept at most: longer would outlast the publication of the next one.
    #[must_use]
    pub fn jwks_max_age(&self, now: Timestamp) -> Duration {
        let least = self.verifying_at(now).map(|(key, _)| key.jwks_max_age).min();
        rotation::of_seconds(least.unwrap_or(0))
    }

    fn verifying_at(&self, now: Timestamp) -> impl Iterator<Item = (&SigningKeyRecord, &Material)> {
        self.records
            .iter()
            .zip(&self.materials)
            .filter(move |(key, _)| rotation::verifies(key, now))
            .filter_map(|(key, material)| Some((key, material.as_ref()?)))
    }
}

impl Material {
    fn open(record: &SigningKeyRecord, master: &MasterKey) -> Result<Self, KeyRingError> {
        let algorithm = record::algorithm(record)?;
        let (private, verifying, jwk) = match &record.reference {
            None => {
                let signing = record::unseal(record, master)?;
                let unreadable = |source| KeyRingError::Unreadable { kid: record.kid.clone(), source };
                let verifying = signing.verifying_key().map_err(unreadable)?;
                let jwk = signing.public_jwk(&record.kid);
                (PrivateHalf::Here(signing), verifying, jwk)
            }
            Some(reference) => {
                let jwk = record::unseal_public(record, reference, master)?;
                let unreadable = |_| KeyRingError::Unreadable { kid: record.kid.clone(), source: KeyError::Rejected };
                let verifying = jwk.verifying_key(algorithm).map_err(unreadable)?;
                (PrivateHalf::Elsewhere(reference.clone()), verifying, Some(jwk))
            }
        };
        let header = json!({"typ": ACCESS_TOKEN_TYPE, "alg": algorithm, "kid": record.kid}).to_string();
        Ok(Self {
            private: (record.state != KeyState::Retiring).then_some(private),
            verifying,
            jwk,
            header: URL_SAFE_NO_PAD.encode(header),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::{Algorithm, new_key_record, pending_key_record};

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
