//! What an API key looks like: `avk_<environment>_<id>_<secret><checksum>`, so that a scanner knows it when it sees it.
//!
//! The id's UUID, the 256-bit secret and the CRC-32 of all that stands before it are big-endian numbers in base62, of 22,
//! 43 and 6 digits.

use crc::{CRC_32_ISO_HDLC, Crc, Table};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    id::KeyId,
    secret::{Secret, SecretHash},
};

/// What every key starts with.
pub(crate) const PREFIX: &str = "avk_";
/// The longest name of an environment.
pub(crate) const ENVIRONMENT_MAX: usize = 16;

const ID: usize = 22;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
/// All that follows the environment.
const TAIL: usize = 1 + ID + 1 + SECRET + CHECKSUM;

/// In the order of ASCII, so that numbers of one width compare as their texts do.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The largest id and secret: all bits set.
const ID_MAX: &[u8; ID] = b"7n42DGM5Tflk9n8mt7Fhc7";
const SECRET_MAX: &[u8; SECRET] = b"yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

/// The CRC-32 of zlib and Ethernet.
static CRC_32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// A text that is an API key, whether or not there is such a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedKey {
    /// The key that it names.
    pub id: KeyId,
    /// The SHA-256 of the whole text: what the store has.
    pub hash: SecretHash,
}

impl ParsedKey {
    /// Reads a key, to the letter as it was shown when it was made; nothing else is one. Needs no store: a wrong
    /// checksum is found here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = id_in(text.as_bytes())?;
        Some(Self { id, hash: SecretHash::of(text.as_bytes()) })
    }
}

/// The id that a text claims to be a key of. Whoever goes by it must compare the hash of the whole text: then it is a key
/// to the letter. It spares looking at the rest first.
#[inline]
pub(crate) fn claimed_id(text: &[u8]) -> Option<KeyId> {
    let (_, tail) = text.strip_prefix(PREFIX.as_bytes())?.split_last_chunk::<TAIL>()?;
    let (id, _) = tail.strip_prefix(b"_")?.split_first_chunk::<ID>()?;
    is_id(id).then(|| KeyId::from(Uuid::from_u128(number(id))))
}

#[inline]
fn is_id(digits: &[u8; ID]) -> bool {
    is_number(digits) && digits <= ID_MAX
}

/// Looks at all of them, however soon it could tell: many at once that way.
#[inline]
fn is_number(digits: &[u8]) -> bool {
    digits.iter().fold(true, |is_number, digit| is_number & digit.is_ascii_alphanumeric())
}

/// The id in a key, if it is one.
fn id_in(key: &[u8]) -> Option<KeyId> {
    let rest = key.strip_prefix(PREFIX.as_bytes())?;
    let (environment, rest) = rest.split_at_checked(rest.len().checked_sub(TAIL)?)?;
    let (id, rest) = rest.strip_prefix(b"_")?.split_first_chunk::<ID>()?;
    let (secret, checksum) = rest.strip_prefix(b"_")?.split_first_chunk::<SECRET>()?;
    let (checked, _) = key.split_last_chunk::<CHECKSUM>()?;
    let is_key = is_environment_bytes(environment)
        && is_id(id)
        && is_number(secret)
        && secret <= SECRET_MAX
        && *checksum == checksum_of(checked);
    is_key.then(|| KeyId::from(Uuid::from_u128(number(id))))
}

/// Writes a key.
pub(crate) fn write(environment: &str, id: KeyId, secret: &[u8; 32]) -> Secret {
    let mut text = String::with_capacity(PREFIX.len() + environment.len() + TAIL);
    text.push_str(PREFIX);
    text.push_str(environment);
    text.push('_');
    push(&mut text, &*base62::<16, ID>(id.as_uuid().as_bytes()));
    text.push('_');
    push(&mut text, &*base62::<32, SECRET>(secret));
    let checksum = checksum_of(text.as_bytes());
    push(&mut text, &checksum);
    Secret::new(text)
}

/// What a person may see of a key: enough to know it by, nothing that opens anything.
pub(crate) fn shown(environment: &str, id: KeyId) -> String {
    let mut text = format!("{PREFIX}{environment}_");
    push(&mut text, &*base62::<16, ID>(id.as_uuid().as_bytes()));
    text
}

/// Whether `text` names an environment.
pub(crate) fn is_environment(text: &str) -> bool {
    is_environment_bytes(text.as_bytes())
}

fn is_environment_bytes(text: &[u8]) -> bool {
    (1..=ENVIRONMENT_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_lowercase)
}

fn checksum_of(text: &[u8]) -> [u8; CHECKSUM] {
    let (mut rest, mut digits) = (CRC_32.checksum(text), [b'0'; CHECKSUM]);
    for place in digits.iter_mut().rev() {
        *place = DIGITS.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits
}

fn push(text: &mut String, digits: &[u8]) {
    text.extend(digits.iter().map(|digit| char::from(*digit)));
}

/// A big-endian number in base62. `W` digits must be enough for `N` bytes.
fn base62<const N: usize, const W: usize>(number: &[u8; N]) -> Zeroizing<[u8; W]> {
    let (mut number, mut text) = (Zeroizing::new(*number), Zeroizing::new([b'0'; W]));
    for place in text.iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in number.iter_mut() {
            let part = rest << 8 | u16::from(*byte);
            // Below 256, since `rest` is below 62.
            *byte = (part / 62).to_le_bytes()[0];
            rest = part % 62;
        }
        *place = DIGITS.get(usize::from(rest)).copied().unwrap_or(b'0');
    }
    text
}

