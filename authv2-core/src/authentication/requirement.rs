//! What a route asks of its caller, judged the same under every adapter.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    error::{Challenge, Code, Error, Result},
    principal::Principal,
};

/// Something that a caller must be or have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Signed in at all.
    SignedIn,
    /// An administrator of the whole deployment.
    PlatformAdmin,
    /// Signed in at most this long ago (RFC 9470).
    RecentAuth(Duration),
}

impl Requirement {
    /// Whether `principal` meets it at `now`.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for nobody, [`Code::PermissionDenied`], or [`Code::StepUpRequired`] where signing in
    /// again would do.
    pub fn check(self, principal: Option<&Principal>, now: Timestamp) -> Result<()> {
        let Some(principal) = principal else {
            return Err(Error::new(Code::Unauthenticated, "send a bearer token or a session cookie"));
        };
        match self {
            Self::SignedIn => Ok(()),
            Self::PlatformAdmin if principal.is_platform_admin() => Ok(()),
            Self::PlatformAdmin => Err(Error::new(Code::PermissionDenied, "for platform administrators only")),
            Self::RecentAuth(max_age) if now.since(principal.auth_time()) <= max_age => Ok(()),
            Self::RecentAuth(max_age) => {
                let challenge =
                    Challenge::InsufficientAuthentication { max_age: Some(max_age.as_secs()), acr_values: None };
                Err(Error::new(Code::StepUpRequired, "sign in again").with_challenge(challenge))
            }
        }
    }
}
