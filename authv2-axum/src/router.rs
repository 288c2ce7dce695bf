//! The contract as a router, and the layer that knows where axum keeps the peer's address.

use std::net::SocketAddr;

use authv2_core::{AuthenticationService, api::refuse, authentication::RequestId, error::Code};
use authv2_tower::{ApiService, AuthLayer};
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
};
use http::Extensions;

/// All calls of the HTTP contract, at their paths.
pub fn router<S>(auth: &AuthenticationService) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let service = api_service(auth);
    service.paths().fold(Router::new(), |router, path| router.route_service(path, service.clone()))
}

/// The contract as a service: at paths that it does not have it answers the contract's 404, as a fallback should.
#[must_use]
pub fn api_service(auth: &AuthenticationService) -> ApiService {
    ApiService::new(auth).peer_from(connect_info)
}

/// The layer that finds out who calls.
#[must_use]
pub fn auth_layer(auth: &AuthenticationService) -> AuthLayer {
    AuthLayer::new(auth).peer_from(connect_info)
}

/// For `Router::method_not_allowed_fallback`: refuses a method that a path of the application does not have as the
/// contract does. Without it axum answers with an empty body.
pub async fn method_not_allowed(request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let id = id.unwrap_or_else(|| RequestId::of(request.headers()));
    refuse(Code::MethodNotAllowed, "see the header `Allow`", &id).map(Body::from)
}

fn connect_info(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}
