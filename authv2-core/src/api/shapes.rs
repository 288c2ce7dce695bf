//! The shapes of requests and responses, as OpenAPI describes them.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::seconds_up;

use crate::{
    authentication::{Credentials, SignedIn},
    clock::Timestamp,
    organization::{Organization, RoleAssignment, Store},
    principal::{Method, Principal},
    session::Session,
    user::User,
};

/// `POST /auth/register`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct RegisterRequest {
    /// The e-mail to sign in with.
    #[schema(format = Email)]
    email: String,
    /// 8 to 256 code points after NFC.
    #[schema(format = Password)]
    password: String,
    display_name: Option<String>,
}

/// An answer that says no more than its status: `{}`.
#[derive(Serialize, ToSchema)]
pub(super) struct Nothing {}

/// `POST /auth/login`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct LoginRequest {
    #[schema(format = Email)]
    email: String,
    #[schema(format = Password)]
    password: String,
    /// The organization to act in: slug or id.
    organization: Option<String>,
    /// The store inside it: slug or id.
    store: Option<String>,
    /// How the session's secret travels.
    transport: Option<TransportChoice>,
}

/// How a session's secret travels.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case", default = "bearer")]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) enum TransportChoice {
    /// Tokens in bodies and headers.
    Bearer,
    /// A cookie that no script can read.
    Cookie,
}

/// `POST /auth/refresh`, `POST /auth/logout`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct RefreshTokenRequest {
    refresh_token: Option<String>,
}

/// `POST /auth/logout-all`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct LogoutAllRequest {
    /// Whether the caller's own session stays. No by default.
    except_current: Option<bool>,
}

/// `PATCH /auth/me`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct UpdateMeRequest {
    /// `null` removes it.
    display_name: Option<String>,
}

/// `DELETE /auth/me`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct DeleteMeRequest {
    #[schema(format = Password)]
    password: String,
}

/// `POST /auth/password/change`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct ChangePasswordRequest {
    #[schema(format = Password)]
    current_password: String,
    #[schema(format = Password)]
    new_password: String,
}

/// A user.
#[derive(Serialize, ToSchema)]
pub(super) struct UserResponse {
    pub(super) user: User,
}

/// What a bearer client signs in to.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenSet {
    access_token: String,
    /// `Bearer`, or `DPoP` where the session is bound to a key.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    refresh_token: String,
    /// Seconds.
    refresh_expires_in: u64,
    session: Session,
    user: User,
}

/// What a bearer client gets that keeps its refresh token.
#[derive(Serialize, ToSchema)]
pub(super) struct AccessToken {
    access_token: String,
    /// `Bearer`, or `DPoP` where the session is bound to a key.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    session: Session,
}

/// What a browser signs in to; the session's secret is in a cookie.
#[derive(Serialize, ToSchema)]
pub(super) struct CookieSession {
    user: User,
    session: Session,
    /// Send it back as `X-CSRF-Token` with unsafe requests.
    csrf_token: String,
}

/// One of them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum SignInResponse {
    Tokens(TokenSet),
    Access(AccessToken),
    Cookie(CookieSession),
}

impl From<&SignedIn> for SignInResponse {
    fn from(signed_in: &SignedIn) -> Self {
        let (user, session) = (signed_in.user.clone(), signed_in.session.clone());
        match &signed_in.credentials {
            Credentials::Tokens { token_type, access_token, expires_in, refresh_token, refresh_expires_in } => {
                Self::Tokens(TokenSet {
                    access_token: access_token.expose().clone(),
                    token_type: token_type.as_str(),
                    expires_in: expires_in.as_secs(),
                    refresh_token: refresh_token.expose().clone(),
                    refresh_expires_in: seconds_up(*refresh_expires_in),
                    session,
                    user,
                })
            }
            Credentials::Access { token_type, access_token, expires_in } => Self::Access(AccessToken {
                access_token: access_token.expose().clone(),
                token_type: token_type.as_str(),
                expires_in: expires_in.as_secs(),
                session,
            }),
            Credentials::Cookie { csrf_token, .. } => {
                Self::Cookie(CookieSession { user, session, csrf_token: csrf_token.expose().clone() })
            }
        }
    }
}

/// `POST /auth/logout-all`.
#[derive(Serialize, ToSchema)]
pub(super) struct RevokedResponse {
    /// How many sessions ended.
    pub(super) revoked: u64,
}

/// How the caller signed in.
#[derive(Serialize, ToSchema)]
pub(super) struct Auth {
    method: Method,
    amr: Vec<String>,
    acr: String,
    #[schema(value_type = String, format = DateTime)]
    auth_time: Timestamp,
}

impl From<&Principal> for Auth {
    fn from(principal: &Principal) -> Self {
        Self {
            method: principal.method(),
            amr: principal.amr().map(str::to_owned).collect(),
            acr: principal.acr().to_owned(),
            auth_time: principal.auth_time(),
        }
    }
}

/// `POST /auth/session/switch`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes a request that is read field by field")]
pub(super) struct SwitchRequest {
    /// The organization to act in: slug or id.
    organization: String,
    /// The store inside it: slug or id.
    store: Option<String>,
}

/// `GET /auth/me`.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    pub(super) user: User,
    pub(super) session: Session,
    /// The organization that the session acts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) organization: Option<Organization>,
    /// The store that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<Store>,
    /// The roles held in the session's tenant; a session in none holds none.
    pub(super) roles: Vec<RoleAssignment>,
    /// The permissions that follow from them; some may hang on conditions.
    pub(super) permissions: Vec<String>,
    pub(super) auth: Auth,
    /// For cookie sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csrf_token: Option<String>,
}

/// `GET /auth/sessions`.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionsResponse {
    pub(super) sessions: Vec<Session>,
}
