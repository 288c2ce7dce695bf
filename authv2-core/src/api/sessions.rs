//! The calls on one's own sessions.

use http::StatusCode;

use super::{
    accounts::signed_in_reply,
    call::{Call, Reply},
    problem::Problem,
    shapes::{SessionsResponse, SignInResponse, SwitchRequest},
};
use crate::{
    error::{Code, Error, Result},
    id::SessionId,
    principal::Method,
};

/// List one's sessions
///
/// Live ones, newest first.
#[utoipa::path(get, path = "/auth/sessions", tag = "sessions", responses(
    (status = 200, body = SessionsResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(call: Call<'_>) -> Result<Reply> {
    let live = call.principal()?.signed_in()?;
    let sessions = call.auth.sessions().list(live.user().id, live.session().id).await?;
    Reply::json(StatusCode::OK, &SessionsResponse { sessions })
}

/// Act in another tenant
///
/// Takes the session there; its refresh token stays and refreshes into it.
#[utoipa::path(post, path = "/auth/session/switch", tag = "sessions", request_body = SwitchRequest, responses(
    (status = 200, body = SignInResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `step_up_required`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`not_a_member`, `mfa_enrollment_required`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn switch(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let (organization, store) = (fields.string("organization"), fields.optional_string("store"));
    fields.finish()?;
    let principal = call.principal()?;
    let cookie = match principal.method() {
        Method::Cookie => Some(call.auth.cookie_to_switch(call.head).await?),
        Method::Bearer | Method::ApiKey => None,
    };
    let switched = call.auth.switch(principal, &organization, store.as_deref(), cookie, &call.origin).await?;
    signed_in_reply(&call, &switched)
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
    if !call.auth.sessions().revoke(principal.signed_in()?.user().id, id, &call.origin).await? {
        return Err(not_found());
    }
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
