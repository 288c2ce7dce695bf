//! Passwords: what is accepted as one, and how it is hashed and verified.

pub mod hasher;
pub mod policy;
pub mod pool;

mod common;

use unicode_normalization::{UnicodeNormalization as _, is_nfc};

use crate::secret::Secret;

/// Code points that a password may have at most, after NFC.
pub const MAX_CODE_POINTS: usize = 256;

/// Octets looked at before normalising: 256 code points take 1024 at most, and their decomposed spelling three times that.
const MAX_INPUT: usize = 4096;

/// A password in NFC (NIST SP 800-63B-4 section 3.1.1.2), redacted in logs and wiped when dropped.
///
/// It comes from [`PasswordPolicy::check`](policy::PasswordPolicy::check) where one is chosen and from [`Password::for_verification`]
/// where one is presented; both normalise in the same way, so that a password typed on another keyboard still fits.
#[derive(Clone, Debug)]
pub struct Password(Secret);

impl Password {
    /// Takes a presented password, whatever the policy of today says about it.
    ///
    /// `None` if it is over 256 code points: no stored password can be that long, and a huge one must cost nothing. The
    /// answer to the client is that of a wrong password.
    #[must_use]
    pub fn for_verification(text: &str) -> Option<Self> {
        let password = Self::normalised(text)?;
        (password.code_points() <= MAX_CODE_POINTS).then_some(password)
    }

    /// A password that stands in where none could be read: it takes the time of one and is nobody's.
    #[must_use]
    pub fn stand_in() -> Self {
        Self(Secret::from("a password of usual length"))
    }

    /// The password in the clear, in NFC. For hashing only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// `None` if it is so long that it is not even worth normalising.
    fn normalised(text: &str) -> Option<Self> {
        if text.len() > MAX_INPUT {
            return None;
        }
        if is_nfc(text) {
            return Some(Self(text.into()));
        }
        // NFC never takes more than three times the octets (UAX #15 section 12): no growing buffer leaves copies behind.
        let mut normal = String::with_capacity(text.len().saturating_mul(3));
        normal.extend(text.nfc());
        Some(Self(Secret::new(normal)))
    }

    fn code_points(&self) -> usize {
        self.expose().chars().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_the_same_text_are_the_same_password() {
        let [a, b] = ["caf\u{e9} au lait", "cafe\u{301} au lait"].map(|text| Password::for_verification(text).unwrap());
        assert_eq!(a.expose(), b.expose());
    }

    #[test]
    fn bounds_what_it_looks_at_by_code_points_after_nfc() {
        let longest = "\u{e9}".repeat(256);
        assert!(Password::for_verification(&longest).is_some());
        assert!(Password::for_verification(&longest.nfd().collect::<String>()).is_some());
        assert!(Password::for_verification(&format!("{longest}x")).is_none());
        assert!(Password::for_verification(&"x".repeat(64 * 1024)).is_none());
        assert!(Password::for_verification(&"\u{10ffff}".repeat(256)).is_some());
    }

    #[test]
    fn is_not_printed() {
        assert_eq!(format!("{:?}", Password::for_verification("hunter22").unwrap()), "Password([redacted])");
    }
}
