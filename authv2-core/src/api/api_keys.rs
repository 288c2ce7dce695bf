//! The calls on API keys.

use std::{net::IpAddr, time::Duration};

use http::StatusCode;
use ipnet::{IpNet, Ipv4Net};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    cursor::{Cursor, PAGE_DEFAULT, PAGE_MAX},
    fields::Fields,
    problem::Problem,
    query::Query,
};
use crate::{
    api_key::{ApiKey, RateLimit, is_environment},
    authentication::{NewKey, Written},
    error::Result,
    id::MemberId,
    permission,
    permission::{InvalidName, Pattern},
    secret::Secret,
    store::{ApiKeyPage, KeyQuota, KeyRateLimit, QuotaPeriod},
};

const SCOPES_MAX: usize = 100;
const NETWORKS_MAX: usize = 100;
/// Of the metadata as JSON, in bytes.
const METADATA_MAX: usize = 4096;
const ENVIRONMENT: &str = "live";

/// In seconds.
const DAY: u64 = 24 * 3600;
const LIFE_MAX: u64 = 3650 * DAY;
const GRACE_MAX: u64 = 30 * DAY;

/// Requests, of a rate and of a quota.
const RATE_MAX: u64 = 1_000_000;
const QUOTA_MAX: u64 = 1_000_000_000_000;

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
    let wanted = wanted(&mut fields);
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
    (status = 404, description = "`not_found`: no such organization or key, or not a member", body = Problem, content_type = "application/problem+json"),
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

/// The key that a body describes.
fn wanted(fields: &mut Fields) -> NewKey {
    NewKey {
        name: fields.string("name"),
        scopes: scopes(fields),
        expires_in: fields.optional_integer("expires_in", 1..=LIFE_MAX).map(Duration::from_secs),
        store: fields.optional_string("store"),
        rate_limit: fields.optional_object("rate_limit", rate_limit).flatten(),
        quota: fields.optional_object("quota", quota).flatten(),
        environment: environment(fields),
        allowed_ips: allowed_ips(fields),
        metadata: metadata(fields),
        service_account: fields.optional_parsed::<MemberId>("service_account", "invalid_id"),
    }
}

/// Each once. None at all would be a key that opens nothing.
fn scopes(fields: &mut Fields) -> Vec<Pattern> {
    let given = fields.has("scopes");
    let problems = fields.problems();
    let texts = fields.strings("scopes", SCOPES_MAX);
    if given && texts.is_empty() && fields.problems() == problems {
        fields.refuse("scopes", "too_few", "must have at least one item");
    }
    let mut scopes = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match text.parse::<Pattern>() {
            Ok(scope) if scopes.contains(&scope) => {}
            Ok(scope) => scopes.push(scope),
            Err(_) => {
                fields.refuse(&format!("scopes[{place}]"), "invalid_permission", InvalidName::Pattern.to_string());
            }
        }
    }
    scopes
}

fn rate_limit(fields: &mut Fields) -> Option<KeyRateLimit> {
    let requests = required(fields, "requests", RATE_MAX);
    let per_seconds = required(fields, "per_seconds", DAY);
    let burst = fields.optional_integer("burst", 1..=RATE_MAX);
    let number = |number: u64| u32::try_from(number).ok();
    let burst = burst.and_then(number);
    Some(KeyRateLimit { requests: number(requests?)?, per: Duration::from_secs(per_seconds?), burst })
}

fn quota(fields: &mut Fields) -> Option<KeyQuota> {
    let requests = required(fields, "requests", QUOTA_MAX);
    let period = fields.choice("per", &[("day", QuotaPeriod::Day), ("month", QuotaPeriod::Month)]);
    Some(KeyQuota { requests: requests?, period: period? })
}

/// A whole number from one, which must be there.
fn required(fields: &mut Fields, name: &'static str, most: u64) -> Option<u64> {
    if !fields.has(name) {
        fields.refuse(name, "required", "is required");
    }
    fields.optional_integer(name, 1..=most)
}

fn environment(fields: &mut Fields) -> String {
    let name = fields.optional_string("environment").unwrap_or_else(|| ENVIRONMENT.to_owned());
    if !is_environment(&name) {
        fields.refuse("environment", "invalid_environment", "must be 1 to 16 lower-case letters");
    }
    name
}

fn allowed_ips(fields: &mut Fields) -> Vec<IpNet> {
    let given = fields.has("allowed_ips");
    let problems = fields.problems();
    let texts = fields.optional_strings("allowed_ips", NETWORKS_MAX).unwrap_or_default();
    if given && texts.is_empty() && fields.problems() == problems {
        // An empty list of what is allowed would allow nothing, or everything: neither is meant.
        fields.refuse("allowed_ips", "too_few", "must have at least one item");
    }
    let mut networks = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match network(text) {
            Some(network) if networks.contains(&network) => {}
            Some(network) => networks.push(network),
            None => {
                let message = "must be a network like `192.0.2.0/24` or `2001:db8::/32`, or an address";
                fields.refuse(&format!("allowed_ips[{place}]"), "invalid_network", message);
            }
        }
    }
    networks
}

