//! What a route asks of its caller, judged the same under every adapter.

use std::{borrow::Cow, time::Duration};

use crate::{
    clock::Timestamp,
    error::{Challenge, Code, Error, Result},
    permission::{Permission, is_at_least},
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
    /// Signed in so strongly, and at most this long ago where that is said (RFC 9470). `aal1` to `aal3` are levels, of
    /// which a higher one will do.
    Acr(Cow<'static, str>, Option<Duration>),
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
            Self::RecentAuth(max_age) if is_recent(principal, *max_age, now) => Ok(()),
            Self::RecentAuth(max_age) => Err(step_up(principal, "sign in again", None, Some(*max_age))),
            // Nobody stands behind a key who could prove more.
            Self::Acr(..) if principal.api_key().is_some() => {
                Err(Error::new(Code::PermissionDenied, "not by an API key").with_scheme(principal.scheme()))
            }
            Self::Acr(acr, max_age) => {
                let is_fresh = max_age.is_none_or(|max_age| is_recent(principal, max_age, now));
                if is_fresh && is_at_least(principal.acr(), acr) {
                    return Ok(());
                }
                Err(step_up(principal, "sign in again, or with a second factor", Some(acr), *max_age))
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

fn is_recent(principal: &Principal, max_age: Duration, now: Timestamp) -> bool {
    now.since(principal.auth_time()) <= max_age
}

/// A fresher or stronger sign-in is wanted: the whole of what is, so that proving once will do.
fn step_up(principal: &Principal, detail: &'static str, acr: Option<&str>, max_age: Option<Duration>) -> Error {
    let (max_age, acr_values) = (max_age.map(|max_age| max_age.as_secs()), acr.map(str::to_owned));
    Error::new(Code::StepUpRequired, detail)
        .with_challenge(Challenge::InsufficientAuthentication { max_age, acr_values })
        .with_scheme(principal.scheme())
}

fn nothing_required() -> Error {
    Error::new(Code::PermissionDenied, "a permission is missing")
}
