//! Settings of registration.

use super::{Problem, problem::Problems, visitor::Visitor};

/// Who may make an account.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// Whether anybody may register; true by default. Otherwise only administrators make accounts.
    pub open: bool,
    /// Whether an address must be verified before its first sign-in; false by default. Refused for now: the mails
    /// that verify are not part of this version, so it would lock everybody out.
    pub require_verified_email: bool,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self { open: true, require_verified_email: false }
    }
}

impl RegistrationConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("registration.open", "Anybody may register.", &mut self.open);
        visitor.setting(
            "registration.require_verified_email",
            "An address must be verified before its first sign-in; not possible in this version.",
            &mut self.require_verified_email,
        );
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.require_verified_email {
            problems.report(
                "registration.require_verified_email",
                Problem::Refused(
                    "this version sends no verification mails, so nobody could ever sign in; leave it false",
                ),
            );
        }
    }
}
