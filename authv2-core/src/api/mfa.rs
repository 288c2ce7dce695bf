//! The calls on second factors: enrolling one, signing in with it, proving with it again who one is.

use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    accounts::signed_in_reply,
    call::{Call, Reply},
    fields::Fields,
    problem::Problem,
    shapes::SignInResponse,
};
use crate::{
    authentication::Reproof,
    error::{Error, FieldError, Result},
    principal::Method,
    secret::Secret,
};

/// `POST /auth/mfa/totp`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct EnrolRequest {
    #[schema(format = Password)]
    password: String,
}

/// A secret for an authenticator.
#[derive(Serialize, ToSchema)]
pub(super) struct EnrolResponse {
    /// To be typed: base32.
    secret: String,
    /// To be opened on the same device.
    #[schema(example = "otpauth://totp/Acme:ada%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme")]
    otpauth_uri: String,
    /// The same as a QR code: an `<svg>` element.
    #[serde(skip_serializing_if = "Option::is_none")]
    qr_svg: Option<String>,
}

/// `POST /auth/mfa/totp/confirm`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct ConfirmRequest {
    /// Six digits.
    #[schema(example = "287082")]
    code: String,
}

/// Recovery codes, each good once, shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct RecoveryCodesResponse {
    #[schema(min_items = 10, max_items = 10)]
    recovery_codes: Vec<String>,
}

/// `DELETE /auth/mfa/totp`, `POST /auth/mfa/recovery-codes`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct PasswordAndCodeRequest {
    #[schema(format = Password)]
    password: String,
    /// Of the authenticator, or a recovery code.
    code: String,
}

/// `POST /auth/mfa/verify`: one of `code` and `recovery_code`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct VerifyRequest {
    /// What the sign-in was refused with.
    mfa_token: String,
    code: Option<String>,
    recovery_code: Option<String>,
}

/// `POST /auth/mfa/step-up`: one of them.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct StepUpRequest {
    #[schema(format = Password)]
    password: Option<String>,
    /// Of the authenticator, or a recovery code.
    code: Option<String>,
}

