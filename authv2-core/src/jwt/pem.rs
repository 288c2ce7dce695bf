//! Reads a private key out of a PEM file (RFC 7468).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::KeyError;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// The DER of the one unencrypted PKCS#8 block in `pem`. Text around it is ignored (RFC 7468 section 2); a second
/// private key is not, since it would be a guess which one was meant.
pub(super) fn pkcs8_of(pem: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (_, rest) = pem
        .split_once(BEGIN)
        .ok_or_else(|| if pem.contains("PRIVATE KEY-----") { KeyError::NotPkcs8 } else { KeyError::NotPem })?;
    let (body, rest) = rest.split_once(END).ok_or(KeyError::NotPem)?;
    if rest.contains("PRIVATE KEY-----") {
        return Err(KeyError::NotPem);
    }
    let mut text = Zeroizing::new(String::with_capacity(body.len()));
    text.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    STANDARD.decode(text.as_bytes()).map(Zeroizing::new).map_err(|_| KeyError::NotPem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_block_among_other_text() {
        let pem = format!("a comment\n{BEGIN}\r\nAQID\r\nBAUG\r\n{END}\n");
        assert_eq!(pkcs8_of(&pem).unwrap().as_slice(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn refuses_what_is_no_single_pkcs8_block() {
        let twice = format!("{BEGIN}\nAQID\n{END}\n{BEGIN}\nAQID\n{END}\n");
        for text in ["", "AQID", &twice, &format!("{BEGIN}\nAQID"), &format!("{BEGIN}\n?\n{END}")] {
            assert!(matches!(pkcs8_of(text), Err(KeyError::NotPem)), "{text}");
        }
        for kind in ["EC", "RSA", "ENCRYPTED"] {
            let text = format!("-----BEGIN {kind} PRIVATE KEY-----\nAQID\n-----END {kind} PRIVATE KEY-----");
            assert!(matches!(pkcs8_of(&text), Err(KeyError::NotPkcs8)), "{kind}");
        }
    }
}
