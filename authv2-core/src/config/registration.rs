//! Settings of registration.

use super::visitor::Visitor;

/// Who may make an account.
#[derive(Debug, Clone)]
pub struct RegistrationConfig {
    /// Whether anybody may register; true by default. Otherwise only administrators make accounts.
    pub open: bool,
    /// Whether an address must be verified before its first sign-in; false by default. Registering then answers the
    /// same whether the address is known or not, and takes a mailer. Without it an address proves nothing about who
    /// registered it.
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
            "An address must be verified before its first sign-in.",
            &mut self.require_verified_email,
        );
    }
}
