//! The one error of the public services, its stable codes, and the one table from code to HTTP status.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use http::StatusCode;
use serde::Serialize;

use crate::{
    mfa::SECOND_FACTOR,
    secret::{NoRandomness, Secret},
    store::StoreError,
};

/// What kind of refusal or failure this is: what a caller of the library branches on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is malformed.
    Malformed,
    /// No credential, or none that is good (anymore).
    Unauthenticated,
    /// The caller is known and may not do this.
    Forbidden,
    /// It does not exist, or not for this caller.
    NotFound,
    /// It collides with what is there.
    Conflict,
    /// Well-formed, yet a value is not acceptable.
    Invalid,
    /// Too many attempts: come back later.
    Throttled,
    /// A part that this request cannot do without is down or full. Never a statement about the caller.
    Unavailable,
    /// A defect here.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $kind:ident, $title:literal;)+) => {
        /// The stable code of an error: what API clients switch on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code as it stands in a response.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// The kind it belongs to.
            #[must_use]
            pub const fn kind(self) -> ErrorKind {
                match self { $(Self::$name => ErrorKind::$kind,)+ }
            }

            /// A short summary for people (RFC 9457 `title`), the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// The request cannot be read.
    MalformedRequest = "malformed_request", BAD_REQUEST, Malformed, "The request is malformed";
    /// The OAuth grant is not given here.
    UnsupportedGrantType = "unsupported_grant_type", BAD_REQUEST, Malformed, "The grant type is not supported";
    /// The OAuth scope asked for is more than was granted.
    InvalidScope = "invalid_scope", BAD_REQUEST, Malformed, "The scope is not valid";
    /// What was sent to be revoked is of a kind that is not revoked here.
    UnsupportedTokenType = "unsupported_token_type", BAD_REQUEST, Malformed, "The type of token is not supported";
    /// More than one explicit credential.
    AmbiguousCredentials = "ambiguous_credentials", BAD_REQUEST, Malformed, "More than one credential was sent";
    /// A credential is required and none was sent.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, Unauthenticated, "Authentication is required";
    /// The access token is malformed, expired, revoked or not ours.
    InvalidToken = "invalid_token", UNAUTHORIZED, Unauthenticated, "The token is not valid";
    /// The proof of possession (RFC 9449) is missing where one must be, or no good for this request.
    InvalidDpopProof = "invalid_dpop_proof", UNAUTHORIZED, Unauthenticated, "The proof of possession is not valid";
    /// The proof of possession must carry the nonce of the header `DPoP-Nonce`.
    UseDpopNonce = "use_dpop_nonce", UNAUTHORIZED, Unauthenticated, "The proof of possession needs a nonce";
    /// E-mail and password do not belong together.
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, Unauthenticated, "The e-mail or the password is wrong";
    /// The code of a second factor is wrong, or was used before.
    InvalidCode = "invalid_code", UNAUTHORIZED, Unauthenticated, "The code is not valid";
    /// The refresh token is unknown, expired, superseded or revoked.
    InvalidRefreshToken = "invalid_refresh_token", UNAUTHORIZED, Unauthenticated, "The refresh token is not valid";
    /// The OAuth client is not known, or its credentials are not good.
    InvalidClient = "invalid_client", UNAUTHORIZED, Unauthenticated, "The client is not valid";
    /// A used refresh token came back: its session was revoked.
    RefreshTokenReused = "refresh_token_reused", UNAUTHORIZED, Unauthenticated, "The refresh token was used before";
    /// A fresher or stronger sign-in is wanted (RFC 9470).
    StepUpRequired = "step_up_required", UNAUTHORIZED, Unauthenticated, "A fresher or stronger sign-in is required";
    /// The cross-site request forgery check failed.
    CsrfFailed = "csrf_failed", FORBIDDEN, Forbidden, "The request may have been forged by another site";
    /// The e-mail must be verified before it can be signed in with.
    EmailUnverified = "email_unverified", FORBIDDEN, Forbidden, "The e-mail is not verified";
    /// The password asked again is wrong.
    WrongPassword = "wrong_password", FORBIDDEN, Forbidden, "The password is wrong";
    /// The first factor was right: the second is wanted.
    MfaRequired = "mfa_required", FORBIDDEN, Forbidden, "A second factor is required";
    /// The organization wants a second factor, and the user has none.
    MfaEnrollmentRequired = "mfa_enrollment_required", FORBIDDEN, Forbidden, "A second factor must be enrolled first";
    /// The caller does not belong to the organization it named.
    NotAMember = "not_a_member", FORBIDDEN, Forbidden, "Not a member of this organization";
    /// The caller may not do this.
    PermissionDenied = "permission_denied", FORBIDDEN, Forbidden, "Not allowed";
    /// The credential's scopes do not cover this (RFC 6750 section 3.1).
    InsufficientScope = "insufficient_scope", FORBIDDEN, Forbidden, "The credential's scopes do not cover this";
    /// The caller would hand out, or free, rights that it does not hold itself.
    PrivilegeEscalation = "privilege_escalation", FORBIDDEN, Forbidden, "Nobody hands out what it does not hold";
    /// Nothing is here, or not for this caller.
    NotFound = "not_found", NOT_FOUND, NotFound, "Not found";
    /// There is no account like this to make a member.
    UserNotFound = "user_not_found", NOT_FOUND, NotFound, "There is no such user";
    /// The path exists, with other methods.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, Malformed, "The method is not allowed here";
    /// An account with this e-mail exists.
    EmailTaken = "email_taken", CONFLICT, Conflict, "The e-mail is taken";
    /// An organization or a store with this slug exists.
    SlugTaken = "slug_taken", CONFLICT, Conflict, "The slug is taken";
    /// The user belongs to the organization already.
    AlreadyAMember = "already_a_member", CONFLICT, Conflict, "Already a member";
    /// The organization would have nobody left who may do everything in it.
    LastOwner = "last_owner", CONFLICT, Conflict, "An organization needs an owner";
    /// The role would inherit from itself.
    RoleCycle = "role_cycle", CONFLICT, Conflict, "The role would inherit from itself";
    /// Members hold the role, or other roles inherit it.
    RoleInUse = "role_in_use", CONFLICT, Conflict, "The role is in use";
    /// The role comes with the organization and cannot be changed.
    RoleIsBuiltin = "role_is_builtin", CONFLICT, Conflict, "The role is built in";
    /// A second factor is enrolled already.
    MfaAlreadyEnabled = "mfa_already_enabled", CONFLICT, Conflict, "A second factor is enrolled already";
    /// The user has as many sessions as allowed.
    TooManySessions = "too_many_sessions", CONFLICT, Conflict, "Too many sessions";
    /// The organization has as many API keys as allowed.
    TooManyApiKeys = "too_many_api_keys", CONFLICT, Conflict, "Too many API keys";
    /// The request believes to be in another organization than its session is.
    WrongOrganization = "wrong_organization", CONFLICT, Conflict, "The session is in another organization";
    /// Somebody else changed it meanwhile.
    VersionConflict = "version_conflict", CONFLICT, Conflict, "It was changed meanwhile";
    /// The body is over the limit.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, Malformed, "The body is too large";
    /// The body is not declared as JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, Malformed, "The body must be JSON";
    /// Fields are missing, unknown or not acceptable.
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, Invalid, "Some fields are not acceptable";
    /// Too many failed attempts.
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, Throttled, "Too many attempts";
    /// Too many requests in too short a time.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, Throttled, "Too many requests";
    /// The API key has used up its quota.
    QuotaExceeded = "quota_exceeded", TOO_MANY_REQUESTS, Throttled, "The quota of the key is used up";
    /// Shedding load, or a dependency is down.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, Unavailable, "Temporarily unavailable";
    /// A defect.
    Internal = "internal", INTERNAL_SERVER_ERROR, Internal, "Internal error";
}

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// The field's name as sent; empty for the body as a whole.
    pub field: String,
    /// Stable, snake_case: `required`, `unknown_field`, `invalid_type`, `too_short`, …
    pub code: &'static str,
    /// For people.
    pub message: Cow<'static, str>,
}

