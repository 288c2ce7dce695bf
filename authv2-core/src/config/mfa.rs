//! Settings of second factors.

use super::{Problem, problem::Problems, visitor::Visitor};

/// Second factors.
#[derive(Debug, Clone, Default)]
pub struct MfaConfig {
    /// What authenticators call this deployment; the issuer's host by default. People find the code by it.
    pub issuer: Option<String>,
}

impl MfaConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting(
            "mfa.issuer",
            "What authenticators call this deployment. Unset: the issuer's host.",
            &mut self.issuer,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let is_shown = |name: &String| (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if !self.issuer.as_ref().is_none_or(is_shown) {
            problems.report("mfa.issuer", Problem::Refused("people read it on a small screen: 1 to 64 characters"));
        }
    }
}
