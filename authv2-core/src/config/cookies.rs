//! Settings of cookies.

use super::{Problem, Profile, problem::Problems, visitor::Visitor};

/// How the session cookie travels.
#[derive(Debug, Clone, Default)]
pub struct CookieConfig {
    /// Whether cookies go without `Secure` and the `__Host-` prefix, so that plain http works; false by default, and
    /// refused in production: anybody on the way could read and plant sessions (ASVS 3.3.1).
    pub insecure: bool,
}

impl CookieConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting(
            "cookies.insecure",
            "Cookies without `Secure`, for plain http in development only.",
            &mut self.insecure,
        );
    }

    pub(super) fn check(&self, profile: Profile, problems: &mut Problems) {
        if self.insecure && profile == Profile::Production {
            problems
                .report("cookies.insecure", Problem::RefusedInProduction("session cookies would travel in the clear"));
        }
    }
}