impl FieldError {
    /// A refused field.
    #[must_use]
    pub fn new(field: impl Into<String>, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), code, message: message.into() }
    }
}

/// What a 401 or 403 asks of the client, as `WWW-Authenticate` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// No credential was presented: the bare scheme (RFC 6750 section 3.1).
    Bare,
    /// A token was presented and refused.
    InvalidToken,
    /// The request presents its credentials in a way that cannot be judged.
    InvalidRequest,
    /// The sign-in is too old or too weak (RFC 9470).
    InsufficientAuthentication {
        /// The sign-in may be at most this many seconds old.
        max_age: Option<u64>,
        /// The `acr` wanted.
        acr_values: Option<String>,
    },
    /// The credential may do less than this takes (RFC 6750 section 3.1).
    InsufficientScope {
        /// The permission wanted.
        scope: String,
    },
    /// The proof of possession is missing or no good (RFC 9449 section 7.1).
    InvalidDpopProof,
    /// The proof of possession must carry the server's nonce (RFC 9449 sections 8 and 9).
    UseDpopNonce {
        /// The nonce, for the header `DPoP-Nonce`.
        nonce: String,
    },
}

/// The authentication schemes that a challenge names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Bearer` (RFC 6750).
    Bearer,
    /// `DPoP` (RFC 9449).
    Dpop,
    /// A token came as `Bearer` and is wanted as `DPoP`.
    DpopInstead,
}

