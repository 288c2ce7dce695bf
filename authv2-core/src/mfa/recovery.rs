//! Recovery codes: for whoever has lost the authenticator, each good once.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::{
    id::UserId,
    secret::{NoRandomness, Secret, SecretHash, random_bytes},
};

/// Eighty bits: nobody guesses one of them, online or off.
const BYTES: usize = 10;
/// Their digits in base32, and how many of them stand together.
const DIGITS: usize = 16;
const GROUP: usize = 4;

/// A recovery code, as its sixteen digits.
pub(crate) struct RecoveryCode(Secret);

impl RecoveryCode {
    /// A fresh one.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system gives none.
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        let bytes: Zeroizing<[u8; BYTES]> = Zeroizing::new(random_bytes()?);
        Ok(Self(Secret::new(BASE32_NOPAD.encode(bytes.as_slice()).to_ascii_lowercase())))
    }

    /// Reads one as people type it: in either case, with or without hyphens and spaces. None for what cannot be one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits: Zeroizing<String> = Zeroizing::new(
            text.chars().filter(|c| !matches!(c, '-' | ' ')).map(|c| c.to_ascii_lowercase()).take(DIGITS + 1).collect(),
        );
        let is_code = digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'));
        is_code.then(|| Self(Secret::new(String::clone(&digits))))
    }

    /// As it is shown: `xxxx-xxxx-xxxx-xxxx`.
    pub(crate) fn grouped(&self) -> Secret {
        let mut text = String::with_capacity(DIGITS + DIGITS / GROUP);
        for (place, digit) in self.0.expose().chars().enumerate() {
            if place > 0 && place % GROUP == 0 {
                text.push('-');
            }
            text.push(digit);
        }
        Secret::new(text)
    }
}

/// Hashes recovery codes for the store.
///
/// A fast hash is right here: a code is random, not chosen. It is keyed, so that a reader of the database cannot try
/// codes at all, and it covers the user, so that no two accounts' codes can be tried at once.
pub(crate) struct RecoveryKey(hmac::Key);

impl RecoveryKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The hash of a code of `user`.
    pub(crate) fn hash(&self, user: UserId, code: &RecoveryCode) -> SecretHash {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(user.as_uuid().as_bytes());
        context.update(code.0.expose().as_bytes());
        // HMAC-SHA-256 is as long as a hash.
        SecretHash::from_stored(context.sign().as_ref()).unwrap_or_else(|| SecretHash::of(code.0.expose().as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_code_however_it_is_typed() {
        let code = RecoveryCode::random().unwrap();
        let shown = code.grouped().expose().clone();
        assert_eq!(shown.split('-').map(str::len).collect::<Vec<_>>(), [4, 4, 4, 4]);
        let (key, user) = (RecoveryKey::new(&[1; 32]), UserId::new());
        for typed in
            [shown.clone(), shown.to_uppercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " "))]
        {
            let read = RecoveryCode::parse(&typed).unwrap();
            assert_eq!(key.hash(user, &read), key.hash(user, &code), "{typed}");
        }
    }

    #[test]
    fn reads_nothing_else() {
        for wrong in
            ["", "123456", "abcd-efgh-ijkl", "abcd-efgh-ijkl-mnop-q", "abcd-efgh-ijkl-mno1", "abcd_efgh_ijkl_mnop"]
        {
            assert!(RecoveryCode::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_hash_is_of_one_user_under_one_key() {
        let (code, user) = (RecoveryCode::random().unwrap(), UserId::new());
        let hash = RecoveryKey::new(&[1; 32]).hash(user, &code);
        assert_ne!(hash, RecoveryKey::new(&[1; 32]).hash(UserId::new(), &code));
        assert_ne!(hash, RecoveryKey::new(&[2; 32]).hash(user, &code));
    }
}
