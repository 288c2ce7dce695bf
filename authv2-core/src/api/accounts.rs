//! The calls on accounts: registering, signing in and out, one's own profile and password.

use http::{StatusCode, header};

use super::{
    call::{Call, Reply},
    problem::Problem,
    shapes::{
        Auth, ChangePasswordRequest, DeleteMeRequest, LoginRequest, LogoutAllRequest, Me, Nothing, RefreshTokenRequest,
        RegisterRequest, RevokedResponse, SignInResponse, UpdateMeRequest, UserResponse,
    },
};
use crate::{
    authentication::{Credentials, Login, SignedIn, Whereabouts},
    error::{Code, Error, FieldError, Result},
    principal::Method,
    session::Session,
    store::Transport,
    user::{NewAccount, User},
};

/// Make an account
///
/// Signs nobody in. Where e-mails must be verified, the answer is 202 whether there is an account or not: a mail says
/// what came of it.
#[utoipa::path(post, path = "/auth/register", tag = "accounts", request_body = RegisterRequest, responses(
    (status = 201, body = UserResponse),
    (status = 202, description = "A mail is on its way", body = Nothing),
    (status = 409, description = "`email_taken`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn register(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let (email, password) = (fields.string("email"), fields.secret("password"));
    let display_name = fields.optional_string("display_name");
    fields.finish()?;
    let new = NewAccount { email: &email, password: &password, display_name: display_name.as_deref() };
    match call.auth.register(new, &call.origin).await? {
        Some(user) => Reply::json(StatusCode::CREATED, &UserResponse { user }),
        None => Reply::json(StatusCode::ACCEPTED, &Nothing {}),
    }
}

