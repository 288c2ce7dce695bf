//! Reads a private key out of a PEM file (RFC 7468).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::KeyError;

/// How the DER of a private key is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// `PRIVATE KEY` (RFC 5958).
    Pkcs8,
    /// `EC PRIVATE KEY` (RFC 5915).
    Sec1,
    /// `RSA PRIVATE KEY` (RFC 8017 appendix A.1.2).
    Pkcs1,
}

const LABELS: [(&str, Wrapping); 3] =
    [("PRIVATE KEY", Wrapping::Pkcs8), ("EC PRIVATE KEY", Wrapping::Sec1), ("RSA PRIVATE KEY", Wrapping::Pkcs1)];

/// The one unencrypted private key in `pem`. Text around it is ignored (RFC 7468 section 2); a second private key is
/// not, since it would be a guess which one was meant.
pub(super) fn private_key_of(pem: &str) -> Result<(Wrapping, Zeroizing<Vec<u8>>), KeyError> {
    let found = LABELS.iter().find_map(|(label, wrapping)| {
        let (before, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
        let (body, after) = rest.split_once(&format!("-----END {label}-----"))?;
        Some((*wrapping, before, body, after))
    });
    let Some((wrapping, before, body, after)) = found else {
        let is_private = pem.contains("-----BEGIN") && pem.contains("PRIVATE KEY-----");
        let is_known = LABELS.iter().any(|(label, _)| pem.contains(&format!("-----BEGIN {label}-----")));
        return Err(if is_private && !is_known { KeyError::UnknownWrapping } else { KeyError::NotPem });
    };
    if [before, body, after].iter().any(|text| text.contains("PRIVATE KEY-----")) {
        return Err(KeyError::NotPem);
    }
    // The old way to encrypt a key inside its block (RFC 1421).
    if body.contains(':') {
        return Err(KeyError::UnknownWrapping);
    }
    let mut text = Zeroizing::new(String::with_capacity(body.len()));
    text.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    let der = STANDARD.decode(text.as_bytes()).map(Zeroizing::new).map_err(|_| KeyError::NotPem)?;
    Ok((wrapping, der))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn finds_the_block_among_other_text() {
        for (label, expected) in LABELS {
            let pem = format!("a comment\n{}{}", block("EC PARAMETERS", "AQID"), block(label, "AQID\r\nBAUG"));
            let (wrapping, der) = private_key_of(&pem).unwrap();
            assert_eq!((wrapping, der.as_slice()), (expected, &[1, 2, 3, 4, 5, 6][..]));
        }
    }

    #[test]
    fn refuses_what_is_no_single_unencrypted_block() {
        let twice = block("PRIVATE KEY", "AQID").repeat(2);
        let mixed = format!("{}{}", block("EC PRIVATE KEY", "AQID"), block("PRIVATE KEY", "AQID"));
        let begun = "-----BEGIN PRIVATE KEY-----\nAQID";
        for text in ["", "AQID", &twice, &mixed, begun, &block("PRIVATE KEY", "?"), &block("PUBLIC KEY", "AQID")] {
            assert_eq!(private_key_of(text).unwrap_err(), KeyError::NotPem, "{text}");
        }
        let encrypted = block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAQID");
        for text in [block("ENCRYPTED PRIVATE KEY", "AQID"), block("OPENSSH PRIVATE KEY", "AQID"), encrypted] {
            assert_eq!(private_key_of(&text).unwrap_err(), KeyError::UnknownWrapping, "{text}");
        }
    }
}
