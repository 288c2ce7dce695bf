//! The contract as a router, and the layer that knows where axum keeps the peer's address.

use std::net::SocketAddr;

use authv2_core::AuthenticationService;
use authv2_tower::{ApiService, AuthLayer};
use axum::{Router, extract::ConnectInfo};
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

fn connect_info(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}
