//! The calls on one's own sessions.

use http::StatusCode;

use super::{
    call::{Call, Reply},
    problem::Problem,
    shapes::SessionsResponse,
};
use crate::{
    error::{Code, Error, Result},
    id::SessionId,
};

/// List one's sessions
///
/// Live ones, newest first.
#[utoipa::path(get, path = "/auth/sessions", tag = "sessions", responses(
    (status = 200, body = SessionsResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    let sessions = call.auth.sessions().list(principal.user_id(), principal.session_id()).await?;
    Reply::json(StatusCode::OK, &SessionsResponse { sessions })
}

/// End one of one's sessions
#[utoipa::path(delete, path = "/auth/sessions/{id}", tag = "sessions",
    params(("id" = String, Path, description = "The session's id")),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such session, or not one's own", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn revoke(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    let not_found = || Error::new(Code::NotFound, "there is no such session");
    let id: SessionId = call.parameters.get("id").and_then(|id| id.parse().ok()).ok_or_else(not_found)?;
    if !call.auth.sessions().revoke(principal.user_id(), id, &call.origin).await? {
        return Err(not_found());
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
