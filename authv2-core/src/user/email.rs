//! E-mail addresses: parsed once, compared by a key that never merges two people.

use std::{fmt, hash};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization as _;

/// Octets a local part may have (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Octets a whole address may have (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const MAX_ADDRESS: usize = 254;
/// Octets looked at before normalising. NFC shrinks a text at most to a third of its UTF-8 length for what it composes, so
/// nothing longer could come down to [`MAX_ADDRESS`] and be an address anybody has.
const MAX_INPUT: usize = 4 * MAX_ADDRESS;

/// Why a text is not accepted as an e-mail address.
///
/// The text itself is never part of the error, so that it can be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEmail {
    /// No `@`, or nothing on one side of it.
    #[error("an e-mail address has a name, an @ and a domain")]
    Incomplete,
    /// The local part is over 64 octets or the whole over 254, as written or in its comparison form.
    #[error("the e-mail address is too long")]
    TooLong,
    /// The part before the `@` has a character or a dot where none may be, or is quoted.
    #[error("the part before the @ is not valid")]
    LocalPart,
    /// The part after the `@` is not a domain name: an address literal, a bare number, or labels that IDNA refuses.
    #[error("the part after the @ is not a domain name")]
    Domain,
}

/// An e-mail address (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
///
/// What is accepted: a dot-atom local part, in UTF-8 if need be, and a domain name. What is not:
/// - quoted local parts (`"a b"@example.com`): hardly anybody has one, and their spaces, quotes and second `@` are what
///   injects headers into systems downstream;
/// - comments, display names, address literals (`a@[192.0.2.1]`) and dotted numbers in their place;
/// - white space, control characters, and invisible ones that only serve to make two addresses look alike (directional
///   marks, zero-width spaces, the soft hyphen, tags). The zero-width joiners stay: some scripts are spelled with them.
///
/// Single-label domains (`root@localhost`) are accepted: intranets have them, and mail to them fails harmlessly elsewhere.
///
/// Two addresses are the same if their [`key`](Self::key)s are, and that is what `==` and hashing look at. Nothing is ever
/// lost: dots, plus tags and compatibility variants (full-width letters, `ſ`, `ı`, `ß` against `ss`) keep people apart.
///
/// `Debug` shows the domain alone; there is no `Display`, so that no address reaches a log by accident.
#[derive(Clone)]
pub struct Email {
    written: String,
    key: String,
}

impl Email {
    /// Reads an address.
    ///
    /// # Errors
    /// [`InvalidEmail`] says which part was refused.
    pub fn parse(text: &str) -> Result<Self, InvalidEmail> {
        if text.len() > MAX_INPUT {
            return Err(InvalidEmail::TooLong);
        }
        let written: String = text.nfc().collect();
        let (local, domain) = written.rsplit_once('@').ok_or(InvalidEmail::Incomplete)?;
        if local.is_empty() || domain.is_empty() {
            return Err(InvalidEmail::Incomplete);
        }
        check_local_part(local)?;
        let folded = fold_case(local);
        let domain = domain_key(domain)?;
        let key = format!("{folded}@{domain}");
        // Both forms are measured, so that a key is itself an address and can be parsed again.
        let longest_local = local.len().max(folded.len());
        if longest_local > MAX_LOCAL || written.len().max(key.len()) > MAX_ADDRESS {
            return Err(InvalidEmail::TooLong);
        }
        Ok(Self { written, key })
    }

    /// The address as its owner wrote it, in NFC: the one to show and to send mail to.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The form to compare and to look up: NFC, lower case, the domain in A-labels (RFC 5890, UTS 46 non-transitional).
    ///
    /// It may have another spelling than the mailbox: send mail to the stored [`as_str`](Self::as_str), never to this, and
    /// never to what somebody typed into a "forgot password" form.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The part before the `@`, as written.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.written.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// The domain in A-labels and lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.key.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Email {}

impl hash::Hash for Email {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Email([redacted]@{})", self.domain())
    }
}

