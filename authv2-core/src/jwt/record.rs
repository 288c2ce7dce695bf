//! New signing keys, as records for the store: named here, sealed here.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::{Algorithm, KeyError, KeyRingError, SigningKey};
use crate::{
    clock::Timestamp,
    master_key::MasterKey,
    store::{KeyState, SigningKeyRecord},
};

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

/// A key brought along in a file, as the first key of a fresh store: a PKCS#8 PEM file, or for HMAC the raw bytes of
/// the secret, all of them, a final line feed included.
///
/// # Errors
/// [`KeyRingError::New`] if the file holds no key for `algorithm`, or one too weak for it.
pub fn key_record_from_file(
    algorithm: Algorithm,
    contents: &[u8],
    now: Timestamp,
    master: &MasterKey,
) -> Result<SigningKeyRecord, KeyRingError> {
    let key = if algorithm.is_symmetric() {
        SigningKey::from_secret(algorithm, contents)?
    } else {
        let pem = std::str::from_utf8(contents).map_err(|_| KeyError::NotPem)?;
        SigningKey::from_pkcs8_pem(algorithm, pem)?
    };
    seal_key(&key, KeyState::Active, now, master)
}

/// Names `key` and seals it. The name is unique and sorts by age; it is no secret.
///
/// # Errors
/// [`KeyRingError`] if the key cannot be written or sealed.
pub fn seal_key(
    key: &SigningKey,
    state: KeyState,
    now: Timestamp,
    master: &MasterKey,
) -> Result<SigningKeyRecord, KeyRingError> {
    let kid = URL_SAFE_NO_PAD.encode(Uuid::now_v7().as_bytes());
    let sealed = master.seal(&key.private_bytes()?, &sealing_context(&kid, key.algorithm()))?;
    Ok(SigningKeyRecord {
        kid,
        alg: key.algorithm().as_str().to_owned(),
        state,
        sealed,
        created_at: now,
        activates_at: now,
        retires_at: None,
    })
}

/// Binds a sealed key to its name and algorithm, so that whoever can write the table can neither swap two keys nor
/// turn one's public half into an HMAC secret.
pub(super) fn sealing_context(kid: &str, algorithm: Algorithm) -> Vec<u8> {
    format!("signing key\0{algorithm}\0{kid}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn master() -> MasterKey {
        MasterKey::from_bytes(&[1; 32])
    }

    #[test]
    fn a_file_holds_pem_or_for_hmac_the_secret_itself() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";
        let record = key_record_from_file(Algorithm::EdDSA, pem.as_bytes(), NOW, &master()).unwrap();
        assert_eq!((record.alg.as_str(), record.state), ("EdDSA", KeyState::Active));
        assert!(key_record_from_file(Algorithm::HS256, &[0xff; 32], NOW, &master()).is_ok());
        for (algorithm, contents, refusal) in [
            (Algorithm::HS256, &[0xff; 31][..], KeyError::TooShort { needed: 32 }),
            (Algorithm::EdDSA, &[0xff; 32][..], KeyError::NotPem),
            (Algorithm::ES256, pem.as_bytes(), KeyError::Rejected),
        ] {
            let error = key_record_from_file(algorithm, contents, NOW, &master()).unwrap_err();
            assert_eq!(error, KeyRingError::New(refusal), "{algorithm}");
        }
    }

    #[test]
    fn names_are_unique_and_fit_into_a_path() {
        let kid = || pending_key_record(Algorithm::EdDSA, NOW, &master()).unwrap().kid;
        let (one, two) = (kid(), kid());
        assert_ne!(one, two);
        assert_eq!(one.len(), 22);
    }
}
