//! New signing keys, as records for the store: named here, sealed here.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Algorithm, Jwk, KeyError, KeyRingError, SigningKey, import::long_enough, kid};
use crate::{
    clock::Timestamp,
    master_key::MasterKey,
    store::{KeyState, SigningKeyRecord},
};

/// A day, in seconds.
const DAY: i64 = 24 * 3600;

/// A fresh key that signs at once: for the very first key only, since verifiers that hold an older JWK Set would
/// refuse its tokens. Later ones begin with [`pending_key_record`].
///
/// # Errors
/// [`KeyRingError`] when there is no randomness.
pub fn new_key_record(
    algorithm: Algorithm,
    now: Timestamp,
    master: &MasterKey,
) -> Result<SigningKeyRecord, KeyRingError> {
    seal_key(&SigningKey::generate(algorithm)?, KeyState::Active, now, master)
}

/// A fresh key that is published and does not sign until a rotation takes it.
///
/// # Errors
/// [`KeyRingError`] when there is no randomness.
pub fn pending_key_record(
    algorithm: Algorithm,
    now: Timestamp,
    master: &MasterKey,
) -> Result<SigningKeyRecord, KeyRingError> {
    seal_key(&SigningKey::generate(algorithm)?, KeyState::Pending, now, master)
}

/// Names `key` and seals it: for the store, and for nobody else's eyes.
///
/// # Errors
/// [`KeyRingError`] if the key cannot be written or sealed.
pub fn seal_key(
    key: &SigningKey,
    state: KeyState,
    now: Timestamp,
    master: &MasterKey,
) -> Result<SigningKeyRecord, KeyRingError> {
    let kid = kid::new(now, master)?;
    let sealed = master.seal(&key.private_bytes()?, &sealing_context(&kid, key.algorithm()))?;
    let fingerprint = fingerprint(key, master)?;
    Ok(SigningKeyRecord { state, ..record(kid, key.algorithm(), sealed, fingerprint, now) })
}

/// A key that is held elsewhere under `reference`, by its public half; pending.
///
/// # Errors
/// [`KeyRingError`] if the public half is none, or cannot be sealed.
pub(super) fn refer_to_key(
    reference: &str,
    algorithm: Algorithm,
    public: &Jwk,
    now: Timestamp,
    master: &MasterKey,
) -> Result<SigningKeyRecord, KeyRingError> {
    if algorithm.is_symmetric() || !Algorithm::SIGNING.contains(&algorithm) {
        return Err(KeyError::Rejected.into());
    }
    let public = public.clone().normalised().map_err(|_| KeyError::Rejected)?;
    public.verifying_key(algorithm).map_err(|_| KeyError::Rejected)?;
    long_enough(public.rsa_bits())?;
    let kid = kid::new(now, master)?;
    let fingerprint = public_fingerprint(&public)?;
    let json = serde_json::to_vec(&public.for_signing_with(algorithm, &kid)).map_err(|_| KeyError::Failed)?;
    let sealed = master.seal(&json, &public_context(&kid, algorithm, reference))?;
    Ok(SigningKeyRecord {
        reference: Some(reference.to_owned()),
        imported: true,
        ..record(kid, algorithm, sealed, fingerprint, now)
    })
}

fn record(
    kid: String,
    algorithm: Algorithm,
    sealed: Vec<u8>,
    fingerprint: Vec<u8>,
    now: Timestamp,
) -> SigningKeyRecord {
    SigningKeyRecord {
        kid,
        alg: algorithm.as_str().to_owned(),
        state: KeyState::Pending,
        sealed,
        created_at: now,
        activates_at: now,
        retires_at: None,
        fingerprint: Some(fingerprint),
        reference: None,
        imported: false,
        // What settings allow at most; less is promised when it is published.
        token_life: DAY,
        jwks_max_age: DAY,
        revoked_at: None,
    }
}

/// The algorithm of a record.
pub(super) fn algorithm(record: &SigningKeyRecord) -> Result<Algorithm, KeyRingError> {
    record.alg.parse().map_err(|_| KeyRingError::UnknownAlgorithm { kid: record.kid.clone() })
}

/// The private half of a key that is held here.
pub(super) fn unseal(record: &SigningKeyRecord, master: &MasterKey) -> Result<SigningKey, KeyRingError> {
    let (algorithm, kid) = (algorithm(record)?, &record.kid);
    let bytes = master
        .open(&record.sealed, &sealing_context(kid, algorithm))
        .map_err(|source| KeyRingError::Sealed { kid: kid.clone(), source })?;
    let unreadable = |source| KeyRingError::Unreadable { kid: kid.clone(), source };
    SigningKey::from_private_bytes(algorithm, &bytes).map_err(unreadable)
}