/// The number that 22 digits of base62 are. They are at most [`ID_MAX`].
fn number(digits: &[u8; ID]) -> u128 {
    const PART: usize = 10;
    // Ten digits fit into a word, in which numbers are cheaper.
    digits.chunks(PART).fold(0, |number, part| {
        let (value, base) = part
            .iter()
            .fold((0, 1), |(value, base): (u64, u64), digit| (value * 62 + u64::from(value_of(*digit)), base * 62));
        number.wrapping_mul(base.into()).wrapping_add(value.into())
    })
}

#[inline]
fn value_of(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'A'..=b'Z' => digit - b'A' + 10,
        _ => digit.wrapping_sub(b'a').wrapping_add(36),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made elsewhere, with another language's big numbers and zlib.
    const KEYS: [(&str, &str, [u8; 32], &str); 3] = [
        (
            "live",
            "01890a5d-ac96-774b-bcce-b302099a8057",
            [
                0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
                28, 29, 30, 31,
            ],
            "avk_live_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2HmFAe",
        ),
        (
            "test",
            "00000000-0000-0000-0000-000000000000",
            [0; 32],
            "avk_test_0000000000000000000000_00000000000000000000000000000000000000000004K1uED",
        ),
        (
            "sandboxsandboxes",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            [0xff; 32],
            "avk_sandboxsandboxes_7n42DGM5Tflk9n8mt7Fhc7_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp10B8HC2",
        ),
    ];

    fn key_id(uuid: &str) -> KeyId {
        uuid.parse().unwrap()
    }

    #[test]
    fn writes_and_reads_the_keys_of_another_implementation() {
        for (environment, uuid, secret, text) in KEYS {
            let id = key_id(uuid);
            assert_eq!(write(environment, id, &secret).expose(), text);
            assert!(text.starts_with(&shown(environment, id)));
            let parsed = ParsedKey::parse(text).unwrap();
            assert_eq!(parsed, ParsedKey { id, hash: SecretHash::of(text.as_bytes()) });
        }
        let hash = ParsedKey::parse(KEYS[0].3).unwrap().hash;
        assert_eq!(hash.as_bytes()[..4], [0x0e, 0xde, 0x0b, 0xf1]);
    }

    #[test]
    fn every_key_that_is_written_is_read() {
        for seed in 0..=255_u8 {
            let (id, secret) = (KeyId::new(), SecretHash::of(&[seed]));
            let text = write("live", id, secret.as_bytes());
            assert_eq!(ParsedKey::parse(text.expose()).unwrap().id, id);
        }
    }

    #[test]
    fn a_key_with_one_byte_changed_is_none() {
        for (.., text) in KEYS {
            for place in 0..text.len() {
                for byte in (0..128_u8).filter(|byte| *byte != text.as_bytes()[place]) {
                    let mut changed = text.as_bytes().to_vec();
                    changed[place] = byte;
                    let changed = String::from_utf8(changed).unwrap();
                    assert_eq!(ParsedKey::parse(&changed), None, "{changed}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_a_key_that_no_key_is_written_as() {
        let good = KEYS[0].3;
        let checked =
            |body: &str| format!("{body}{}", String::from_utf8(checksum_of(body.as_bytes()).to_vec()).unwrap());
        assert!(ParsedKey::parse(&checked(&good[..good.len() - CHECKSUM])).is_some(), "the checksums here are right");
        let (id, secret) = ("0".repeat(ID), "0".repeat(SECRET));
        for text in [
            String::new(),
            "avk_".to_owned(),
            "é".repeat(60),
            good.to_uppercase(),
            format!(" {good}"),
            format!("{good} "),
            good[..good.len() - 1].to_owned(),
            format!("{good}0"),
            good.replacen("avk", "avr", 1),
            checked(&format!("avk__{id}_{secret}")),
            checked(&format!("avk_{}_{id}_{secret}", "a".repeat(ENVIRONMENT_MAX + 1))),
            checked(&format!("avk_Live_{id}_{secret}")),
            checked(&format!("avk_li1e_{id}_{secret}")),
            checked(&format!("avk_live_{id}0_{secret}")),
            checked(&format!("avk_live_{}_{secret}", &id[1..])),
            checked(&format!("avk_live_{id}_{secret}0")),
            checked(&format!("avk_live_{id}-{secret}")),
            checked(&format!("avk_live_7n42DGM5Tflk9n8mt7Fhc8_{secret}")),
            checked(&format!("avk_live_{id}_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp2")),
            checked(&format!("avk_live_{id}_{}!", &secret[1..])),
        ] {
            assert_eq!(ParsedKey::parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_of_a_key_tells_nothing_of_its_secret() {
        let parsed = ParsedKey::parse(KEYS[0].3).unwrap();
        let shown = format!("{parsed:?} {}", shown("live", parsed.id));
        assert!(!shown.contains("003aUl") && !shown.to_lowercase().contains("0ede"), "{shown}");
    }
}
