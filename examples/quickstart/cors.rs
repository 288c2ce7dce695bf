//! CORS for the allowed origins.

use std::time::Duration;

use authv2_core::AuthenticationService;
use http::{HeaderName, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) fn layer(auth: &AuthenticationService) -> CorsLayer {
    let auth = auth.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| auth.allows_origin(origin.as_bytes())))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
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
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static("x-authv2-revision"),
            REQUEST_ID,
        ])
        .max_age(Duration::from_secs(600))
}
