//! The calls on the browsers that one is known on.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    problem::Problem,
};
use crate::{
    authentication::{KnownDevice, no_device},
    error::Result,
    id::DeviceId,
};

/// `GET /auth/devices`.
#[derive(Serialize, ToSchema)]
pub(super) struct DevicesResponse {
    devices: Vec<KnownDevice>,
}

/// List the browsers that one is known on
///
/// Those that a session cookie was given to, the last used first. A sign-in on one of them is counted apart from what
/// fails elsewhere.
#[utoipa::path(get, path = "/auth/devices", tag = "sessions", responses(
    (status = 200, body = DevicesResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`: not a user's session", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let devices = call.auth.devices(call.principal()?, &call.origin).await?;
    Reply::json(StatusCode::OK, &DevicesResponse { devices })
}

/// Forget one of them
///
/// Ends the sessions that were opened on it.
#[utoipa::path(delete, path = "/auth/devices/{id}", tag = "sessions",
    params(("id" = String, Path, description = "The device's id")),
    responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`: not a user's session; `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no such device, or not one's own", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn forget(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    let id: DeviceId = call.parameters.get("id").and_then(|id| id.parse().ok()).ok_or_else(no_device)?;
    call.auth.forget_device(principal, id, &call.origin).await?;
    let reply = Reply::empty(StatusCode::NO_CONTENT);
    let is_current = call.origin.device.is_some_and(|claim| claim.device == id);
    Ok(if is_current { reply.with_cookies([call.auth.cookies().forget()]) } else { reply })
}
