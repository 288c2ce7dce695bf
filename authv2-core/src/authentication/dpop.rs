//! Proofs of possession (DPoP, RFC 9449) of requests: found, judged, given nonces, and used once.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::{AuthenticationService, RequestHead};
use crate::{
    clock::Timestamp,
    config::{Config, Nonces},
    error::{Code, Error, Result, Scheme},
    jwt::{Base, ProofRefusal, ProofRules, jkt, verify_proof},
    secret::equal_in_constant_time,
    store::{Proof, SessionRecord},
    telemetry,
};

/// The header that carries a proof.
const PROOF: &str = "dpop";
/// The header in which a nonce is given out.
pub(crate) const DPOP_NONCE: &str = "dpop-nonce";

/// How long a nonce is the present one. It is good for as long again.
const NONCE_SLOT: Duration = Duration::from_secs(120);

/// How an access token is to be presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// By itself (RFC 6750).
    Bearer,
    /// With a proof of the key that it is bound to (RFC 9449).
    Dpop,
}

impl TokenType {
    /// The type of a session's access tokens.
    #[must_use]
    pub fn of(session: &SessionRecord) -> Self {
        if session.key_thumbprint.is_some() { Self::Dpop } else { Self::Bearer }
    }

    /// As in `token_type`, and as the scheme of `Authorization`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// What proofs are judged by on this node.
pub(super) struct Proofs {
    bases: Vec<Base>,
    nonces: NonceMaker,
}

impl Proofs {
    pub(super) fn new(config: &Config, issuer: &str, nonce_key: &Zeroizing<[u8; 32]>) -> Self {
        let listening = config.own_origins().into_iter().map(Base::from);
        Self { bases: Base::of_url(issuer).into_iter().chain(listening).collect(), nonces: NonceMaker::new(nonce_key) }
    }
}

/// Makes nonces that nobody has to remember: each is a MAC of the time at which it is the present one.
struct NonceMaker(hmac::Key);

impl NonceMaker {
    fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
    }

    fn of_slot(&self, slot: i64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &slot.to_be_bytes()))
    }

    fn present(&self, now: Timestamp) -> String {
        self.of_slot(slot_of(now))
    }

    /// The next one is good as well: another node's clock may be a moment ahead.
    fn knows(&self, nonce: &str, now: Timestamp) -> bool {
        let slot = slot_of(now);
        (slot - 1..=slot + 1).any(|slot| equal_in_constant_time(self.of_slot(slot).as_bytes(), nonce.as_bytes()))
    }
}

fn slot_of(now: Timestamp) -> i64 {
    now.as_seconds().div_euclid(NONCE_SLOT.as_secs().cast_signed())
}

impl AuthenticationService {
    /// The proof of possession that comes with a request to open or renew a session, if one does (RFC 9449 section 5).
    /// It is used up by whatever it is handed to: [`login`](Self::login) or [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// [`Code::InvalidDpopProof`] for one that is no good for this request, or for more than one;
    /// [`Code::UseDpopNonce`], with the nonce to use.
    pub fn proof<R: RequestHead + ?Sized>(&self, head: &R) -> Result<Option<Proof>> {
        match self.judge_proof(head, None) {
            Err(ProofRefusal::Missing) => Ok(None),
            judged => self.answer_proof(judged).map(Some),
        }
    }

    /// The proof that comes with an access token.
    ///
    /// # Errors
    /// As [`proof`](Self::proof); [`Code::InvalidDpopProof`] as well where there is none.
    pub(super) fn proof_with<R: RequestHead + ?Sized>(&self, head: &R, access_token: &str) -> Result<Proof> {
        self.answer_proof(self.judge_proof(head, Some(access_token)))
    }

    fn judge_proof<R: RequestHead + ?Sized>(
        &self,
        head: &R,
        access_token: Option<&str>,
    ) -> Result<Proof, ProofRefusal> {
        let mut proofs = head.header_values(PROOF);
        let (first, second): (Option<&[u8]>, _) = (proofs.next(), proofs.next());
        let text = first.ok_or(ProofRefusal::Missing)?;
        if second.is_some() {
            return Err(ProofRefusal::Several);
        }
        let (config, now) = (&self.0.config, self.now());
        let rules = ProofRules {
            method: head.method(),
            path: head.path(),
            bases: &self.0.proofs.bases,
            access_token,
            max_age: config.dpop.proof_max_age,
            leeway: config.tokens.leeway,
        };
        // What is not even text is no base64url either.
        let proven = verify_proof(std::str::from_utf8(text).unwrap_or_default(), &rules, now)?;
        let is_known = || proven.nonce.is_some_and(|nonce| self.0.proofs.nonces.knows(&nonce, now));
        if config.dpop.nonce == Nonces::Required && !is_known() {
            return Err(ProofRefusal::WrongNonce);
        }
        Ok(proven.proof)
    }

