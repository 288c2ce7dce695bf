//! The calls of OAuth: the token endpoint (RFC 6749 section 3.2) and revocation (RFC 7009). They take forms, and their
//! errors are in the form of RFC 6749 section 5.2.
//!
//! Neither looks at a cookie: what is sent in the form, and by HTTP Basic, is all the authority there is, so no other site
//! can borrow any.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    call::{Call, Reply},
    client::Client,
    form::Form,
    problem::{write_wait, www_authenticate},
};
use crate::{
    authentication::{Credentials, invalid_client},
    error::{Code, Error, ErrorKind, Result},
    metering::RouteClass,
    principal::Principal,
};

/// Credentials of other kinds: whoever sends one here must not believe that it is dead.
const NOT_REVOKED_HERE: [&str; 2] = ["avk_", "avs_"];

/// `POST /auth/oauth/token`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read parameter by parameter")]
pub(super) struct TokenRequest {
    /// `refresh_token` or `client_credentials`.
    grant_type: String,
    /// The refresh token: used up by this.
    refresh_token: Option<String>,
    /// With `refresh_token` `authv2`, or left out; with `client_credentials` the id of an API key, unless it is sent by
    /// Basic.
    client_id: Option<String>,
    /// The whole API key, unless it is sent by Basic.
    client_secret: Option<String>,
    /// With `client_credentials`: permissions and patterns of them, of those that the key has. Tokens of sessions have no
    /// scope to be narrowed: left out.
    scope: Option<String>,
}

/// An access token, and the next refresh token or the scope that it is good for (RFC 6749 section 5.1).
#[derive(Serialize, ToSchema)]
pub(super) struct TokenResponse {
    access_token: String,
    /// `Bearer`, or `DPoP` where the session is bound to a key.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// `POST /auth/oauth/revoke`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read parameter by parameter")]
pub(super) struct RevocationRequest {
    /// An access or a refresh token.
    token: String,
    /// Not needed to tell them apart, and not looked at.
    token_type_hint: Option<String>,
    /// `authv2`, or left out; the id of an API key to revoke a token that was issued for it, unless it is sent by Basic.
    client_id: Option<String>,
    /// The whole API key, unless it is sent by Basic.
    client_secret: Option<String>,
}

/// An error (RFC 6749 section 5.2).
#[derive(Serialize, ToSchema)]
pub(super) struct OAuthError {
    /// `invalid_request`, `invalid_client`, `invalid_grant`, `unsupported_grant_type`, `invalid_scope`,
    /// `unsupported_token_type`, `invalid_dpop_proof`, `use_dpop_nonce`, `invalid_token`, `insufficient_scope`,
    /// `access_denied`, `temporarily_unavailable`, `server_error`.
    error: &'static str,
    /// For people.
    error_description: String,
}

/// Token endpoint (RFC 6749)
///
/// For clients that speak OAuth: what `/auth/refresh` does, and tokens for API keys. Such a token is good for what its key
/// may do, within its scope, and dies with the key.
#[utoipa::path(post, path = "/auth/oauth/token", tag = "oauth", security(()),
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449): needed where the session is bound to a key")),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200, body = TokenResponse),
    (status = 400, description = "`invalid_request`, `invalid_grant`, `unsupported_grant_type`, `invalid_scope`, `invalid_dpop_proof`, `use_dpop_nonce`", body = OAuthError),
    (status = 401, description = "`invalid_client`", body = OAuthError),
))]
pub(super) async fn token(call: Call<'_>) -> Result<Reply> {
    let form = Form::read(&call.body)?;
    match form.required("grant_type")? {
        "refresh_token" => refresh(&call, &form).await,
        "client_credentials" => client_credentials(&call, &form).await,
        _ => Err(Error::new(Code::UnsupportedGrantType, "the grants are `refresh_token` and `client_credentials`")),
    }
}

async fn refresh(call: &Call<'_>, form: &Form<'_>) -> Result<Reply> {
    Client::read(&call.head.headers, form)?.require_public()?;
    let token = form.required("refresh_token")?;
    // RFC 6749 section 6: nothing beyond what was granted first, which is no scope at all.
    if form.optional("scope")?.is_some() {
        return Err(Error::new(Code::InvalidScope, "these tokens have no scope: leave it out"));
    }
    let signed_in = call.auth.refresh(token, call.auth.proof(call.head)?, &call.origin).await?;
    let Credentials::Tokens { token_type, access_token, expires_in, refresh_token, .. } = signed_in.credentials else {
        return Err(Error::new(Code::InvalidRefreshToken, "sign in again"));
    };
    let tokens = TokenResponse {
        access_token: access_token.expose().clone(),
        token_type: token_type.as_str(),
        expires_in: expires_in.as_secs(),
        refresh_token: Some(refresh_token.expose().clone()),
        scope: None,
    };
    granted(&tokens)
}

async fn client_credentials(call: &Call<'_>, form: &Form<'_>) -> Result<Reply> {
    let client = Client::read(&call.head.headers, form)?.authenticate(call).await?.ok_or_else(invalid_client)?;
    let issued = async { call.auth.client_token(&client, form.optional("scope")?).await }.await;
    call.auth.served_client(&client, RouteClass::new("/auth/oauth/token"), &issued);
    let token = issued?;
    granted(&TokenResponse {
        access_token: token.access_token.expose().clone(),
        token_type: "Bearer",
        expires_in: token.expires_in.as_secs(),
        refresh_token: None,
        scope: Some(token.scope),
    })
}

