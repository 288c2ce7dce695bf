//! What a route asks of its caller, judged the same under every adapter.

use std::{borrow::Cow, time::Duration};

use crate::{
    clock::Timestamp,
    error::{Challenge, Code, Error, Result},
    permission::Permission,
    principal::Principal,
};

/// How old the sign-in may be of whoever does what cannot be undone.
pub(super) const RECENT: Duration = Duration::from_secs(15 * 60);

/// Something that a caller must be, have done, or be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Requirement {
    /// Signed in at all.
    SignedIn,
    /// An administrator of the whole deployment.
    PlatformAdmin,
    /// Signed in at most this long ago (RFC 9470).
    RecentAuth(Duration),
    /// Allowed this, in the credential's tenant.
    Permission(Permission),
    /// Allowed all of these. An empty list is met by nobody.
    AllOf(Cow<'static, [Permission]>),
    /// Allowed one of these. An empty list is met by nobody.
    AnyOf(Cow<'static, [Permission]>),
}

impl Requirement {
    /// Whether `principal` meets it at `now`.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`] for nobody, [`Code::PermissionDenied`], or [`Code::StepUpRequired`] where signing in
    /// again would do.
    pub fn check(&self, principal: Option<&Principal>, now: Timestamp) -> Result<()> {
        let Some(principal) = principal else {
            return Err(Error::new(Code::Unauthenticated, "send a bearer token or a session cookie"));
        };
        match self {
            Self::SignedIn => Ok(()),
            Self::PlatformAdmin if principal.is_platform_admin() => Ok(()),
            Self::PlatformAdmin => Err(Error::new(Code::PermissionDenied, "for platform administrators only")),
            Self::RecentAuth(max_age) if now.since(principal.auth_time()) <= *max_age => Ok(()),
            Self::RecentAuth(max_age) => {
                let challenge =
                    Challenge::InsufficientAuthentication { max_age: Some(max_age.as_secs()), acr_values: None };
                Err(Error::new(Code::StepUpRequired, "sign in again")
                    .with_challenge(challenge)
                    .with_scheme(principal.scheme()))
            }
            Self::Permission(permission) => principal.check(permission.clone()).require(),
            Self::AllOf(permissions) if permissions.is_empty() => Err(nothing_required()),
            Self::AllOf(permissions) => {
                let mut outcome = Ok(());
                for permission in permissions.iter() {
                    match principal.check(permission.clone()).require() {
                        // Signing in again does not help whoever is denied the rest.
                        Err(error) if error.code() == Code::StepUpRequired => outcome = Err(error),
                        other => other?,
                    }
                }
                outcome
            }
            Self::AnyOf(permissions) => {
                let mut refusal = nothing_required();
                for permission in permissions.iter() {
                    match principal.check(permission.clone()).require() {
                        Ok(()) => return Ok(()),
                        // What the caller can do something about is the better answer.
                        Err(error) if refusal.code() != Code::StepUpRequired => refusal = error,
                        Err(_) => {}
                    }
                }
                Err(refusal)
            }
        }
    }
}

fn nothing_required() -> Error {
    Error::new(Code::PermissionDenied, "a permission is missing")
}
