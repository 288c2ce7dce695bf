//! How an API key was used.

use http::StatusCode;

use super::{
    call::{Call, Reply},
    problem::Problem,
    query::Query,
};
use crate::{
    authentication::{Bucket, KeyUsage},
    error::Result,
};

/// Tell how an API key was used
///
/// Requests by how they came out, in the hours or days of the organization's time zone in which there were any. What is
/// older than `usage.keep_hours` is told by day. Requests of the last few seconds may be missing. Needs `api_keys:read`.
#[utoipa::path(get, path = "/auth/orgs/{org}/api-keys/{id}/usage", tag = "api keys",
    params(
        ("org" = String, Path, description = "Slug or id"),
        ("id" = String, Path),
        ("from" = Option<String>, Query, description = "RFC 3339: buckets from the one around this moment; a day of hours or thirty days ago if there is none"),
        ("to" = Option<String>, Query, description = "RFC 3339: buckets that began before this moment; now if there is none"),
        ("bucket" = Option<String>, Query, description = "`hour` or `day`; `hour` if there is none"),
    ),
    responses(
    (status = 200, body = KeyUsage),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `insufficient_scope`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization or key, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn read(call: Call<'_>) -> Result<Reply> {
    let mut query = Query::of(&call.head.uri);
    let (from, to) = (query.moment("from", "invalid_timestamp"), query.moment("to", "invalid_timestamp"));
    let bucket = match query.text("bucket").as_deref() {
        None | Some("hour") => Bucket::Hour,
        Some("day") => Bucket::Day,
        Some(_) => {
            query.refuse("bucket", "invalid_choice", "must be `hour` or `day`");
            Bucket::Hour
        }
    };
    query.finish()?;
    let standing = call.standing().await?;
    let id = call.parameters.get("id").unwrap_or_default();
    Reply::json(StatusCode::OK, &call.auth.key_usage(&standing, id, (from, to), bucket).await?)
}
