//! The layer that lets through only so many requests.
//!
//! 1. A CORS preflight passes, and counts for nothing.
//! 2. A request within all of the limits goes on, and its response tells how much is left of the tightest.
//! 3. One beyond any of them is refused with 429, and is counted by none.
//! 4. A limit that has counted the request for the same subject, in a layer around this one, does not count it again.
//! 5. While the count is out of reach, what the limit declares for that.
//!
//! Inside an [`AuthLayer`](crate::AuthLayer) it knows the caller. Outside of one, or for a request without a credential, it
//! counts the client's network.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use authv2_core::{
    AuthenticationService,
    api::{problem_response, tell_limit},
    authentication::{RequestId, RequestLimit},
    limit::{Counted, Taking, Verdict},
};
use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Caller, is_preflight,
    peer::{self, PeerSource},
};

/// Makes [`RateLimit`] services.
///
/// ```no_run
/// use std::time::Duration;
/// use authv2_core::{AuthenticationService, authentication::{By, RequestLimit}, limit::{Policy, Rate}};
/// use authv2_tower::RateLimitLayer;
///
/// # fn limit(auth: &AuthenticationService) -> Result<(), authv2_core::limit::InvalidRate> {
/// let rate = Rate::new(60, Duration::from_secs(60), Some(10))?;
/// let layer = RateLimitLayer::new(auth, RequestLimit::new(By::Caller, Policy::new("search", rate)));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    auth: AuthenticationService,
    limit: RequestLimit,
    peer: Option<PeerSource>,
}

impl RateLimitLayer {
    /// A layer that counts as `limit` says, where `auth` counts.
    #[must_use]
    pub fn new(auth: &AuthenticationService, limit: RequestLimit) -> Self {
        Self { auth: auth.clone(), limit, peer: None }
    }

    /// Finds the client's address with `source`. Default: the extension
    /// [`Peer`](authv2_core::authentication::Peer). Without an address clients cannot be told apart by network: all of
    /// them share one count.
    #[must_use]
    pub fn peer_from(mut self, source: PeerSource) -> Self {
        self.peer = Some(source);
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, layer: self.clone() }
    }
}

/// Calls the inner service for so many requests and no more.
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S, B, R> Service<Request<B>> for RateLimit<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = RateLimitFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> RateLimitFuture<S, B> {
        peer::place(request.extensions_mut(), self.layer.peer);
        // The service that was polled ready is the one to call; its clone has not been.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let RateLimitLayer { auth, limit, .. } = &self.layer;
        let mut counted = request.extensions_mut().remove::<Counted>().unwrap_or_default();
        let taking = if is_preflight(&request) {
            None
        } else {
            let principal = request.extensions().get::<Caller>().and_then(Caller::principal);
            auth.take_once(limit, principal, &request, &mut counted)
        };
        request.extensions_mut().insert(counted);
        let state = match taking {
            Some(taking) => State::Taking { taking, request: Some(request), inner },
            None => State::Inner { future: inner.call(request), verdict: None },
        };
        RateLimitFuture { state }
    }
}

pin_project! {
    /// The future of [`RateLimit`].
    pub struct RateLimitFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Taking { taking: Taking, request: Option<Request<B>>, inner: S },
        Inner { #[pin] future: S::Future, verdict: Option<Verdict> },
    }
}

impl<S, B> fmt::Debug for RateLimitFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitFuture").finish_non_exhaustive()
    }
}

impl<S, B, R> Future for RateLimitFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Inner { future, verdict } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(verdict) = verdict {
                        tell_limit(&mut response, verdict);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Taking { taking, request, inner } => {
                    let verdict = ready!(Pin::new(taking).poll(cx)).and_then(|verdict| {
                        verdict.require()?;
                        Ok(verdict)
                    });
                    let Some(request) = request.take() else {
                        // A future must not be polled after it was ready.
                        return Poll::Pending;
                    };
                    match verdict {
                        Ok(verdict) => State::Inner { future: inner.call(request), verdict: Some(verdict) },
                        Err(error) => {
                            let id = request.extensions().get::<RequestId>().cloned();
                            let id = id.unwrap_or_else(|| RequestId::of(request.headers()));
                            return Poll::Ready(Ok(problem_response(&error, &id).map(R::from)));
                        }
                    }
                }
            };
            this.state.set(next);
        }
    }
}
