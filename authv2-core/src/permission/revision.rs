//! Consistency tokens: an organization's revision in a form that only this deployment can make.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::{id::OrgId, secret::equal_in_constant_time};

/// The first byte of every token.
const VERSION: u8 = 1;
const ORGANIZATION: usize = 16;
const REVISION: usize = 8;
const CLAIM: usize = 1 + ORGANIZATION + REVISION;
/// A token is no secret and opens nothing: half of an HMAC-SHA-256 is enough against forgery (RFC 2104 section 5).
const MAC: usize = 16;

/// Makes and reads the tokens of one deployment.
#[derive(Debug)]
pub(super) struct Tokens(hmac::Key);

impl Tokens {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    pub(super) fn write(&self, organization: OrgId, revision: i64) -> String {
        let mut token = [0; CLAIM + MAC];
        let (claim, mac) = token.split_at_mut(CLAIM);
        claim.iter_mut().zip(claim_of(organization, revision)).for_each(|(place, byte)| *place = byte);
        mac.iter_mut().zip(hmac::sign(&self.0, claim).as_ref()).for_each(|(place, byte)| *place = *byte);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What the token says; none if it is not one of ours, to the byte.
    pub(super) fn read(&self, token: &str) -> Option<(OrgId, i64)> {
        let bytes: [u8; CLAIM + MAC] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (claim, mac) = bytes.split_first_chunk::<CLAIM>()?;
        let expected = hmac::sign(&self.0, claim);
        if !equal_in_constant_time(expected.as_ref().get(..MAC)?, mac) {
            return None;
        }
        let (version, rest) = claim.split_first()?;
        let (organization, revision) = rest.split_first_chunk::<ORGANIZATION>()?;
        let revision = i64::from_be_bytes(revision.try_into().ok()?);
        (*version == VERSION).then(|| (OrgId::from(Uuid::from_bytes(*organization)), revision))
    }
}

fn claim_of(organization: OrgId, revision: i64) -> impl Iterator<Item = u8> {
    let organization = organization.as_uuid().into_bytes();
    std::iter::once(VERSION).chain(organization).chain(revision.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_was_written() {
        let (tokens, organization) = (Tokens::new(&[7; 32]), OrgId::new());
        for revision in [0, 1, i64::MAX] {
            assert_eq!(tokens.read(&tokens.write(organization, revision)), Some((organization, revision)));
        }
    }

    #[test]
    fn refuses_tampered_foreign_and_misshapen_tokens() {
        let tokens = Tokens::new(&[7; 32]);
        let token = tokens.write(OrgId::new(), 41);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut tampered = bytes.clone();
            tampered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(tokens.read(&URL_SAFE_NO_PAD.encode(tampered)), None, "bit {bit}");
        }
        assert_eq!(Tokens::new(&[8; 32]).read(&token), None, "another deployment's");
        for misshapen in ["", "AQ", &token[1..], &format!("{token}A"), &format!("{token}="), &format!(" {token}"), "é"]
        {
            assert_eq!(tokens.read(misshapen), None, "{misshapen:?}");
        }
    }

    #[test]
    fn of_a_version_to_come_nothing_is_believed() {
        let tokens = Tokens::new(&[7; 32]);
        let mut bytes = URL_SAFE_NO_PAD.decode(tokens.write(OrgId::new(), 41)).unwrap();
        bytes[0] = VERSION + 1;
        let mac = hmac::sign(&tokens.0, &bytes[..CLAIM]);
        bytes[CLAIM..].copy_from_slice(&mac.as_ref()[..MAC]);
        assert_eq!(tokens.read(&URL_SAFE_NO_PAD.encode(bytes)), None);
    }
}
