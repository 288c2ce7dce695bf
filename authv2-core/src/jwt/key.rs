//! Signing and verifying keys: parsed once, each with the one algorithm it may be used with.
//!
//! These go straight to aws-lc-rs, where jsonwebtoken would parse the PKCS#8 document at every signature (which more
//! than doubles the cost of an RSA one) and rebuild the public key at every verification.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
        ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, ED25519,
        EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
        RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
        RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaParameters,
        RsaPublicKeyComponents, RsaSignatureEncoding,
    },
};
use zeroize::Zeroizing;

use super::{Algorithm, Jwk, rsa_strength};
use crate::secret::random_bytes;

/// A key could not be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text holds no PEM block, a broken one or several.
    #[error("not a PEM file with one private key")]
    NotPem,
    /// The PEM block is a private key in a wrapping that is not read here: an encrypted one, or OpenSSH's own.
    #[error("the private key is not unencrypted PKCS#8, SEC 1 or PKCS#1")]
    UnknownWrapping,
    /// The text is no JWK with a private key, or says that the key is not for signing with this algorithm.
    #[error("not a JWK of a private key for this algorithm")]
    NotPrivateJwk,
    /// The bytes are no key for this algorithm, or a malformed one.
    #[error("not a key for this algorithm")]
    Rejected,
    /// The secret is shorter than the algorithm's digest (RFC 7518 section 3.2).
    #[error("the secret is shorter than {needed} bytes")]
    TooShort {
        /// The least length, in bytes.
        needed: usize,
    },
    /// The RSA key is not of 2048 to 8192 bits; one that is to sign here has at least 3072.
    #[error("an RSA key of {bits} bits is not acceptable")]
    RsaSize {
        /// Its length, in bits.
        bits: usize,
    },
    /// The RSA key was made by a chip whose keys can be factored (CVE-2017-15361).
    #[error("the RSA key can be factored")]
    Roca,
    /// The cryptographic library failed at something that works with a sound key and a working random generator.
    #[error("the cryptographic operation failed")]
    Failed,
}

/// A private key, ready to sign. It signs with one algorithm only. `Debug` shows nothing of it.
pub struct SigningKey {
    algorithm: Algorithm,
    half: PrivateHalf,
}

enum PrivateHalf {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static RsaSignatureEncoding),
    Hmac(Box<hmac::Key>, Zeroizing<Vec<u8>>),
}

/// What aws-lc-rs needs to know about an algorithm.
pub(super) enum Family {
    Ed25519,
    Ecdsa(&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm),
    Rsa(&'static RsaSignatureEncoding, &'static RsaParameters),
    Hmac(hmac::Algorithm),
}

