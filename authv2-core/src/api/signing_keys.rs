//! The administration's calls on signing keys.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    fields::Fields,
    problem::Problem,
    query::Query,
};
use crate::{
    authentication::NewSigningKey,
    error::{FieldError, Result},
    jwt::{Algorithm, KeyError, KeyStatus, Rotation, SigningKey, UnknownAlgorithm},
};

/// How many keys a page holds at most, and if nobody says.
const PAGE_MAX: u32 = 200;
const PAGE_DEFAULT: u32 = 50;
/// The longest overlap: a year.
const OVERLAP_MAX: u64 = 366 * 24 * 3600;

/// `POST /auth/admin/signing-keys`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct CreateSigningKeyRequest {
    #[schema(example = "EdDSA")]
    alg: String,
    /// The private key to bring along, unencrypted: PKCS#8, SEC 1 or PKCS#1. Without it and `jwk` one is made.
    #[schema(format = Password)]
    pem: Option<String>,
    /// The private key as a JWK.
    #[schema(value_type = Option<Object>)]
    jwk: Option<serde_json::Value>,
}

/// `POST /auth/admin/signing-keys/rotate`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct RotateRequest {
    /// Seconds that the key before verifies after the new one signs. At least, and by default, as long as its tokens
    /// live; with `activate_now` as short as wanted, which refuses live tokens.
    overlap_seconds: Option<u64>,
    /// Whether the new key signs at once. Verifiers elsewhere that hold a JWK Set without it refuse its tokens until
    /// they read again.
    activate_now: Option<bool>,
}

/// A signing key.
#[derive(Serialize, ToSchema)]
pub(super) struct SigningKeyResponse {
    signing_key: KeyStatus,
}

/// `GET /auth/admin/signing-keys`.
#[derive(Serialize, ToSchema)]
pub(super) struct SigningKeysResponse {
    signing_keys: Vec<KeyStatus>,
    /// Send it as `cursor` for the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// List the signing keys
///
/// Oldest first; retired ones for thirty days. For administrators of the platform.
#[utoipa::path(get, path = "/auth/admin/signing-keys", tag = "administration",
    params(
        ("limit" = Option<u32>, Query, description = "How many at most: 1 to 200, 50 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
    (status = 200, body = SigningKeysResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let mut signing_keys = call.auth.signing_keys(call.principal()?).await?;
    let mut query = Query::of(&call.head.uri);
    let limit = query.number("limit", 1..=PAGE_MAX).unwrap_or(PAGE_DEFAULT);
    let after = query.text("cursor");
    if let Some(after) = after {
        match signing_keys.iter().position(|key| key.kid == after) {
            Some(place) => drop(signing_keys.drain(..=place)),
            None => query.refuse("cursor", "invalid_cursor", "is not what a page of this list ended with"),
        }
    }
    query.finish()?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = signing_keys.len() > most;
    signing_keys.truncate(most);
    let next_cursor = signing_keys.last().filter(|_| has_more).map(|key| key.kid.clone());
    Reply::json(StatusCode::OK, &SigningKeysResponse { signing_keys, next_cursor })
}

/// Add a signing key
///
/// Made here or brought along. It is published at once, and pending until a rotation takes it. For administrators of
/// the platform, after a sign-in within the last 15 minutes.
#[utoipa::path(post, path = "/auth/admin/signing-keys", tag = "administration",
    request_body = CreateSigningKeyRequest, responses(
    (status = 201, body = SigningKeyResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`: among others `known_key`, and `refused_key` for one that was revoked", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn create(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    call.auth.require_key_keeper(principal)?;
    let mut fields = call.fields()?;
    let algorithm: Option<Algorithm> = fields.parsed("alg", "invalid_choice");
    let algorithm = algorithm.filter(|algorithm| {
        let signs = Algorithm::SIGNING.contains(algorithm);
        if !signs {
            fields.refuse("alg", "invalid_choice", UnknownAlgorithm.to_string());
        }
        signs
    });
    let (pem, jwk) = (fields.optional_secret("pem"), fields.optional_data("jwk"));
    let new = match (algorithm, &pem, &jwk) {
        (Some(_), Some(_), Some(_)) => {
            fields.refuse("jwk", "ambiguous", "must not be there beside `pem`");
            None
        }
        (Some(algorithm), Some(pem), None) => {
            let read = SigningKey::from_pem(algorithm, pem.expose());
            brought(&mut fields, "pem", read)
        }
        (Some(algorithm), None, Some(jwk)) => {
            let json = zeroize::Zeroizing::new(super::json(jwk)?.to_vec());
            let read = SigningKey::from_private_jwk(algorithm, &json);
            brought(&mut fields, "jwk", read)
        }
        (algorithm, ..) => algorithm.map(NewSigningKey::Made),
    };
    fields.finish()?;
    let new = new.ok_or_else(|| crate::Error::invalid(vec![FieldError::new("alg", "required", "is required")]))?;
    let signing_key = call.auth.add_signing_key(principal, new, &call.origin).await?;
    Reply::json(StatusCode::CREATED, &SigningKeyResponse { signing_key })
}

fn brought(
    fields: &mut Fields,
    field: &'static str,
    read: std::result::Result<SigningKey, KeyError>,
) -> Option<NewSigningKey> {
    match read {
        Ok(key) => Some(NewSigningKey::Brought(key, field)),
        Err(error) => {
            let is_weak = matches!(error, KeyError::RsaSize { .. } | KeyError::TooShort { .. } | KeyError::Roca);
            fields.refuse(field, if is_weak { "weak_key" } else { "invalid_key" }, error.to_string());
            None
        }
    }
}

/// Rotate the signing keys
///
/// The oldest pending key, or one that is made now, signs as soon as every verifier can know it; the key before
/// verifies on until its last token has expired. While a rotation is under way, this is that rotation. For
/// administrators of the platform, after a sign-in within the last 15 minutes.
#[utoipa::path(post, path = "/auth/admin/signing-keys/rotate", tag = "administration",
    request_body = RotateRequest, responses(
    (status = 200, body = SigningKeyResponse, description = "The key that will sign, and when"),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn rotate(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    call.auth.require_key_keeper(principal)?;
    let mut fields = call.optional_fields()?;
    let asked = Rotation {
        overlap: fields.optional_integer("overlap_seconds", 0..=OVERLAP_MAX).map(Duration::from_secs),
        activate_now: fields.optional_bool("activate_now").unwrap_or(false),
    };
    fields.finish()?;
    let signing_key = call.auth.rotate_signing_keys(principal, asked, &call.origin).await?;
    Reply::json(StatusCode::OK, &SigningKeyResponse { signing_key })
}

/// Revoke a signing key
///
/// All its tokens are refused at once, everywhere, and its material is never accepted again. If it signs, another key
/// does from now on. For administrators of the platform, after a sign-in within the last 15 minutes.
#[utoipa::path(post, path = "/auth/admin/signing-keys/{kid}/revoke", tag = "administration",
    params(("kid" = String, Path, description = "The key's name")),
    responses(
    (status = 200, body = SigningKeyResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn revoke(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    call.auth.require_key_keeper(principal)?;
    call.optional_fields()?.finish()?;
    let kid = call.parameters.get("kid").unwrap_or_default();
    let signing_key = call.auth.revoke_signing_key(principal, kid, &call.origin).await?;
    Reply::json(StatusCode::OK, &SigningKeyResponse { signing_key })
}
