//! Settings of proofs of possession (DPoP, RFC 9449).

use std::time::Duration;

use super::{Config, Origin, Problem, listening_origins, problem::Problems, setting::choice, visitor::Visitor};

choice!(Nonces, "one of `off`, `required`");

/// Whether proofs must carry a nonce of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Nonces {
    /// They need none; one that they carry is not looked at.
    Off,
    /// They must: a client is told the present one and sends its proof again.
    Required,
}

/// How a client proves that it holds the key of its tokens.
#[derive(Debug, Clone)]
pub struct DpopConfig {
    /// Whether every session that is opened with tokens must be bound to a key; not by default. Sessions that are open
    /// already, and cookies, are not concerned.
    pub required: bool,
    /// How old a proof may be, beside `tokens.leeway`, from 1 s to 5 minutes; 60 s by default. Until then it is
    /// remembered, so that it is used once.
    pub proof_max_age: Duration,
    /// Whether proofs must carry a nonce; off by default. With nonces nobody can make proofs ahead of their time.
    pub nonce: Nonces,
    /// Under which origins clients reach what is protected here, beside the issuer's and the listening one. A proof that
    /// was made for one of these is good here: name none that leads to somebody else.
    pub origins: Vec<Origin>,
}

impl Default for DpopConfig {
    fn default() -> Self {
        Self { required: false, proof_max_age: Duration::from_secs(60), nonce: Nonces::Off, origins: Vec::new() }
    }
}

impl DpopConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting(
            "dpop.required",
            "Whether sessions that are opened with tokens must be bound to a key.",
            &mut self.required,
        );
        visitor.number(
            "dpop.proof_max_age",
            1..=300,
            "Seconds that a proof of possession may be old, beside the leeway.",
            &mut self.proof_max_age,
        );
        visitor.setting("dpop.nonce", "Whether proofs of possession must carry a nonce.", &mut self.nonce);
        visitor.setting(
            "dpop.origins",
            "Origins under which clients reach what is protected here, beside the issuer's and the listening one.",
            &mut self.origins,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.origins.iter().any(Origin::is_wildcard) {
            problems.report("dpop.origins", Problem::Refused("a proof is for one place: name each origin"));
        }
    }
}

impl Config {
    /// The origins under which clients reach this node, beside the issuer's.
    pub(crate) fn own_origins(&self) -> Vec<Origin> {
        self.dpop.origins.iter().cloned().chain(listening_origins(self.listen)).collect()
    }
}