pub(super) fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::EdDSA => Family::Ed25519,
        Algorithm::ES256 => Family::Ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Family::Ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED),
        Algorithm::ES512 => Family::Ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED),
        Algorithm::RS256 => Family::Rsa(&RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Family::Rsa(&RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Family::Rsa(&RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Family::Rsa(&RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Family::Rsa(&RSA_PSS_SHA384, &RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Family::Rsa(&RSA_PSS_SHA512, &RSA_PSS_2048_8192_SHA512),
        Algorithm::HS256 => Family::Hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => Family::Hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => Family::Hmac(hmac::HMAC_SHA512),
    }
}

impl SigningKey {
    /// A fresh key. RSA keys have 3072 bits and take a noticeable part of a second: not for the async executor.
    ///
    /// # Errors
    /// [`KeyError::Failed`] when there is no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let half = match family(algorithm) {
            Family::Ed25519 => Ed25519KeyPair::generate().map(PrivateHalf::Ed25519),
            Family::Ecdsa(signing, _) => EcdsaKeyPair::generate(signing).map(PrivateHalf::Ecdsa),
            Family::Rsa(encoding, _) => {
                RsaKeyPair::generate(KeySize::Rsa3072).map(|pair| PrivateHalf::Rsa(pair, encoding))
            }
            Family::Hmac(_) => {
                let secret = Zeroizing::new(random_bytes::<64>().map_err(|_| KeyError::Failed)?);
                return Self::from_secret(algorithm, secret.as_slice());
            }
        };
        Ok(Self { algorithm, half: half.map_err(|_| KeyError::Failed)? })
    }

    /// Takes an HMAC secret as it is.
    ///
    /// # Errors
    /// [`KeyError::TooShort`] below the length of the digest, [`KeyError::Rejected`] for other algorithms.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        let key = hmac_key(algorithm, secret)?;
        Ok(Self { algorithm, half: PrivateHalf::Hmac(key, Zeroizing::new(secret.to_vec())) })
    }

    /// Reads back what [`SigningKey::private_bytes`] wrote.
    ///
    /// # Errors
    /// [`KeyError`] if the bytes are no key for `algorithm`, or one too weak for it.
    pub fn from_private_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, KeyError> {
        let half = match family(algorithm) {
            Family::Ed25519 => Ed25519KeyPair::from_pkcs8(bytes).map(PrivateHalf::Ed25519),
            Family::Ecdsa(signing, _) => EcdsaKeyPair::from_pkcs8(signing, bytes).map(PrivateHalf::Ecdsa),
            Family::Rsa(encoding, _) => RsaKeyPair::from_pkcs8(bytes).map(|pair| PrivateHalf::Rsa(pair, encoding)),
            Family::Hmac(_) => return Self::from_secret(algorithm, bytes),
        };
        let key = Self { algorithm, half: half.map_err(|_| KeyError::Rejected)? };
        if let PrivateHalf::Rsa(pair, _) = &key.half {
            let public = pair.public_key();
            rsa_strength::check(
                public.modulus().big_endian_without_leading_zero(),
                public.exponent().big_endian_without_leading_zero(),
            )?;
        }
        Ok(key)
    }

    /// The private key as bytes, to be sealed at once: PKCS#8 DER, or the secret itself for HMAC.
    ///
    /// # Errors
    /// [`KeyError::Failed`] if it cannot be written.
    pub fn private_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = match &self.half {
            PrivateHalf::Ed25519(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            PrivateHalf::Ecdsa(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            PrivateHalf::Rsa(pair, _) => {
                AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|document| document.as_ref().to_vec())
            }
            PrivateHalf::Hmac(_, secret) => Ok(secret.to_vec()),
        };
        document.map(Zeroizing::new).map_err(|_| KeyError::Failed)
    }

    /// The length of an RSA key.
    pub(super) fn rsa_bits(&self) -> Option<usize> {
        let PrivateHalf::Rsa(pair, _) = &self.half else { return None };
        Some(rsa_strength::bits(pair.public_key().modulus().big_endian_without_leading_zero()))
    }

    /// The one algorithm this key signs with.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key that verifies what this one signs; for HMAC the same secret.
    ///
    /// # Errors
    /// [`KeyError::Rejected`] if the public half is not acceptable.
    pub fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        match &self.half {
            PrivateHalf::Ed25519(pair) => VerifyingKey::from_point(self.algorithm, pair.public_key().as_ref()),
            PrivateHalf::Ecdsa(pair) => VerifyingKey::from_point(self.algorithm, pair.public_key().as_ref()),
            PrivateHalf::Rsa(pair, _) => {
                let public = pair.public_key();
                VerifyingKey::from_rsa(
                    self.algorithm,
                    public.modulus().big_endian_without_leading_zero(),
                    public.exponent().big_endian_without_leading_zero(),
                )
            }
            PrivateHalf::Hmac(key, _) => {
                Ok(VerifyingKey { algorithm: self.algorithm, half: PublicHalf::Hmac(key.clone()) })
            }
        }
    }

    /// The public half as published under `kid` (RFC 7517). `None` for HMAC, whose key is nobody else's business.
    #[must_use]
    pub fn public_jwk(&self, kid: &str) -> Option<Jwk> {
        match &self.half {
            PrivateHalf::Ed25519(pair) => Some(Jwk::of_ed25519(pair.public_key().as_ref())),
            PrivateHalf::Ecdsa(pair) => Jwk::of_ecdsa(self.algorithm, pair.public_key().as_ref()),
            PrivateHalf::Rsa(pair, _) => {
                let public = pair.public_key();
                Some(Jwk::of_rsa(
                    public.modulus().big_endian_without_leading_zero(),
                    public.exponent().big_endian_without_leading_zero(),
                ))
            }
            PrivateHalf::Hmac(..) => None,
        }
        .map(|jwk| jwk.for_signing_with(self.algorithm, kid))
    }

    /// Signs `message`, in the form that JWS wants (RFC 7518 section 3, RFC 8037 section 3.1).
    ///
    /// # Errors
    /// [`KeyError::Failed`] if there is no randomness where the algorithm needs it.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.half {
            PrivateHalf::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            PrivateHalf::Ecdsa(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec())
            }
            PrivateHalf::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).map(|()| signature)
            }
            PrivateHalf::Hmac(key, _) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
        .map_err(|_| KeyError::Failed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm)
    }
}