/// A network or a single address, an IPv4 one in its own form: that is how addresses of requests are compared.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network.trunc(),
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    match network {
        IpNet::V6(six) if six.prefix_len() >= 96 => match six.addr().to_ipv4_mapped() {
            Some(four) => Ipv4Net::new(four, six.prefix_len() - 96).ok().map(IpNet::V4),
            None => Some(network),
        },
        _ => Some(network),
    }
}

fn metadata(fields: &mut Fields) -> Map<String, Value> {
    let metadata = fields.optional_data("metadata").unwrap_or_default();
    let bytes = serde_json::to_string(&metadata).map_or(usize::MAX, |text| text.len());
    if bytes > METADATA_MAX {
        fields.refuse("metadata", "too_long", format!("must have at most {METADATA_MAX} bytes"));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> std::result::Result<NewKey, Vec<(String, &'static str)>> {
        let mut fields = Fields::parse(&Bytes::from(body.to_string()), false).unwrap();
        let wanted = wanted(&mut fields);
        let finished = fields.finish();
        finished
            .map(|()| wanted)
            .map_err(|refused| refused.fields().iter().map(|problem| (problem.field.clone(), problem.code)).collect())
    }

    fn key(more: Value) -> Value {
        let mut body = json!({"name": "nightly", "scopes": ["orders:read"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    }

    #[test]
    fn a_key_needs_a_name_and_a_scope_and_nothing_else() {
        let wanted = read(&key(json!({}))).unwrap();
        assert_eq!((wanted.environment.as_str(), wanted.expires_in, wanted.service_account), ("live", None, None));
        assert!(wanted.allowed_ips.is_empty() && wanted.metadata.is_empty());
        let twice = read(&key(json!({"scopes": ["*", "orders:*", "*"]}))).unwrap();
        assert_eq!(twice.scopes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["*", "orders:*"]);
    }

    #[test]
    fn every_field_that_is_refused_is_named() {
        let of_each = |count: usize| vec!["orders:read"; count];
        for (body, field, code) in [
            (json!({"name": "x"}), "scopes", "required"),
            (json!({"scopes": ["*"]}), "name", "required"),
            (key(json!({"scopes": []})), "scopes", "too_few"),
            (key(json!({"scopes": of_each(101)})), "scopes", "too_many"),
            (key(json!({"scopes": ["*", "Orders:read"]})), "scopes[1]", "invalid_permission"),
            (key(json!({"scopes": [1]})), "scopes[0]", "invalid_type"),
            (key(json!({"expires_in": 0})), "expires_in", "out_of_range"),
            (key(json!({"expires_in": 315_360_001})), "expires_in", "out_of_range"),
            (key(json!({"environment": ""})), "environment", "invalid_environment"),
            (key(json!({"environment": "Live"})), "environment", "invalid_environment"),
            (key(json!({"environment": "sandboxsandboxess"})), "environment", "invalid_environment"),
            (key(json!({"allowed_ips": []})), "allowed_ips", "too_few"),
            (key(json!({"allowed_ips": ["10.0.0.0/8", "10.0.0.0/33"]})), "allowed_ips[1]", "invalid_network"),
            (key(json!({"allowed_ips": ["localhost"]})), "allowed_ips[0]", "invalid_network"),
            (key(json!({"metadata": {"a": "x".repeat(4096)}})), "metadata", "too_long"),
            (key(json!({"metadata": []})), "metadata", "invalid_type"),
            (key(json!({"service_account": "robot"})), "service_account", "invalid_id"),
            (key(json!({"rate_limit": {"requests": 5}})), "rate_limit.per_seconds", "required"),
            (key(json!({"rate_limit": {"requests": 0, "per_seconds": 1}})), "rate_limit.requests", "out_of_range"),
            (
                key(json!({"rate_limit": {"requests": 1, "per_seconds": 1, "burst": 0}})),
                "rate_limit.burst",
                "out_of_range",
            ),
            (key(json!({"quota": {"requests": 1, "per": "year"}})), "quota.per", "invalid_choice"),
            (key(json!({"quota": {"per": "day"}})), "quota.requests", "required"),
            (key(json!({"owner": "ada"})), "owner", "unknown_field"),
        ] {
            assert_eq!(read(&body).unwrap_err(), [(field.to_owned(), code)], "{body}");
        }
    }

    #[test]
    fn networks_are_kept_in_the_one_form_that_addresses_are_compared_in() {
        let body = key(json!({"allowed_ips": [
            "10.1.2.3/8", "192.0.2.7", "::ffff:198.51.100.0/120", "2001:db8::1/32", "::1", "::/0", "10.0.0.0/8",
        ]}));
        let networks: Vec<String> = read(&body).unwrap().allowed_ips.iter().map(ToString::to_string).collect();
        let expected = ["10.0.0.0/8", "192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32", "::1/128", "::/0"];
        assert_eq!(networks, expected);
    }
}
