//! The calls on how the service is used.

use http::StatusCode;

use super::{
    call::{Call, Reply},
    problem::Problem,
    query::Query,
};
use crate::{error::Result, permission::Analytics, session::SessionAnalytics};

/// The days that are looked back on, where the query does not say.
const DAYS: u32 = 1;

/// Tell how an organization's rights are used
///
/// What was denied, which grants decided nothing, which roles nobody holds, and who used no right, over the last
/// `permissions.stale_after_days` days; at most 100 of each. Needs `audit:read` in the organization, or to administer
/// the platform.
#[utoipa::path(get, path = "/auth/analytics/permissions", tag = "analytics",
    params(("organization" = Option<String>, Query, description = "Its slug or id; the caller's own if there is none")),
    responses(
    (status = 200, body = Analytics),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such organization, or not a member of it", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn permissions(call: Call<'_>) -> Result<Reply> {
    let mut query = Query::of(&call.head.uri);
    let organization = query.text("organization");
    query.finish()?;
    let analytics = call.auth.analytics(call.principal()?, organization.as_deref()).await?;
    Reply::json(StatusCode::OK, &analytics)
}

/// Tell how many sessions there are
///
/// Live ones by device and organization, their peak and their median duration over the last days. For administrators of
/// the platform.
#[utoipa::path(get, path = "/auth/analytics/sessions", tag = "analytics",
    params(("days" = Option<u32>, Query, description = "How far back peak and median look, 1 to 90; 1 if there is none. Ended sessions are kept for seven days")),
    responses(
    (status = 200, body = SessionAnalytics),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn sessions(call: Call<'_>) -> Result<Reply> {
    let mut query = Query::of(&call.head.uri);
    let days = query.number("days", 1..=90).unwrap_or(DAYS);
    query.finish()?;
    Reply::json(StatusCode::OK, &call.auth.session_analytics(call.principal()?, days).await?)
}