/// A key that verifies, with one algorithm only. For HMAC it is the secret itself; `Debug` shows nothing of it.
#[derive(Clone)]
pub struct VerifyingKey {
    algorithm: Algorithm,
    half: PublicHalf,
}

#[derive(Clone)]
enum PublicHalf {
    Asymmetric(ParsedPublicKey),
    Hmac(Box<hmac::Key>),
}

impl VerifyingKey {
    /// An Ed25519 public key (32 bytes), or an uncompressed point of the algorithm's curve.
    pub(super) fn from_point(algorithm: Algorithm, point: &[u8]) -> Result<Self, KeyError> {
        let key = match family(algorithm) {
            Family::Ed25519 if point.len() == 32 => ParsedPublicKey::new(&ED25519, point),
            Family::Ecdsa(_, verification) => ParsedPublicKey::new(verification, point),
            Family::Ed25519 | Family::Rsa(..) | Family::Hmac(_) => return Err(KeyError::Rejected),
        };
        Ok(Self { algorithm, half: PublicHalf::Asymmetric(key.map_err(|_| KeyError::Rejected)?) })
    }

    /// An RSA public key, big-endian and without leading zeros.
    pub(super) fn from_rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let Family::Rsa(_, parameters) = family(algorithm) else { return Err(KeyError::Rejected) };
        rsa_strength::check(modulus, exponent)?;
        let key = RsaPublicKeyComponents { n: modulus, e: exponent }
            .to_parsed_public_key(parameters)
            .map_err(|_| KeyError::Rejected)?;
        Ok(Self { algorithm, half: PublicHalf::Asymmetric(key) })
    }

    /// An HMAC secret.
    pub(super) fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { algorithm, half: PublicHalf::Hmac(hmac_key(algorithm, secret)?) })
    }

    /// The one algorithm this key verifies.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`. HMACs are compared in constant time.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.half {
            PublicHalf::Asymmetric(key) => key.verify_sig(message, signature).is_ok(),
            PublicHalf::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.algorithm)
    }
}

fn hmac_key(algorithm: Algorithm, secret: &[u8]) -> Result<Box<hmac::Key>, KeyError> {
    let Family::Hmac(hmac) = family(algorithm) else { return Err(KeyError::Rejected) };
    let needed = hmac.digest_algorithm().output_len();
    if secret.len() < needed {
        return Err(KeyError::TooShort { needed });
    }
    Ok(Box::new(hmac::Key::new(hmac, secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_verifies_and_survives_storage() {
        for &algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let stored = SigningKey::from_private_bytes(algorithm, &key.private_bytes().unwrap()).unwrap();
            let signature = stored.sign(b"message").unwrap();
            let verifying = key.verifying_key().unwrap();
            assert!(verifying.verifies(b"message", &signature), "{algorithm}");
            assert!(!verifying.verifies(b"massage", &signature), "{algorithm}");
            assert!(!verifying.verifies(b"message", &[]), "{algorithm}");
            assert_eq!(key.public_jwk("k").is_none(), algorithm.is_symmetric(), "{algorithm}");
        }
    }

    #[test]
    fn a_key_is_refused_for_another_algorithm() {
        let ed25519 = SigningKey::generate(Algorithm::EdDSA).unwrap().private_bytes().unwrap();
        let p256 = SigningKey::generate(Algorithm::ES256).unwrap().private_bytes().unwrap();
        for (algorithm, bytes) in [
            (Algorithm::ES256, &ed25519),
            (Algorithm::RS256, &ed25519),
            (Algorithm::ES384, &p256),
            (Algorithm::EdDSA, &p256),
        ] {
            let refusal = SigningKey::from_private_bytes(algorithm, bytes).unwrap_err();
            assert_eq!(refusal, KeyError::Rejected, "{algorithm}");
        }
    }

    #[test]
    fn secrets_shorter_than_the_digest_are_refused() {
        for (algorithm, needed) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
            let secret = vec![7; needed];
            assert!(SigningKey::from_secret(algorithm, &secret).is_ok());
            let refusal = SigningKey::from_secret(algorithm, &secret[1..]).unwrap_err();
            assert_eq!(refusal, KeyError::TooShort { needed });
        }
        assert_eq!(SigningKey::from_secret(Algorithm::EdDSA, &[7; 32]).unwrap_err(), KeyError::Rejected);
    }

    #[test]
    fn prints_nothing_of_a_key() {
        let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
        assert_eq!(format!("{key:?} {:?}", key.verifying_key().unwrap()), "SigningKey(EdDSA) VerifyingKey(EdDSA)");
    }
}
