//! The layer that lets through only who meets a requirement.

use std::{
    borrow::Cow,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use authv2_core::{
    Error,
    api::problem_response,
    authentication::{RequestId, Requirement},
    permission::Permission,
};
use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::Caller;

/// Makes [`Require`] services. There is no requirement that everybody meets: an empty one cannot be written.
///
/// ```
/// use authv2_core::permission;
/// use authv2_tower::RequireLayer;
///
/// let reads = RequireLayer::permission(permission!("orders:read"));
/// let both = RequireLayer::all([permission!("orders:read"), permission!("orders:refund")]);
/// let either = RequireLayer::any([permission!("orders:read"), permission!("reports:read")]);
/// ```
///
/// An empty requirement does not compile:
///
/// ```compile_fail
/// authv2_tower::RequireLayer::all([]);
/// ```
#[derive(Debug, Clone)]
pub struct RequireLayer(Requirement);

impl RequireLayer {
    /// Lets through whoever has signed in.
    #[must_use]
    pub fn signed_in() -> Self {
        Self(Requirement::SignedIn)
    }

    /// Lets through administrators of the whole deployment.
    #[must_use]
    pub fn platform_admin() -> Self {
        Self(Requirement::PlatformAdmin)
    }

    /// Lets through whoever has signed in at most `max_age` ago; others are asked to do so again (RFC 9470).
    #[must_use]
    pub fn recent_auth(max_age: Duration) -> Self {
        Self(Requirement::RecentAuth(max_age))
    }

    /// Lets through whoever has signed in so strongly: `aal2` with a second factor, and whatever is stronger. Others are
    /// asked to step up (RFC 9470), API keys are refused.
    #[must_use]
    pub fn acr(acr: impl Into<Cow<'static, str>>) -> Self {
        Self(Requirement::Acr(acr.into(), None))
    }

    /// The same, at most `max_age` ago: one challenge says both, so that stepping up once will do.
    #[must_use]
    pub fn recent_acr(acr: impl Into<Cow<'static, str>>, max_age: Duration) -> Self {
        Self(Requirement::Acr(acr.into(), Some(max_age)))
    }

    /// Lets through whoever has this permission, in the tenant of its credential.
    #[must_use]
    pub const fn permission(permission: Permission) -> Self {
        Self(Requirement::Permission(permission))
    }

    /// Lets through whoever has all of these permissions.
    #[must_use]
    pub fn all<const N: usize>(permissions: [Permission; N]) -> Self {
        const { assert!(N > 0, "an empty requirement would be met by everybody") };
        Self(Requirement::AllOf(Vec::from(permissions).into()))
    }

    /// Lets through whoever has one of these permissions.
    #[must_use]
    pub fn any<const N: usize>(permissions: [Permission; N]) -> Self {
        const { assert!(N > 0, "an empty requirement would be met by nobody") };
        Self(Requirement::AnyOf(Vec::from(permissions).into()))
    }
}

impl<S> Layer<S> for RequireLayer {
    type Service = Require<S>;

    fn layer(&self, inner: S) -> Require<S> {
        Require { inner, requirement: self.0.clone() }
    }
}

/// Calls the inner service only for callers that meet the requirement.
#[derive(Debug, Clone)]
pub struct Require<S> {
    inner: S,
    requirement: Requirement,
}

impl<S, B, R> Service<Request<B>> for Require<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let judged = match request.extensions().get::<Caller>() {
            Some(caller) => caller.check(&self.requirement),
            None => Err(Error::missing_layer("RequireLayer stands outside of any AuthLayer")),
        };
        match judged {
            Ok(()) => RequireFuture { outcome: Outcome::Inner { future: self.inner.call(request) } },
            Err(error) => {
                let id = request.extensions().get::<RequestId>().cloned();
                let id = id.unwrap_or_else(|| RequestId::of(request.headers()));
                let response = problem_response(&error, &id).map(R::from);
                RequireFuture { outcome: Outcome::Refused { response: Some(response) } }
            }
        }
    }
}

pin_project! {
    /// The future of [`Require`].
    pub struct RequireFuture<F, R> {
        #[pin]
        outcome: Outcome<F, R>,
    }
}

pin_project! {
    #[project = OutcomeProjection]
    enum Outcome<F, R> {
        Inner { #[pin] future: F },
        Refused { response: Option<Response<R>> },
    }
}

impl<F, R> fmt::Debug for RequireFuture<F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for RequireFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<R>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().outcome.project() {
            OutcomeProjection::Inner { future } => future.poll(cx),
            // A future must not be polled after it was ready.
            OutcomeProjection::Refused { response } => response.take().map_or(Poll::Pending, |r| Poll::Ready(Ok(r))),
        }
    }
}
