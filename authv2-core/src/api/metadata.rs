//! What clients and verifiers read about this deployment.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    openapi,
};
use crate::{
    error::Result,
    jwt::{Algorithm, proof_algorithms},
};

/// The public signing keys (RFC 7517)
///
/// Every key that can still verify a token of this deployment.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "metadata", responses(
    (status = 200, description = "A JWK Set", body = serde_json::Value),
))]
pub(super) async fn jwks(call: Call<'_>) -> Result<Reply> {
    let (keys, max_age) = call.auth.published_keys().await?;
    Ok(cached(Reply::json(StatusCode::OK, &keys)?, max_age.as_secs()))
}

/// Authorization server metadata (RFC 8414)
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "metadata", responses(
    (status = 200, body = AuthorizationServer),
))]
pub(super) async fn authorization_server(call: Call<'_>) -> Result<Reply> {
    let issuer = call.auth.issuer();
    let metadata = AuthorizationServer {
        issuer: issuer.to_owned(),
        jwks_uri: format!("{issuer}/.well-known/jwks.json"),
        service_documentation: format!("{issuer}/openapi.json"),
        token_endpoint: format!("{issuer}/auth/oauth/token"),
        token_endpoint_auth_methods_supported: CLIENT_METHODS,
        grant_types_supported: ["refresh_token", "client_credentials"],
        revocation_endpoint: format!("{issuer}/auth/oauth/revoke"),
        revocation_endpoint_auth_methods_supported: CLIENT_METHODS,
        introspection_endpoint: format!("{issuer}/auth/oauth/introspect"),
        introspection_endpoint_auth_methods_supported: ["client_secret_basic", "client_secret_post", "Bearer"],
        introspection_signing_alg_values_supported: introspection_algorithms(call.auth.config().tokens.alg),
        response_types_supported: [],
        dpop_signing_alg_values_supported: proof_algorithms().map(Algorithm::as_str).collect(),
    };
    Ok(cached(Reply::json(StatusCode::OK, &metadata)?, call.auth.config().tokens.jwks_max_age.as_secs()))
}

/// How clients authenticate, where any may.
const CLIENT_METHODS: [&str; 3] = ["none", "client_secret_basic", "client_secret_post"];

fn introspection_algorithms(signing: Algorithm) -> Option<[&'static str; 1]> {
    (!signing.is_symmetric()).then(|| [signing.as_str()])
}

/// RFC 8414 section 2, as far as this deployment has something to say.
#[derive(Serialize, ToSchema)]
pub(super) struct AuthorizationServer {
    issuer: String,
    jwks_uri: String,
    service_documentation: String,
    token_endpoint: String,
    /// API keys are confidential clients; the one for people's own sessions is public.
    token_endpoint_auth_methods_supported: [&'static str; 3],
    grant_types_supported: [&'static str; 2],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 3],
    introspection_endpoint: String,
    /// API keys, as clients or by themselves.
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    /// What signed answers are signed with (RFC 9701 section 7), where others can verify it.
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_signing_alg_values_supported: Option<[&'static str; 1]>,
    /// There is no authorization endpoint.
    #[schema(value_type = Vec<String>)]
    response_types_supported: [&'static str; 0],
    /// What proofs of possession may be signed with (RFC 9449 section 5.1).
    dpop_signing_alg_values_supported: Vec<&'static str>,
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "metadata", responses(
    (status = 200, description = "OpenAPI 3.1", body = serde_json::Value),
))]
pub(super) async fn openapi(_: Call<'_>) -> Result<Reply> {
    Ok(cached(Reply::json(StatusCode::OK, &openapi::document())?, 300))
}

fn cached(reply: Reply, max_age: u64) -> Reply {
    match HeaderValue::from_str(&format!("public, max-age={max_age}")) {
        Ok(value) => reply.with(header::CACHE_CONTROL, value),
        Err(_) => reply,
    }
}
