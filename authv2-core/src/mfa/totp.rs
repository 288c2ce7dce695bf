//! Time-based one-time passwords (RFC 6238): HMAC-SHA-1, six digits, steps of 30 seconds, as every authenticator has it.

use std::{fmt, fmt::Write as _};

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::{
    clock::Timestamp,
    secret::{NoRandomness, Secret, equal_in_constant_time, random_bytes},
};

/// The length of a secret: 160 bits, as RFC 4226 section 4 recommends.
const SECRET_BYTES: usize = 20;

/// How long a code lasts, in seconds (RFC 6238 section 4).
const PERIOD: i64 = 30;

/// How many steps a clock may be off, either way (RFC 6238 section 5.2).
const DRIFT: i64 = 1;

/// One code in a million is right at each step.
const CODES: u32 = 1_000_000;

/// The secret that an authenticator shares with this deployment.
pub(crate) struct TotpSecret(Zeroizing<[u8; SECRET_BYTES]>);

impl TotpSecret {
    /// A fresh one.
    ///
    /// # Errors
    /// [`NoRandomness`] when the system gives none.
    pub(crate) fn random() -> Result<Self, NoRandomness> {
        Ok(Self(Zeroizing::new(random_bytes()?)))
    }

    /// The secret of these bytes; none if they are too many or too few.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Its bytes, to be sealed.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// As people type it: base32 (RFC 4648 section 6) without padding.
    pub(crate) fn base32(&self) -> Secret {
        Secret::new(BASE32_NOPAD.encode(self.expose()))
    }

    /// As authenticators scan it, in the de-facto standard's Key URI format: `issuer` and `account` are shown to people.
    pub(crate) fn uri(&self, issuer: &str, account: &str) -> Secret {
        let (issuer, account, secret) = (encoded(issuer), encoded(account), self.base32());
        let secret = secret.expose();
        Secret::new(format!(
            "otpauth://totp/{issuer}:{account}?secret={secret}&issuer={issuer}&algorithm=SHA1&digits=6&period={PERIOD}"
        ))
    }

    /// The step whose code this is, near `now` and after the step `used`. Which of them it is, if any, does not show in
    /// the time that this takes.
    pub(crate) fn step_of(&self, code: &str, now: Timestamp, used: i64) -> Option<i64> {
        let present = now.as_seconds().div_euclid(PERIOD);
        let mut found = None;
        for step in present - DRIFT..=present + DRIFT {
            let is_right = equal_in_constant_time(self.code_at(step).expose().as_bytes(), code.as_bytes());
            if is_right && step > used {
                found = found.or(Some(step));
            }
        }
        found
    }

    /// The code of a step (RFC 4226 section 5.3).
    fn code_at(&self, step: i64) -> Secret {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.expose());
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let digest = tag.as_ref();
        let offset = usize::from(digest.last().copied().unwrap_or_default() & 0x0f);
        // Twenty bytes, of which an offset of fifteen at most leaves four.
        let word = digest.get(offset..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
        Secret::new(format!("{:06}", (u32::from_be_bytes(word) & 0x7fff_ffff) % CODES))
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

/// Percent-encoded but for what RFC 3986 section 2.3 leaves alone.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            // Writing to a `String` cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> TotpSecret {
        TotpSecret::from_bytes(b"12345678901234567890").unwrap()
    }

    #[test]
    fn gives_the_codes_of_rfc_6238_appendix_b() {
        // The last six of its eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(example().code_at(seconds / PERIOD).expose(), code, "{seconds}");
            assert_eq!(example().step_of(code, Timestamp::from_seconds(seconds), 0), Some(seconds / PERIOD));
        }
    }

    #[test]
    fn gives_the_codes_of_rfc_4226_appendix_d() {
        let codes =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (step, code) in (0..).zip(codes) {
            assert_eq!(example().code_at(step).expose(), code, "{step}");
        }
    }

    #[test]
    fn takes_a_code_of_one_step_before_and_one_after() {
        let secret = example();
        let code = secret.code_at(100).expose().clone();
        let at = |second| secret.step_of(&code, Timestamp::from_seconds(second), 0);
        assert_eq!([at(2969), at(2970), at(3000), at(3029), at(3059), at(3060)], {
            let right = Some(100);
            [None, right, right, right, right, None]
        });
    }

    #[test]
    fn rejects_a_code_of_a_used_step_and_of_one_before() {
        let (secret, now) = (example(), Timestamp::from_seconds(3000));
        let [before, present, after] = [99, 100, 101].map(|step| secret.code_at(step).expose().clone());
        assert_eq!(secret.step_of(&present, now, 99), Some(100));
        assert_eq!(secret.step_of(&present, now, 100), None);
        assert_eq!(secret.step_of(&before, now, 100), None);
        assert_eq!(secret.step_of(&after, now, 100), Some(101));
    }

    #[test]
    fn rejects_what_is_no_code() {
        let (secret, now) = (example(), Timestamp::from_seconds(59));
        for wrong in ["", "28708", "2870820", "287083", " 287082", "２８７０８２", "94287082"] {
            assert_eq!(secret.step_of(wrong, now, 0), None, "{wrong:?}");
        }
    }

    #[test]
    fn writes_a_uri_in_which_nothing_is_taken_for_something_else() {
        assert_eq!(example().base32().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            example().uri("Ada & Söhne: Shop", "ada+x@example.org").expose(),
            "otpauth://totp/Ada%20%26%20S%C3%B6hne%3A%20Shop:ada%2Bx%40example.org\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Ada%20%26%20S%C3%B6hne%3A%20Shop\
             &algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn never_prints_itself() {
        assert_eq!(format!("{:?}", example()), "TotpSecret(..)");
    }
}