fn granted(tokens: &TokenResponse) -> Result<Reply> {
    let no_cache = HeaderValue::from_static("no-cache");
    Ok(Reply::json(StatusCode::OK, tokens)?.with(header::PRAGMA, no_cache))
}

/// Revocation (RFC 7009)
///
/// Ends the session of an access or a refresh token with all its tokens, everywhere; a token that was issued for an API key
/// is revoked alone, by that key. Of what is no good token, 200 says the same: it opens nothing.
#[utoipa::path(post, path = "/auth/oauth/revoke", tag = "oauth", security(()),
    request_body(content = RevocationRequest, content_type = "application/x-www-form-urlencoded"), responses(
    (status = 200),
    (status = 400, description = "`invalid_request`, `unsupported_token_type`", body = OAuthError),
    (status = 401, description = "`invalid_client`", body = OAuthError),
))]
pub(super) async fn revoke(call: Call<'_>) -> Result<Reply> {
    let form = Form::read(&call.body)?;
    let client = Client::read(&call.head.headers, &form)?.authenticate(&call).await?;
    let revoked = revoke_token(&call, &form, client.as_ref()).await;
    if let Some(client) = &client {
        call.auth.served_client(client, RouteClass::new("/auth/oauth/revoke"), &revoked);
    }
    revoked
}

async fn revoke_token(call: &Call<'_>, form: &Form<'_>, client: Option<&Principal>) -> Result<Reply> {
    let token = form.required("token")?;
    // RFC 7009 section 2.2.1: a hint that is not understood changes nothing.
    form.optional("token_type_hint")?;
    if NOT_REVOKED_HERE.iter().any(|prefix| token.starts_with(prefix)) {
        return Err(Error::new(Code::UnsupportedTokenType, "access and refresh tokens are revoked here"));
    }
    call.auth.end_session_of(token, client, &call.origin).await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// The answer to a call that failed.
pub(super) fn refuse(error: &Error) -> Response<Bytes> {
    let (status, name) = name_of(error.code());
    // RFC 6749 section 5.2: printable ASCII without quotation marks and backslashes.
    let allowed = |c: &char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    let body = OAuthError { error: name, error_description: error.detail().chars().filter(allowed).collect() };
    // Strings always serialise.
    let mut response = Response::new(Bytes::from(serde_json::to_vec(&body).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    let challenge = match (name, error.challenge()) {
        ("invalid_client", _) => HeaderValue::from_str("Basic realm=\"authv2\"").ok(),
        ("invalid_token" | "insufficient_scope", Some(challenge)) => {
            HeaderValue::from_str(&www_authenticate(challenge, error.scheme())).ok()
        }
        _ => None,
    };
    if let Some(challenge) = challenge {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    write_wait(headers, error);
    response
}

/// What OAuth calls an error, and the status that it gives it.
fn name_of(code: Code) -> (StatusCode, &'static str) {
    let bad = StatusCode::BAD_REQUEST;
    match code {
        Code::MalformedRequest | Code::BodyTooLarge | Code::UnsupportedMediaType => (bad, "invalid_request"),
        Code::InvalidRefreshToken | Code::RefreshTokenReused => (bad, "invalid_grant"),
        // RFC 9449 sections 5 and 8: no challenge here, and so no 401.
        Code::InvalidDpopProof | Code::UseDpopNonce => (bad, code.as_str()),
        Code::UnsupportedGrantType | Code::InvalidScope | Code::UnsupportedTokenType | Code::InvalidClient => {
            (code.status(), code.as_str())
        }
        Code::Unauthenticated | Code::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid_token"),
        Code::InsufficientScope => (code.status(), code.as_str()),
        Code::PermissionDenied => (code.status(), "access_denied"),
        _ if code.kind() == ErrorKind::Throttled => (code.status(), "temporarily_unavailable"),
        Code::Unavailable => (code.status(), "temporarily_unavailable"),
        _ if code.status().is_server_error() => (code.status(), "server_error"),
        _ => (code.status(), "invalid_request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_name_that_oauth_knows() {
        const NAMES: [&str; 13] = [
            "invalid_request",
            "invalid_client",
            "invalid_grant",
            "unsupported_grant_type",
            "invalid_scope",
            "unsupported_token_type",
            "invalid_dpop_proof",
            "use_dpop_nonce",
            "invalid_token",
            "insufficient_scope",
            "access_denied",
            "temporarily_unavailable",
            "server_error",
        ];
        for &code in Code::ALL {
            let (status, name) = name_of(code);
            assert!(NAMES.contains(&name), "{code:?}");
            let may_pass = matches!(name, "temporarily_unavailable" | "server_error");
            let is_passing = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            assert_eq!(is_passing, may_pass, "{code:?}");
        }
    }

    #[test]
    fn descriptions_hold_no_character_that_oauth_forbids() {
        let response = refuse(&Error::new(Code::MalformedRequest, "a \"b\" \\ ü\n`c`"));
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body, serde_json::json!({"error": "invalid_request", "error_description": "a b  `c`"}));
    }

    #[test]
    fn an_outage_says_when_to_come_back() {
        let response = refuse(&Error::new(Code::Unavailable, "x"));
        assert_eq!(
            (response.status(), &response.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &HeaderValue::from(1))
        );
    }
}