/// Sign in
#[utoipa::path(post, path = "/auth/login", tag = "accounts", request_body = LoginRequest,
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449): the session's tokens are then bound to its key")),
    responses(
    (status = 200, body = SignInResponse),
    (status = 401, description = "`invalid_credentials`, `invalid_dpop_proof`, `use_dpop_nonce`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`mfa_required`, with `mfa_token` and `methods`; `mfa_enrollment_required`, `email_unverified`, `not_a_member`, `csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "`too_many_sessions`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn login(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let login = Login {
        email: fields.string("email"),
        password: fields.secret("password"),
        organization: fields.optional_string("organization"),
        store: fields.optional_string("store"),
        transport: fields
            .optional_choice("transport", &[("bearer", Transport::Bearer), ("cookie", Transport::Cookie)])
            .unwrap_or(Transport::Bearer),
        proof: call.auth.proof(call.head)?,
    };
    fields.finish()?;
    if login.store.is_some() && login.organization.is_none() {
        let problem = FieldError::new("organization", "required", "is required with `store`");
        return Err(Error::invalid(vec![problem]));
    }
    let signed_in = call.auth.login(login, &call.origin).await?;
    signed_in_reply(&call, &signed_in)
}

pub(super) fn signed_in_reply(call: &Call<'_>, signed_in: &SignedIn) -> Result<Reply> {
    let reply = Reply::json(StatusCode::OK, &SignInResponse::from(signed_in))?;
    let reply = reply.with(header::PRAGMA, http::HeaderValue::from_static("no-cache"));
    Ok(match &signed_in.credentials {
        Credentials::Cookie { secret, csrf_token, life, device } => {
            let cookies = call.auth.cookies();
            let known = device.as_ref().map(|device| cookies.remember(device));
            reply.with_cookies(cookies.set(secret, csrf_token, *life)).with_cookies(known)
        }
        Credentials::Tokens { .. } | Credentials::Access { .. } => reply,
    })
}

/// Renew a session
///
/// With a refresh token: uses it up, for a new token set. By cookie: renews the cookies.
#[utoipa::path(post, path = "/auth/refresh", tag = "accounts", request_body = Option<RefreshTokenRequest>,
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449): needed where the session is bound to a key")),
    responses(
    (status = 200, body = SignInResponse),
    (status = 401, description = "`invalid_refresh_token`, `refresh_token_reused`, `invalid_dpop_proof`, `use_dpop_nonce`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn refresh(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.optional_fields()?;
    let token = fields.optional_string("refresh_token");
    fields.finish()?;
    if let Some(token) = token {
        let signed_in = call.auth.refresh(&token, call.auth.proof(call.head)?, &call.origin).await?;
        return signed_in_reply(&call, &signed_in);
    }
    match call.auth.authenticate_with_cookie(call.head).await? {
        Some((principal, secret)) if principal.method() == Method::Cookie => {
            signed_in_reply(&call, &call.auth.renew_cookie(&principal, secret)?)
        }
        // An access token renews nothing.
        _ => Err(Error::new(Code::InvalidRefreshToken, "send a refresh token, or a session cookie")),
    }
}

/// Sign out
///
/// Ends the session with all its tokens, everywhere. Where the access token has expired, its refresh token will do.
#[utoipa::path(post, path = "/auth/logout", tag = "accounts", request_body = Option<RefreshTokenRequest>, responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`, `invalid_refresh_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`csrf_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn logout(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.optional_fields()?;
    let token = fields.optional_string("refresh_token");
    fields.finish()?;
    let reply = Reply::empty(StatusCode::NO_CONTENT);
    if let Some(token) = token {
        call.auth.logout_by_refresh_token(&token, &call.origin).await?;
        return Ok(reply);
    }
    let Some(principal) = call.auth.authenticate_to_end(call.head).await? else {
        return Err(Error::new(Code::Unauthenticated, "send an access token, a refresh token or a session cookie"));
    };
    call.auth.logout(&principal, &call.origin).await?;
    Ok(match principal.method() {
        Method::Cookie => reply.with_cookies(call.auth.cookies().clear()),
        Method::Bearer | Method::ApiKey => reply,
    })
}

/// Sign out everywhere
#[utoipa::path(post, path = "/auth/logout-all", tag = "accounts", request_body = Option<LogoutAllRequest>, responses(
    (status = 200, body = RevokedResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn logout_all(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.optional_fields()?;
    let except_current = fields.optional_bool("except_current").unwrap_or(false);
    fields.finish()?;
    let principal = call.principal()?;
    let revoked = call.auth.logout_all(principal, except_current, &call.origin).await?;
    let reply = Reply::json(StatusCode::OK, &RevokedResponse { revoked })?;
    Ok(match principal.method() {
        Method::Cookie if !except_current => reply.with_cookies(call.auth.cookies().clear()),
        _ => reply,
    })
}

/// Who am I
#[utoipa::path(get, path = "/auth/me", tag = "accounts", responses(
    (status = 200, body = Me),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn me(call: Call<'_>) -> Result<Reply> {
    let principal = call.principal()?;
    let live = principal.signed_in()?;
    let csrf_token = match principal.method() {
        Method::Cookie => Some(call.auth.csrf_token(live.session().id).expose().clone()),
        Method::Bearer | Method::ApiKey => None,
    };
    let Whereabouts { organization, store, roles, permissions } = call.auth.whereabouts(principal).await?;
    let me = Me {
        user: User::from(live.user()),
        session: Session::of(&live.record(), true),
        organization,
        store,
        roles,
        permissions,
        auth: Auth::from(principal),
        csrf_token,
    };
    Reply::json(StatusCode::OK, &me)
}

/// Change one's profile
#[utoipa::path(patch, path = "/auth/me", tag = "accounts", request_body = UpdateMeRequest, responses(
    (status = 200, body = UserResponse),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn update_me(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let display_name = fields.nullable_string("display_name");
    fields.finish()?;
    let display_name = display_name.as_ref().map(Option::as_deref);
    let user = call.auth.update_me(call.principal()?, display_name, &call.origin).await?;
    Reply::json(StatusCode::OK, &UserResponse { user })
}

/// Delete one's account
#[utoipa::path(delete, path = "/auth/me", tag = "accounts", request_body = DeleteMeRequest, responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn delete_me(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let password = fields.secret("password");
    fields.finish()?;
    let principal = call.principal()?;
    call.auth.delete_me(principal, password.expose(), &call.origin).await?;
    let reply = Reply::empty(StatusCode::NO_CONTENT);
    Ok(match principal.method() {
        Method::Cookie => reply.with_cookies(call.auth.cookies().clear()),
        Method::Bearer | Method::ApiKey => reply,
    })
}

/// Delete one's account, for clients that cannot send a body with `DELETE`
#[utoipa::path(post, path = "/auth/me/delete", tag = "accounts", request_body = DeleteMeRequest, responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn post_delete_me(call: Call<'_>) -> Result<Reply> {
    delete_me(call).await
}

/// Change one's password
///
/// Ends every other session.
#[utoipa::path(post, path = "/auth/password/change", tag = "accounts", request_body = ChangePasswordRequest, responses(
    (status = 204),
    (status = 401, description = "`unauthenticated`, `invalid_token`", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "`wrong_password`", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "`too_many_attempts`", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn change_password(call: Call<'_>) -> Result<Reply> {
    let mut fields = call.fields()?;
    let (current, new) = (fields.secret("current_password"), fields.secret("new_password"));
    fields.finish()?;
    call.auth.change_password(call.principal()?, current.expose(), new.expose(), &call.origin).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}