/// The limit that a throttled request ran into, as the `RateLimit-Policy` field says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RatePolicy {
    /// The policy's name.
    pub name: &'static str,
    /// How much it allows in a window.
    pub quota: u64,
    /// The window.
    pub window: Duration,
}

/// With what a second factor is shown, once the first was right.
#[derive(Debug, Clone)]
pub struct MfaChallenge {
    /// What names the sign-in that waits: for its client alone.
    pub token: Secret,
    /// With what it may go on: `totp`, `recovery_code`.
    pub methods: Vec<&'static str>,
}

/// Why a request was refused or failed. Opaque: look at [`Error::kind`] and [`Error::code`].
///
/// Its `Display` is safe to show to the caller; its [`source`](std::error::Error::source) is for logs only.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: Code,
    detail: Cow<'static, str>,
    fields: Vec<FieldError>,
    retry_after: Option<Duration>,
    challenge: Option<Challenge>,
    scheme: Scheme,
    policy: Option<RatePolicy>,
    mfa: Option<MfaChallenge>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A refusal or failure of this code. For the services, and for applications that answer in the contract's form:
    /// `detail` is shown to the caller, so it holds no secret and no hint whether an account exists.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = matches!(code, Code::Unavailable).then_some(Duration::from_secs(1));
        let challenge = match code {
            Code::Unauthenticated => Some(Challenge::Bare),
            Code::InvalidToken => Some(Challenge::InvalidToken),
            Code::InvalidDpopProof => Some(Challenge::InvalidDpopProof),
            Code::AmbiguousCredentials => Some(Challenge::InvalidRequest),
            _ if code.status() == StatusCode::UNAUTHORIZED => Some(Challenge::Bare),
            _ => None,
        };
        let scheme = match code {
            Code::InvalidDpopProof | Code::UseDpopNonce => Scheme::Dpop,
            _ => Scheme::Bearer,
        };
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            fields: Vec::new(),
            retry_after,
            challenge,
            scheme,
            policy: None,
            mfa: None,
            source: None,
        }))
    }

    /// A refusal of these fields, all at once.
    #[must_use]
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let mut error = Self::new(Code::ValidationFailed, "see `errors` for each field");
        error.0.fields = fields;
        error
    }

    pub(crate) fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Unavailable, "try again in a moment").with_source(source)
    }

    pub(crate) fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, "the request could not be completed").with_source(source)
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    pub(crate) fn with_policy(mut self, policy: RatePolicy) -> Self {
        self.0.policy = Some(policy);
        self
    }

    pub(crate) fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// The proof of possession must carry `nonce`.
    pub(crate) fn use_dpop_nonce(nonce: String) -> Self {
        Self::new(Code::UseDpopNonce, "send a proof with the nonce of the header `DPoP-Nonce`")
            .with_challenge(Challenge::UseDpopNonce { nonce })
    }

    pub(crate) fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.0.scheme = scheme;
        self
    }

    /// The first factor was right: with what the second one is shown.
    pub(crate) fn mfa_required(challenge: MfaChallenge) -> Self {
        let mut error = Self::new(Code::MfaRequired, "send a code with the `mfa_token` to `/auth/mfa/verify`");
        error.0.mfa = Some(challenge);
        error
    }

    /// A sign-in with a second factor is wanted.
    pub(crate) fn second_factor_wanted() -> Self {
        let challenge =
            Challenge::InsufficientAuthentication { max_age: None, acr_values: Some(SECOND_FACTOR.to_owned()) };
        Self::new(Code::StepUpRequired, "show a second factor").with_challenge(challenge)
    }

    /// The credential's scopes do not cover this permission.
    pub(crate) fn insufficient_scope(permission: &str) -> Self {
        Self::new(Code::InsufficientScope, "the scopes of the credential do not cover it")
            .with_challenge(Challenge::InsufficientScope { scope: permission.to_owned() })
    }

    /// For adapters: a part of the application stands in the wrong place, so that nothing can be judged. The log says
    /// what; the caller learns nothing.
    #[must_use]
    pub fn missing_layer(what: &'static str) -> Self {
        tracing::error!("{what}: every request is refused");
        Self::new(Code::Internal, "the request could not be completed")
    }

    /// For adapters: a caller whom an issuer elsewhere vouches for asks for what only users of this deployment have.
    #[must_use]
    pub fn not_signed_in_here() -> Self {
        Self::new(Code::PermissionDenied, "this is for those who signed in here")
    }

    /// The kind: what to branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind()
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// A sentence for the caller about this occurrence; never a secret, nor a hint whether an account exists.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The refused fields, for [`Code::ValidationFailed`].
    #[must_use]
    pub fn fields(&self) -> &[FieldError] {
        &self.0.fields
    }

    /// How long to wait before trying again, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The limit it ran into, for [`ErrorKind::Throttled`].
    #[must_use]
    pub fn policy(&self) -> Option<RatePolicy> {
        self.0.policy
    }

    /// With what the second factor is shown, for [`Code::MfaRequired`].
    #[must_use]
    pub fn mfa(&self) -> Option<&MfaChallenge> {
        self.0.mfa.as_ref()
    }

    /// The challenge that belongs into `WWW-Authenticate`.
    #[must_use]
    pub fn challenge(&self) -> Option<&Challenge> {
        self.0.challenge.as_ref()
    }

    /// The scheme of that challenge.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { code, detail, fields, retry_after, challenge, scheme, policy, mfa, source } = &*self.0;
        f.debug_struct("Error")
            .field("code", code)
            .field("detail", detail)
            .field("fields", fields)
            .field("retry_after", retry_after)
            .field("challenge", challenge)
            .field("scheme", scheme)
            .field("policy", policy)
            .field("mfa", mfa)
            .field("source", source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// An outage stays an outage: a store that cannot answer is 503, never a denial.
impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(_) | StoreError::Corrupt(_) => Self::internal(error),
            StoreError::Unavailable(_) => Self::unavailable(error),
        }
    }
}

impl From<NoRandomness> for Error {
    fn from(error: NoRandomness) -> Self {
        Self::unavailable(error)
    }
}

/// A result of the public services.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_snake_case_and_have_error_statuses() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn an_outage_is_503_with_retry_after() {
        let error = Error::from(StoreError::unavailable("down"));
        assert_eq!(error.code().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(error.retry_after().is_some());
    }
}