/// RFC 5322 section 3.2.3 dot-atom-text, with the UTF-8 that RFC 6532 section 3.2 adds to `atext`.
fn check_local_part(local: &str) -> Result<(), InvalidEmail> {
    let good = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_character));
    if good { Ok(()) } else { Err(InvalidEmail::LocalPart) }
}

fn is_atom_character(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_control() && !c.is_whitespace() && !is_invisible(c)
    }
}

/// Characters without a glyph of their own, and noncharacters; the joiners U+200C and U+200D are orthography.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e00ff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Lower case by Unicode's own mapping, one character at a time, and the final sigma, whose upper case is that of the other.
///
/// Full case folding would go further (`ß` to `ss`, `ſ` to `s`), and upper-casing first would turn `ı` into `i`: each of
/// these hands one person's account to another, so they stay apart.
fn fold_case(local: &str) -> String {
    local.chars().flat_map(char::to_lowercase).map(|c| if c == 'ς' { 'σ' } else { c }).nfc().collect()
}

fn domain_key(domain: &str) -> Result<String, InvalidEmail> {
    // Hyphens in the third and fourth place are refused by the strict mode, and exist.
    let ascii = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| InvalidEmail::Domain)?;
    // A last label of digits is an IPv4 address or nothing (RFC 3696 section 2).
    let ends_in_number = ascii.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if ends_in_number { Err(InvalidEmail::Domain) } else { Ok(ascii.into_owned()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> String {
        Email::parse(text).unwrap().key().to_owned()
    }

    #[test]
    fn compares_without_case_normal_form_or_domain_spelling() {
        for (a, b) in [
            ("Ann.Lee@Example.COM", "ann.lee@example.com"),
            ("JOS\u{c9}@example.com", "jose\u{301}@example.com"),
            ("info@B\u{fc}cher.example", "info@xn--bcher-kva.example"),
            ("info@bu\u{308}cher.example", "INFO@XN--BCHER-KVA.EXAMPLE"),
            ("ΟΔΥΣΣΕΥΣ@example.gr", "οδυσσευς@example.gr"),
            ("ПОЧТА@пример.рф", "почта@xn--e1afmkfd.xn--p1ai"),
            ("a@ｅｘａｍｐｌｅ.com", "a@example.com"),
        ] {
            assert_eq!(key(a), key(b), "{a} {b}");
            assert_eq!(Email::parse(a), Email::parse(b));
        }
    }

    #[test]
    fn keeps_different_people_apart() {
        for (a, b) in [
            ("ann.lee@example.com", "annlee@example.com"),
            ("ann+shop@example.com", "ann@example.com"),
            ("stra\u{df}e@example.com", "strasse@example.com"),
            ("m\u{131}ke@example.com", "mike@example.com"),
            ("M\u{130}KE@example.com", "mike@example.com"),
            ("\u{17f}am@example.com", "sam@example.com"),
            ("ａnn@example.com", "ann@example.com"),
            ("\u{430}nn@example.com", "ann@example.com"),
            ("ann@strasse.example", "ann@stra\u{df}e.example"),
        ] {
            assert_ne!(key(a), key(b), "{a} {b}");
        }
    }

    #[test]
    fn keeps_what_was_written() {
        let email = Email::parse("Zoe\u{308}.B@B\u{fc}cher.example").unwrap();
        assert_eq!(email.as_str(), "Zo\u{eb}.B@B\u{fc}cher.example");
        assert_eq!((email.local_part(), email.domain()), ("Zo\u{eb}.B", "xn--bcher-kva.example"));
    }

    #[test]
    fn accepts_unusual_yet_valid_addresses() {
        for text in [
            "!#$%&'*+-/=?^_`{|}~@example.com",
            "a@b.co",
            "root@localhost",
            "a@1.example",
            "a@r3---sn-x.example",
            "二ノ宮@黒川.日本",
            &format!("{}@example.com", "a".repeat(64)),
            &format!("a@{0}.{0}.{0}.{1}", "d".repeat(63), "e".repeat(60)),
        ] {
            assert!(Email::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        use InvalidEmail::{Domain, Incomplete, LocalPart, TooLong};
        for (text, why) in [
            ("", Incomplete),
            ("ann", Incomplete),
            ("@example.com", Incomplete),
            ("ann@", Incomplete),
            ("a@b@example.com", LocalPart),
            (".ann@example.com", LocalPart),
            ("ann.@example.com", LocalPart),
            ("an..n@example.com", LocalPart),
            ("an n@example.com", LocalPart),
            (" ann@example.com", LocalPart),
            ("an\u{a0}n@example.com", LocalPart),
            ("an\0n@example.com", LocalPart),
            ("an\u{85}n@example.com", LocalPart),
            ("an\r\nBcc:x@example.com", LocalPart),
            ("an\u{202e}n@example.com", LocalPart),
            ("an\u{200b}n@example.com", LocalPart),
            ("\"an n\"@example.com", LocalPart),
            ("ann(lee)@example.com", LocalPart),
            ("Ann <ann@example.com", LocalPart),
            // NFC turns the Greek question mark into a semicolon: the check comes after it.
            ("a\u{37e}b@example.com", LocalPart),
            ("ann@example.com ", Domain),
            ("ann@example.com\n", Domain),
            ("ann@exam ple.com", Domain),
            ("ann@example.com.", Domain),
            ("ann@.example.com", Domain),
            ("ann@example..com", Domain),
            ("ann@-example.com", Domain),
            ("ann@example-.com", Domain),
            ("ann@exa_mple.com", Domain),
            ("ann@[192.0.2.1]", Domain),
            ("ann@[IPv6:2001:db8::1]", Domain),
            ("ann@192.0.2.1", Domain),
            ("ann@example.123", Domain),
            ("ann@xn--zzzzzzz999999.example", Domain),
            ("ann@example.com(work)", Domain),
            (&format!("{}@example.com", "a".repeat(65)), TooLong),
            (&format!("{}@example.com", "\u{e9}".repeat(33)), TooLong),
            (&format!("a@{0}.{0}.{0}.{1}", "d".repeat(63), "e".repeat(61)), TooLong),
            (&format!("{}@example.com", "a".repeat(100_000)), TooLong),
        ] {
            assert_eq!(Email::parse(text).map(|e| e.key), Err(why), "{text:?}");
        }
    }

    #[test]
    fn debug_hides_the_local_part() {
        assert_eq!(format!("{:?}", Email::parse("ann@example.com").unwrap()), "Email([redacted]@example.com)");
    }

    #[test]
    fn every_character_has_a_stable_key() {
        let changes =
            |c: &char| c.to_lowercase().ne([*c]) || !unicode_normalization::is_nfc(c.encode_utf8(&mut [0; 4]));
        for c in ('\u{80}'..=char::MAX).filter(changes) {
            if let Ok(email) = Email::parse(&format!("x{c}y@example.com")) {
                assert_eq!(key(email.key()), email.key(), "U+{:04X}", u32::from(c));
            }
        }
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_key(text in "[\\PC.]{1,30}@[a-zA-Zäß。ﬀ.-]{1,30}") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(key(email.key()), email.key());
                prop_assert_eq!(key(email.as_str()), email.key());
            }
        }

        #[test]
        fn normal_forms_agree(local in "[\\PC]{1,20}", domain in "[a-zäöüçéñ]{1,20}\\.[a-z]{2,5}") {
            let text = format!("{local}@{domain}");
            let (nfc, nfd): (String, String) = (text.nfc().collect(), text.nfd().collect());
            let keys = [&text, &nfc, &nfd].map(|text| Email::parse(text).map(|email| email.key));
            prop_assert_eq!(&keys[0], &keys[1]);
            prop_assert_eq!(&keys[0], &keys[2]);
        }

        #[test]
        fn case_does_not_matter(local in "[a-zа-яéñ]{1,20}", domain in "[a-z]{1,20}") {
            let text = format!("{local}@{domain}.example");
            prop_assert_eq!(key(&text.to_uppercase()), key(&text));
        }
    }
}
