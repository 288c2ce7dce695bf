//! The calls on API keys.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    cursor::{Cursor, PAGE_DEFAULT, PAGE_MAX},
    new_api_key,
    problem::Problem,
    query::Query,
};
use crate::{
    api_key::{ApiKey, RateLimit},
    authentication::Written,
    error::Result,
    permission,
    secret::Secret,
    store::ApiKeyPage,
};

/// In seconds.
const GRACE_MAX: u64 = 30 * 24 * 3600;

/// `POST /auth/orgs/{org}/api-keys`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct MintRequest {
    /// What people call it: 1 to 200 characters.
    name: String,
    /// What it may do: 1 to 100 permissions, or patterns of them, all of which the caller holds.
    #[schema(example = json!(["orders:read", "invoices:*"]))]
    scopes: Vec<String>,
    /// In how many seconds it ends; never if absent.
    #[schema(minimum = 1, maximum = 315_360_000)]
    expires_in: Option<u64>,
    /// The store that it acts at, and nowhere else: slug or id.
    store: Option<String>,
    rate_limit: Option<RateLimit>,
    quota: Option<QuotaRequest>,
    /// One to 16 lower-case letters; `live` if absent.
    #[schema(example = "test")]
    environment: Option<String>,
    /// The networks that it may be used from, at most 100; from anywhere if absent.
    #[schema(example = json!(["192.0.2.0/24", "2001:db8::/32"]))]
    allowed_ips: Option<Vec<String>>,
    /// Whatever the organization wants to note: at most 4096 bytes of JSON.
    metadata: Option<Map<String, Value>>,
    /// The service account that it is of, whose rights bound it instead of the caller's.
    #[schema(format = Uuid)]
    service_account: Option<String>,
}

/// How often it may be used in a day or a month.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct QuotaRequest {
    #[schema(minimum = 1, maximum = 1_000_000_000_000_u64)]
    requests: u64,
    /// `day` or `month`, in the organization's time zone.
    per: String,
}

/// `POST …/rotate`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct RotateRequest {
    /// How many seconds the secrets that it has now go on working; none if absent.
    #[schema(minimum = 0, maximum = 2_592_000)]
    grace_seconds: Option<u64>,
}

/// A key that was minted or rotated.
#[derive(Serialize, ToSchema)]
pub(super) struct MintedResponse {
    api_key: ApiKey,
    /// What to present, as `Authorization: Bearer` or `X-Api-Key`. It is shown this once.
    #[schema(format = Password)]
    secret: String,
}

/// An API key.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiKeyResponse {
    api_key: ApiKey,
}