    fn answer_proof(&self, judged: Result<Proof, ProofRefusal>) -> Result<Proof> {
        judged.map_err(|refusal| {
            telemetry::count(telemetry::PROOF_REFUSALS, "reason", refusal.as_str());
            match refusal {
                ProofRefusal::WrongNonce => Error::use_dpop_nonce(self.0.proofs.nonces.present(self.now())),
                other => refused(other),
            }
        })
    }

    /// Uses up the proof that came with an access token.
    ///
    /// # Errors
    /// [`Code::InvalidDpopProof`] if it was used before, on whatever node; or an outage: what may have been used is not
    /// let through.
    pub(super) async fn use_proof(&self, proof: Proof) -> Result<()> {
        if self.0.store.use_proof(proof).await? {
            return Ok(());
        }
        telemetry::count(telemetry::PROOF_REFUSALS, "reason", ProofRefusal::Used.as_str());
        Err(refused(ProofRefusal::Used))
    }

    /// The header field with the nonce for the next proof of who made this request; none where nonces are not wanted or
    /// the request came without a proof. For adapters: it belongs into every answer.
    #[must_use]
    pub fn next_nonce<R: RequestHead + ?Sized>(&self, head: &R) -> Option<(HeaderName, HeaderValue)> {
        let wanted = self.0.config.dpop.nonce == Nonces::Required && head.header_values(PROOF).next().is_some();
        let nonce = wanted.then(|| self.0.proofs.nonces.present(self.now()))?;
        Some((HeaderName::from_static(DPOP_NONCE), HeaderValue::try_from(nonce).ok()?))
    }
}

/// Goes on only if a token is presented as it was issued: one that is bound to a key with a proof of that key, every
/// other one without.
///
/// # Errors
/// [`Code::InvalidToken`].
pub(super) fn check_binding(bound_to: Option<&str>, proof: Option<&Proof>) -> Result<()> {
    let (reason, scheme) = match (bound_to, proof) {
        (None, None) => return Ok(()),
        (Some(key), Some(proof)) if key == jkt(&proof.key) => return Ok(()),
        (Some(_), Some(_)) => ("bound_to_another_key", Scheme::Dpop),
        (Some(_), None) => ("bound_to_a_key", Scheme::DpopInstead),
        (None, Some(_)) => ("bound_to_no_key", Scheme::Dpop),
    };
    telemetry::count(telemetry::TOKEN_REFUSALS, "reason", reason);
    Err(Error::new(Code::InvalidToken, "present the token as its `token_type` says, with a proof of its own key")
        .with_scheme(scheme))
}

/// The refusal of a proof, with its reason: whoever made it holds its key.
pub(super) fn refused(refusal: ProofRefusal) -> Error {
    Error::new(Code::InvalidDpopProof, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_nonce_is_good_while_it_is_the_present_one_and_once_more() {
        let (maker, other) = (NonceMaker::new(&Zeroizing::new([1; 32])), NonceMaker::new(&Zeroizing::new([2; 32])));
        let nonce = maker.present(at(1200));
        assert_eq!(nonce, maker.present(at(1319)));
        assert_ne!(nonce, maker.present(at(1320)));
        for (second, good) in [(1079, false), (1080, true), (1200, true), (1439, true), (1440, false)] {
            assert_eq!(maker.knows(&nonce, at(second)), good, "{second}");
        }
        assert!(!other.knows(&nonce, at(1200)) && !maker.knows("", at(1200)) && !maker.knows("nonce", at(1200)));
    }

    #[test]
    fn a_token_is_good_the_way_it_was_issued_only() {
        let proof = Proof { key: [7; 32], id: crate::secret::SecretHash::of(b"id"), expires_at: at(0) };
        let (own, other) = (jkt(&[7; 32]), jkt(&[8; 32]));
        assert!(check_binding(None, None).is_ok());
        assert!(check_binding(Some(&own), Some(&proof)).is_ok());
        for (bound_to, proof, scheme) in [
            (Some(other), Some(&proof), Scheme::Dpop),
            (Some(String::new()), Some(&proof), Scheme::Dpop),
            (Some(own), None, Scheme::DpopInstead),
            (None, Some(&proof), Scheme::Dpop),
        ] {
            let refused = check_binding(bound_to.as_deref(), proof).unwrap_err();
            assert_eq!((refused.code(), refused.scheme()), (Code::InvalidToken, scheme));
        }
    }
}
