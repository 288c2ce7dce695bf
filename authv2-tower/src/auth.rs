//! The layer that finds out who calls.
//!
//! 1. A CORS preflight passes untouched.
//! 2. No credential: the request goes on, anonymous; refused with 401 where the layer is [`required`](AuthLayer::required).
//! 3. A good credential: the request goes on with its principal.
//! 4. An explicit credential that is not good is refused with 401, even where none is required.
//! 5. An outage is a 503, never anonymous.
//!
//! Every response that passes through carries `X-Request-Id`, and `Cache-Control: no-store` unless it says otherwise;
//! where proofs of possession need a nonce, also the one for the next proof.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use authv2_core::{
    AuthenticationService, Principal,
    api::{finish, problem_response, tell_limit},
    authentication::{Authenticating, Metered, RequestId, Requirement},
    limit::Verdict,
    metering::RouteClass,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Caller,
    caller::Refused,
    peer::{self, PeerSource},
};

/// Makes [`Auth`] services. See the [crate's documentation](crate).
#[derive(Debug, Clone)]
pub struct AuthLayer {
    auth: AuthenticationService,
    peer: Option<PeerSource>,
    required: bool,
}

impl AuthLayer {
    /// A layer that lets anonymous requests through.
    #[must_use]
    pub fn new(auth: &AuthenticationService) -> Self {
        Self { auth: auth.clone(), peer: None, required: false }
    }

    /// Refuses anonymous requests with 401. Default: they go on, for a [`RequireLayer`](crate::RequireLayer) or an
    /// extractor to judge.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Finds the client's address with `source`. Default: the extension
    /// [`Peer`](authv2_core::authentication::Peer).
    #[must_use]
    pub fn peer_from(mut self, source: PeerSource) -> Self {
        self.peer = Some(source);
        self
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

/// Finds out who calls before it calls the inner service.
#[derive(Debug, Clone)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

impl<S, B, R> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: 'static,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = AuthFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> AuthFuture<S, B> {
        peer::place(request.extensions_mut(), self.layer.peer);
        let id = match request.extensions().get::<RequestId>() {
            Some(id) => id.clone(),
            None => RequestId::of(request.headers()),
        };
        request.extensions_mut().insert(id.clone());
        let nonce = self.layer.auth.next_nonce(&request);
        // The service that was polled ready is the one to call; its clone has not been.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let state = if is_preflight(&request) {
            // Nobody, as far as what stands inside is concerned: it may answer, or refuse like any anonymous request.
            request.extensions_mut().insert(Caller::new(self.layer.auth.clone(), None));
            State::Inner { future: inner.call(request) }
        } else if Caller::has_been_found_by(&self.layer.auth, &request) {
            // By a layer around this one: a proof of possession is good once.
            State::Inner { future: inner.call(request) }
        } else {
            let authenticating = self.layer.auth.authenticate(&request);
            State::Authenticating { authenticating, request: Some(request), inner, layer: self.layer.clone() }
        };
        AuthFuture { state, id, nonce, metered: None, limit: None }
    }
}

/// Whether a request is what a browser sends ahead of one to another origin (Fetch standard, CORS-preflight).
pub fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

pin_project! {
    /// The future of [`Auth`].
    pub struct AuthFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B>,
        id: RequestId,
        nonce: Option<(HeaderName, HeaderValue)>,
        // A use of an API key, counted also where the caller goes away, or the inner service fails.
        metered: Option<Metered>,
        limit: Option<Verdict>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B>
    where
        S: Service<Request<B>>,
    {
        Authenticating { authenticating: Authenticating, request: Option<Request<B>>, inner: S, layer: AuthLayer },
        Inner { #[pin] future: S::Future },
    }
}

impl<S, B> fmt::Debug for AuthFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthFuture").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<S, B, R> Future for AuthFuture<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let future = match this.state.as_mut().project() {
                StateProjection::Inner { future } => {
                    let mut response = ready!(future.poll(cx))?;
                    if let Some(Refused(error)) = response.extensions_mut().remove() {
                        response = problem_response(&error, this.id).map(R::from);
                    }
                    if let Some(metered) = this.metered.take() {
                        let class = response.extensions().get().copied().unwrap_or(RouteClass::OTHER);
                        metered.answered(class, response.status());
                    }
                    complete(&mut response, this.id, this.nonce.take());
                    if let Some(limit) = this.limit {
                        tell_limit(&mut response, limit);
                    }
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Authenticating { authenticating, request, inner, layer } => {
                    let judged = ready!(Pin::new(authenticating).poll(cx)).and_then(|principal| {
                        let caller = Caller::new(layer.auth.clone(), principal);
                        if layer.required {
                            caller.check(&Requirement::SignedIn)?;
                        }
                        Ok(caller)
                    });
                    let (caller, Some(mut request)) = (judged, request.take()) else {
                        // A future must not be polled after it was ready.
                        return Poll::Pending;
                    };
                    match caller {
                        Ok(caller) => {
                            let metered = |caller| layer.auth.metered(caller, RouteClass::OTHER);
                            *this.metered = caller.principal().and_then(metered);
                            *this.limit = caller.principal().and_then(Principal::limit).copied();
                            request.extensions_mut().insert(caller);
                            inner.call(request)
                        }
                        Err(error) => {
                            let mut response = problem_response(&error, this.id).map(R::from);
                            complete(&mut response, this.id, this.nonce.take());
                            return Poll::Ready(Ok(response));
                        }
                    }
                }
            };
            this.state.set(State::Inner { future });
        }
    }
}

fn complete<R>(response: &mut Response<R>, id: &RequestId, nonce: Option<(HeaderName, HeaderValue)>) {
    finish(response, id);
    if let Some((name, nonce)) = nonce {
        response.headers_mut().insert(name, nonce);
    }
}
