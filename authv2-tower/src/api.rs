//! The HTTP contract as a service.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use authv2_core::{
    AuthenticationService,
    api::{Api, Body},
};
use http::{Request, Response};
use tower_service::Service;

use crate::peer::{self, PeerSource};

/// Serves the HTTP contract. What is at no path of it is a 404 problem, so it can serve as a fallback too.
#[derive(Debug, Clone)]
pub struct ApiService {
    api: Api,
    peer: Option<PeerSource>,
}

impl ApiService {
    /// The contract over `auth`.
    #[must_use]
    pub fn new(auth: &AuthenticationService) -> Self {
        Self { api: Api::new(auth.clone()), peer: None }
    }

    /// Finds the client's address with `source`. Default: the extension
    /// [`Peer`](authv2_core::authentication::Peer). Without an address, limits by network cannot tell clients apart.
    #[must_use]
    pub fn peer_from(mut self, source: PeerSource) -> Self {
        self.peer = Some(source);
        self
    }

    /// The patterns of all its paths, with `{name}` for a parameter.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.api.paths()
    }
}

impl<B> Service<Request<B>> for ApiService
where
    B: http_body::Body<Data: Send, Error: std::error::Error + Send + Sync + 'static> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        peer::place(request.extensions_mut(), self.peer);
        let api = self.api.clone();
        Box::pin(async move { Ok(api.call(request).await) })
    }
}