/// Enrol a second factor
///
/// Makes a secret for an authenticator (RFC 6238), in place of one that was not confirmed.
#[utoipa::path(post, path = "/auth/mfa/totp", tag = "mfa", request_body = EnrolRequest, responses(
    (status = 201, body = EnrolResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`, `permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`mfa_already_enabled`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn enrol(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    principal.signed_in()?;
    let mut fields = call.fields()?;
    let password = fields.secret("password");
    fields.finish()?;
    let enrolled = call.auth.enrol_totp(principal, &password, &call.origin).await?;
    let response = EnrolResponse {
        secret: enrolled.secret.expose().clone(),
        otpauth_uri: enrolled.otpauth_uri.expose().clone(),
        qr_svg: enrolled.qr_svg.map(|svg| svg.expose().clone()),
    };
    Ok(uncached(Reply::json(StatusCode::CREATED, &response)?))
}

/// Confirm a second factor
///
/// With the first code of the authenticator. From now on a sign-in needs one.
#[utoipa::path(post, path = "/auth/mfa/totp/confirm", tag = "mfa", request_body = ConfirmRequest, responses(
    (status = 200, body = RecoveryCodesResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `invalid_code`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: nothing waits to be confirmed", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`mfa_already_enabled`, `version_conflict`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn confirm(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    principal.signed_in()?;
    let mut fields = call.fields()?;
    let code = fields.secret("code");
    fields.finish()?;
    recovery_codes(&call.auth.confirm_totp(principal, &code, &call.origin).await?)
}

/// Replace one's recovery codes
#[utoipa::path(post, path = "/auth/mfa/recovery-codes", tag = "mfa", request_body = PasswordAndCodeRequest, responses(
    (status = 200, body = RecoveryCodesResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `invalid_code`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`, `permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no second factor is enrolled", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn replace_recovery_codes(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    principal.signed_in()?;
    let (password, code) = password_and_code(&call)?;
    recovery_codes(&call.auth.replace_recovery_codes(principal, &password, &code, &call.origin).await?)
}

/// Remove one's second factor
///
/// With its recovery codes. A sign-in then needs the first factor alone.
#[utoipa::path(delete, path = "/auth/mfa/totp", tag = "mfa", request_body = PasswordAndCodeRequest, responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `invalid_code`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`, `permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no second factor is enrolled", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn remove(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    principal.signed_in()?;
    let (password, code) = password_and_code(&call)?;
    call.auth.remove_mfa(principal, &password, &code, &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Remove one's second factor, for clients that cannot send a body with `DELETE`
#[utoipa::path(post, path = "/auth/mfa/totp/delete", tag = "mfa", request_body = PasswordAndCodeRequest, responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `invalid_code`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`, `permission_denied`", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "`not_found`: no second factor is enrolled", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_remove(call: Call<'_>) -> Result<Reply> {
    remove(call).await
}

/// Sign in with one's second factor
///
/// Completes a sign-in that was refused with `mfa_required`, in its tenant and by its transport.
#[utoipa::path(post, path = "/auth/mfa/verify", tag = "mfa", request_body = VerifyRequest,
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449) of the key that the sign-in began with, where it began with one")),
    responses(
    (status = 200, body = SignInResponse),
    (status = 401, description = "`invalid_code`; `invalid_token`: the `mfa_token` is unknown, expired or used up; `invalid_dpop_proof`, `use_dpop_nonce`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`not_a_member`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`too_many_sessions`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn verify(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let mfa_token = fields.secret("mfa_token");
    let (code, recovery_code) = (fields.optional_secret("code"), fields.optional_secret("recovery_code"));
    let code = one_of(&mut fields, [("code", code), ("recovery_code", recovery_code)]);
    fields.finish()?;
    let Some((_, code)) = code else { return Err(neither("code")) };
    let proof = call.auth.proof(call.head)?;
    let signed_in = call.auth.verify_mfa(&mfa_token, &code, proof, &call.origin).await?;
    signed_in_reply(&call, &signed_in)
}

/// Prove again who one is
///
/// In the session that one has (RFC 9470), which is as fresh as that from now on. Access tokens given before keep what they
/// say; the one in the answer, and those that the refresh token gets, tell of it. A cookie session gets another cookie in
/// place of the one it had.
#[utoipa::path(post, path = "/auth/mfa/step-up", tag = "mfa", request_body = StepUpRequest, responses(
    (status = 200, body = SignInResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `invalid_code`; `step_up_required`: a password is not enough", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`, `permission_denied`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn step_up(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    principal.signed_in()?;
    let mut fields = call.fields()?;
    let (password, code) = (fields.optional_secret("password"), fields.optional_secret("code"));
    let shown = one_of(&mut fields, [("password", password), ("code", code)]);
    fields.finish()?;
    let reproof = match shown {
        Some(("password", password)) => Reproof::Password(password),
        Some((_, code)) => Reproof::Code(code),
        None => return Err(neither("password")),
    };
    let cookie = match principal.method() {
        Method::Cookie => Some(call.auth.cookie_to_prove(call.head).await?),
        Method::Bearer | Method::ApiKey => None,
    };
    let signed_in = call.auth.step_up(principal, reproof, cookie, &call.origin).await?;
    signed_in_reply(&call, &signed_in)
}

fn password_and_code(call: &Call<'_>) -> Result<(Secret, Secret)> {
    let mut fields = call.fields()?;
    let found = (fields.secret("password"), fields.secret("code"));
    fields.finish()?;
    Ok(found)
}

/// The one of two fields that is there. Both at once are a problem with the second; what is missing is for the caller.
fn one_of(fields: &mut Fields, [one, other]: [(&'static str, Option<Secret>); 2]) -> Option<(&'static str, Secret)> {
    if one.1.is_some() && other.1.is_some() {
        fields.refuse(other.0, "too_many", format!("must not be sent with `{}`", one.0));
    }
    [one, other].into_iter().find_map(|(name, secret)| secret.map(|secret| (name, secret)))
}

fn neither(field: &'static str) -> Error {
    Error::invalid(vec![FieldError::new(field, "required", "is required, or the other one")])
}

fn recovery_codes(codes: &[Secret]) -> Result<Reply> {
    let recovery_codes = codes.iter().map(|code| code.expose().clone()).collect();
    Ok(uncached(Reply::json(StatusCode::OK, &RecoveryCodesResponse { recovery_codes })?))
}

/// For caches that know nothing newer, as answers with tokens say it (RFC 6749 section 5.1).
fn uncached(reply: Reply) -> Reply {
    reply.with(header::PRAGMA, HeaderValue::from_static("no-cache"))
}
