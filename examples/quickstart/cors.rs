//! CORS for the allowed origins, and what every answer carries, whoever gave it.

use std::time::Duration;

use authv2_core::{AuthenticationService, api::finish, authentication::RequestId};
use authv2_tower::is_preflight;
use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use http::{HeaderName, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_service::Service as _;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers preflights, and puts the headers for allowed pages and for tracing on every response of `routes`.
pub(crate) fn around(routes: Router, auth: &AuthenticationService) -> Router {
    let bare = routes.clone();
    // The layer takes every `OPTIONS` for a preflight; one that is none asks for the methods of its path.
    let plain_options = from_fn(move |request: Request, next: Next| {
        let mut bare = bare.clone();
        async move {
            if request.method() != Method::OPTIONS || is_preflight(&request) {
                return next.run(request).await;
            }
            match bare.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    });
    routes.layer(layer(auth)).layer(plain_options).layer(from_fn(named))
}

/// Gives the request its id before anybody looks, and the response what every one carries.
async fn named(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    finish(&mut response, &id);
    response
}

fn layer(auth: &AuthenticationService) -> CorsLayer {
    let auth = auth.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| auth.allows_origin(origin.as_bytes())))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("dpop"),
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("x-csrf-token"),
            HeaderName::from_static("x-authv2-organization"),
            HeaderName::from_static("x-authv2-revision"),
            HeaderName::from_static("traceparent"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            HeaderName::from_static("dpop-nonce"),
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static("x-authv2-revision"),
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600))
}