/// The public half of a key that is held elsewhere.
pub(super) fn unseal_public(
    record: &SigningKeyRecord,
    reference: &str,
    master: &MasterKey,
) -> Result<Jwk, KeyRingError> {
    let (algorithm, kid) = (algorithm(record)?, &record.kid);
    let bytes = master
        .open(&record.sealed, &public_context(kid, algorithm, reference))
        .map_err(|source| KeyRingError::Sealed { kid: kid.clone(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|_| KeyRingError::Unreadable { kid: kid.clone(), source: KeyError::Rejected })
}

/// What a key's material is known by, in whatever form and under whatever name it comes: the thumbprint of its public
/// half; of a secret, which may be one that can be guessed, a MAC under the master key.
///
/// # Errors
/// [`KeyRingError`] if the key cannot be written.
pub(super) fn fingerprint(key: &SigningKey, master: &MasterKey) -> Result<Vec<u8>, KeyRingError> {
    match key.public_jwk("") {
        Some(public) => public_fingerprint(&public),
        None => {
            let subkey = hmac::Key::new(hmac::HMAC_SHA256, master.derive("key fingerprints").as_slice());
            Ok(hmac::sign(&subkey, &key.private_bytes()?).as_ref().to_vec())
        }
    }
}

fn public_fingerprint(public: &Jwk) -> Result<Vec<u8>, KeyRingError> {
    let thumbprint = public.thumbprint().map_err(|_| KeyError::Rejected)?;
    Ok(URL_SAFE_NO_PAD.decode(thumbprint).map_err(|_| KeyError::Failed)?)
}

/// Binds a sealed key to its name and algorithm, so that whoever can write the table can neither swap two keys nor
/// turn one's public half into an HMAC secret.
fn sealing_context(kid: &str, algorithm: Algorithm) -> Vec<u8> {
    format!("signing key\0{algorithm}\0{kid}").into_bytes()
}

/// Public halves are sealed too: whoever can write the table cannot put another one there.
fn public_context(kid: &str, algorithm: Algorithm, reference: &str) -> Vec<u8> {
    format!("signing key elsewhere\0{algorithm}\0{kid}\0{reference}").into_bytes()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rsa::KeySize,
        signature::{KeyPair as _, RsaKeyPair},
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn master() -> MasterKey {
        MasterKey::from_bytes(&[1; 32])
    }

    #[test]
    fn the_same_material_has_the_same_fingerprint_under_any_name() {
        let key = SigningKey::generate(Algorithm::ES256).unwrap();
        let pem = SigningKey::from_private_bytes(Algorithm::ES256, &key.private_bytes().unwrap()).unwrap();
        assert_eq!(fingerprint(&key, &master()).unwrap(), fingerprint(&pem, &master()).unwrap());
        let seal = |key: &SigningKey| seal_key(key, KeyState::Pending, NOW, &master()).unwrap();
        assert_eq!(seal(&key).fingerprint, seal(&pem).fingerprint);
        let public = key.public_jwk("x").unwrap();
        let elsewhere = refer_to_key("kms/1", Algorithm::ES256, &public, NOW, &master()).unwrap();
        assert_eq!(elsewhere.fingerprint, seal(&key).fingerprint);
        let other = SigningKey::generate(Algorithm::ES256).unwrap();
        assert_ne!(seal(&other).fingerprint, seal(&key).fingerprint);

        let secret = SigningKey::from_secret(Algorithm::HS256, &[7; 32]).unwrap();
        let (here, there) = (fingerprint(&secret, &master()).unwrap(), MasterKey::from_bytes(&[2; 32]));
        assert_ne!(here, fingerprint(&secret, &there).unwrap(), "nobody can try secrets out on it");
    }

    #[test]
    fn the_public_half_of_a_key_elsewhere_cannot_be_exchanged() {
        let public = SigningKey::generate(Algorithm::EdDSA).unwrap().public_jwk("x").unwrap();
        let record = refer_to_key("kms/1", Algorithm::EdDSA, &public, NOW, &master()).unwrap();
        assert_eq!(unseal_public(&record, "kms/1", &master()).unwrap().x, public.x);
        assert!(unseal_public(&record, "kms/2", &master()).is_err());
        let plain = SigningKeyRecord { sealed: serde_json::to_vec(&public).unwrap(), ..record.clone() };
        assert!(unseal_public(&plain, "kms/1", &master()).is_err());
        assert!(unseal(&record, &master()).is_err(), "it is no private key");
        let here = pending_key_record(Algorithm::EdDSA, NOW, &master()).unwrap();
        assert!(unseal_public(&here, "kms/1", &master()).is_err(), "nor the other way round");
    }

    #[test]
    fn a_key_elsewhere_is_as_strong_as_one_here_and_known_in_whatever_form() {
        let refer = |public: &Jwk| refer_to_key("kms/1", Algorithm::RS256, public, NOW, &master());
        let weak = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = weak.public_key();
        let number = |bytes: &[u8]| Some(URL_SAFE_NO_PAD.encode(bytes));
        let weak = Jwk {
            n: number(public.modulus().big_endian_without_leading_zero()),
            e: number(public.exponent().big_endian_without_leading_zero()),
            kty: "RSA".to_owned(),
            ..Jwk::default()
        };
        let refused = refer(&weak).unwrap_err();
        assert!(matches!(refused, KeyRingError::New(KeyError::RsaSize { bits: 2048 })), "{refused:?}");

        let key = SigningKey::generate(Algorithm::RS256).unwrap();
        let public = key.public_jwk("x").unwrap();
        let padded = |text: &Option<String>| {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_ref().unwrap()).unwrap();
            number(&[&[0, 0], bytes.as_slice()].concat())
        };
        let other_form = Jwk { n: padded(&public.n), e: padded(&public.e), ..public.clone() };
        let known = Some(fingerprint(&key, &master()).unwrap());
        assert_eq!(
            (refer(&public).unwrap().fingerprint, refer(&other_form).unwrap().fingerprint),
            (known.clone(), known)
        );
        let unnamed = SigningKey::generate(Algorithm::ES512).unwrap().public_jwk("x").unwrap();
        assert!(refer_to_key("kms/1", Algorithm::ES512, &unnamed, NOW, &master()).is_err());
    }

    #[test]
    fn names_are_unique_and_fit_into_a_path() {
        let kid = || pending_key_record(Algorithm::EdDSA, NOW, &master()).unwrap().kid;
        let (one, two) = (kid(), kid());
        assert_ne!(one, two);
        assert_eq!(one.len(), 22);
    }
}
