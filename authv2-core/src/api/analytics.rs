//! The calls on how the service is used.

use http::StatusCode;

use super::{
    call::{Call, Reply},
    problem::Problem,
    query::Query,
};
use crate::{error::Result, permission::Analytics};

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
