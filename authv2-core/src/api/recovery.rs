//! The calls on mailboxes: verifying an e-mail, resetting a password, signing in by a link.

use http::StatusCode;
use utoipa::ToSchema;

use super::{
    accounts::signed_in_reply,
    call::{Call, Reply},
    problem::Problem,
    shapes::{Nothing, SignInResponse, TransportChoice},
};
use crate::{authentication::LinkRedemption, error::Result, store::Transport};

/// `POST /auth/password/forgot`, `POST /auth/login/link`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct AddressRequest {
    /// The e-mail of the account.
    #[schema(format = Email)]
    email: String,
}

/// `POST /auth/password/reset`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct ResetPasswordRequest {
    /// The token of the mail's link.
    token: String,
    #[schema(format = Password)]
    new_password: String,
}

/// `POST /auth/email/verify`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct VerifyEmailRequest {
    /// The token of the mail's link.
    token: String,
}

/// `POST /auth/login/link/redeem`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct RedeemLinkRequest {
    /// The token of the mail's link.
    token: String,
    /// How the session's secret travels.
    transport: Option<TransportChoice>,
}

/// Ask for another password
///
/// A mail with a link goes to whoever has an account with this e-mail; the answer is the same where nobody does.
#[utoipa::path(post, path = "/auth/password/forgot", tag = "recovery", request_body = AddressRequest, responses(
    (status = 202, description = "If there is an account, a mail is on its way", body = Nothing),
    (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn forgot(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let email = fields.string("email");
    fields.finish()?;
    call.auth.forgot_password(&email, &call.origin).await?;
    accepted()
}

/// Set another password by a link
///
/// Ends all sessions, and verifies the e-mail. A password that is not acceptable leaves the link good.
#[utoipa::path(post, path = "/auth/password/reset", tag = "recovery", request_body = ResetPasswordRequest, responses(
    (status = 204),
    (status = 401, description = "`invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn reset(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let (token, new) = (fields.secret("token"), fields.secret("new_password"));
    fields.finish()?;
    call.auth.reset_password(token.expose(), new.expose(), &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Verify an e-mail by a link
#[utoipa::path(post, path = "/auth/email/verify", tag = "recovery", request_body = VerifyEmailRequest, responses(
    (status = 204),
    (status = 401, description = "`invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn verify(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let token = fields.secret("token");
    fields.finish()?;
    call.auth.verify_email(token.expose(), &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// Ask for a link that verifies one's e-mail
///
/// Does nothing if it is verified.
#[utoipa::path(post, path = "/auth/email/verification", tag = "recovery", responses(
    (status = 202, description = "A mail is on its way, unless the e-mail is verified", body = Nothing),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`permission_denied`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn request_verification(call: Call<'_>) -> Result<Reply> {
    call.optional_fields()?.finish()?;
    call.auth.request_verification(call.principal()?, &call.origin).await?;
    accepted()
}

/// Ask for a link to sign in with
///
/// It lets the owner of an account in, however many attempts of others have failed. The answer is the same where nobody
/// has the e-mail.
#[utoipa::path(post, path = "/auth/login/link", tag = "recovery", request_body = AddressRequest, responses(
    (status = 202, description = "If there is an account, a mail is on its way", body = Nothing),
    (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn request_link(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let email = fields.string("email");
    fields.finish()?;
    call.auth.request_sign_in_link(&email, &call.origin).await?;
    accepted()
}

/// Sign in by a link
#[utoipa::path(post, path = "/auth/login/link/redeem", tag = "recovery", request_body = RedeemLinkRequest,
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449): the session's tokens are then bound to its key")),
    responses(
    (status = 200, body = SignInResponse),
    (status = 401, description = "`invalid_token`, `invalid_dpop_proof`, `use_dpop_nonce`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`mfa_required`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`too_many_sessions`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn redeem_link(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let redemption = LinkRedemption {
        token: fields.secret("token"),
        transport: fields
            .optional_choice("transport", &[("bearer", Transport::Bearer), ("cookie", Transport::Cookie)])
            .unwrap_or(Transport::Bearer),
        proof: call.auth.proof(call.head)?,
    };
    fields.finish()?;
    let signed_in = call.auth.redeem_sign_in_link(redemption, &call.origin).await?;
    signed_in_reply(&call, &signed_in)
}

fn accepted() -> Result<Reply> {
    Reply::json(StatusCode::ACCEPTED, &Nothing {})
}