/// `GET /auth/orgs/{org}/api-keys`.
#[derive(Serialize, ToSchema)]
pub(super) struct ApiKeysResponse {
    api_keys: Vec<ApiKey>,
    /// Send it as `cursor` for the page after this one; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Mint an API key
///
/// Needs `api_keys:create` at the organization, or at the store that is named, and each of the scopes; with
/// `service_account`, that account holds them too. What the key may do is its scopes, as far as the caller or the account
/// may still do that at the time. The secret is shown this once.
#[utoipa::path(post, path = "/auth/orgs/{org}/api-keys", tag = "api keys",
    request_body = MintRequest,
    params(("org" = String, Path, description = "The organization's slug or id")),
    responses(
    (status = 201, body = MintedResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `insufficient_scope`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`too_many_api_keys`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn mint(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let mut fields = call.fields()?;
    let wanted = new_api_key::read(&mut fields);
    if let Err(problems) = fields.finish() {
        // Whoever may not make keys is told so first.
        let named = wanted.store.as_deref();
        let store = named.and_then(|name| standing.access.snapshot().model().store(name));
        return standing.require_at(&permission!("api_keys:create"), store).and(Err(problems));
    }
    let minted = call.auth.mint_api_key(&standing, wanted, &call.origin).await?;
    shown_once(minted)
}

/// List API keys
///
/// Oldest first. Needs `api_keys:read`: at the organization, or at the store whose keys are asked for.
#[utoipa::path(get, path = "/auth/orgs/{org}/api-keys", tag = "api keys",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("store" = Option<String>, Query, description = "Those of one store only: its slug or id"),
        ("limit" = Option<u32>, Query, description = "How many at most: 1 to 200, 50 by default"),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before"),
    ),
    responses(
    (status = 200, body = ApiKeysResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `insufficient_scope`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let mut query = Query::of(&call.head.uri);
    let limit = query.number("limit", 1..=PAGE_MAX).unwrap_or(PAGE_DEFAULT);
    let after: Option<Cursor> = query.parsed("cursor", "invalid_cursor");
    let named = query.text("store");
    let store = named.as_deref().and_then(|name| standing.access.snapshot().model().store(name));
    if named.is_some() && store.is_none() {
        query.refuse("store", "unknown_store", "is not a store of this organization");
    }
    // A credential that is bound to a store sees what is there.
    let store = store.or(standing.bound_to);
    if let Err(problems) = query.finish() {
        return standing.require_at(&permission!("api_keys:read"), store).and(Err(problems));
    }
    let after = after.map(|Cursor(created_at, key)| (created_at, key.into()));
    // One more than asked for tells whether there is a page after this one.
    let mut api_keys = call.auth.api_keys(&standing, ApiKeyPage { store, after, limit: limit + 1 }).await?;
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = api_keys.len() > most;
    api_keys.truncate(most);
    let last = api_keys.last().filter(|_| has_more);
    let next_cursor = last.map(|key| Cursor(key.created_at, key.id.as_uuid()).to_string());
    Reply::json(StatusCode::OK, &ApiKeysResponse { api_keys, next_cursor })
}

/// Read an API key
///
/// Needs `api_keys:read`, at the key's store if it has one. Its secret is not to be had again.
#[utoipa::path(get, path = "/auth/orgs/{org}/api-keys/{id}", tag = "api keys",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("id" = String, Path, description = "The key's id"),
    ),
    responses(
    (status = 200, body = ApiKeyResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `insufficient_scope`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or key, or not a member", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn read(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let api_key = call.auth.api_key(&standing, id(&call)).await?;
    Reply::json(StatusCode::OK, &ApiKeyResponse { api_key })
}

/// Rotate an API key
///
/// Gives it another secret, shown this once; its id, limits and usage stay. Those that it has now go on working for
/// `grace_seconds`, and end at once without it. Needs `api_keys:update`, at the key's store if it has one, and each of its
/// scopes: the caller becomes the user whose rights bound it, unless it is of a service account.
#[utoipa::path(post, path = "/auth/orgs/{org}/api-keys/{id}/rotate", tag = "api keys",
    request_body = Option<RotateRequest>,
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("id" = String, Path, description = "The key's id"),
    ),
    responses(
    (status = 201, body = MintedResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `insufficient_scope`, `privilege_escalation`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or key, a key that has ended, or not a member", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn rotate(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let mut fields = call.optional_fields()?;
    let grace = fields.optional_integer("grace_seconds", 0..=GRACE_MAX).unwrap_or(0);
    fields.finish()?;
    let grace = Duration::from_secs(grace);
    let rotated = call.auth.rotate_api_key(&standing, id(&call), grace, &call.origin).await?;
    shown_once(rotated)
}

/// Delete an API key
///
/// Ends every secret that it has, at once and everywhere. Needs `api_keys:delete`, at the key's store if it has one.
#[utoipa::path(delete, path = "/auth/orgs/{org}/api-keys/{id}", tag = "api keys",
    params(
        ("org" = String, Path, description = "The organization's slug or id"),
        ("id" = String, Path, description = "The key's id"),
    ),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `insufficient_scope`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or key, or not a member", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete(call: Call<'_>) -> Result<Reply> {
    let standing = call.standing().await?;
    let deleted = call.auth.delete_api_key(&standing, id(&call), &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT).with_revision(&deleted.revision))
}

fn id<'a>(call: &'a Call<'_>) -> &'a str {
    call.parameters.get("id").unwrap_or_default()
}

fn shown_once(written: Written<(ApiKey, Secret)>) -> Result<Reply> {
    let (api_key, secret) = written.value;
    let reply = Reply::json(StatusCode::CREATED, &MintedResponse { api_key, secret: secret.expose().clone() })?;
    Ok(reply.with_revision(&written.revision))
}
