//! Extractors for who calls. They read what [`auth_layer`](crate::auth_layer) left; each has an optional form
//! (`Option<CurrentUser>`) for routes that anonymous callers may use.

use std::marker::PhantomData;

use authv2_core::{
    Error,
    api::problem_response,
    authentication::{RequestId, Requirement},
    permission::NamedPermission,
    session::Session,
    user::User,
};
use authv2_tower::{Caller, Refused};
use axum::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, request::Parts};

/// The principal of this request.
#[derive(Debug, Clone)]
pub struct Principal(pub authv2_core::Principal);

/// The user who calls. Whoever an issuer elsewhere vouches for is none of this deployment: 403 for it.
#[derive(Debug, Clone)]
pub struct CurrentUser(pub User);

/// The session of the caller: 403 for one who did not sign in here.
#[derive(Debug, Clone)]
pub struct CurrentSession(pub Session);

/// The principal of this request, who has the permission that `P` stands for in the tenant of its credential: others
/// get the contract's 401 or 403.
///
/// ```
/// use authv2_axum::Require;
/// use authv2_core::permission;
///
/// permission!(ReadOrders = "orders:read");
///
/// async fn orders(Require(principal, _): Require<ReadOrders>) -> String {
///     format!("the orders of {:?}", principal.tenant())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Require<P>(pub authv2_core::Principal, pub PhantomData<P>);

/// The contract's answer to a caller that an extractor, or a handler after it, refuses.
#[derive(Debug)]
pub struct Rejection {
    error: Error,
    /// Unknown where a handler made it; the layer knows it.
    id: Option<RequestId>,
}

impl Rejection {
    fn new(error: Error, parts: &Parts) -> Self {
        let id = parts.extensions.get::<RequestId>().cloned();
        Self { error, id: Some(id.unwrap_or_else(|| RequestId::of(&parts.headers))) }
    }

    /// Why.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }
}

/// For handlers that ask the principal themselves: `principal.check(..).require()?`.
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self { error, id: None }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match &self.id {
            Some(id) => problem_response(&self.error, id).map(Body::from),
            None => {
                let id = RequestId::of(&HeaderMap::new());
                let mut response = problem_response(&self.error, &id).map(Body::from);
                response.extensions_mut().insert(Refused(self.error));
                response
            }
        }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

fn caller(parts: &Parts) -> Result<&Caller, Rejection> {
    parts.extensions.get::<Caller>().ok_or_else(|| {
        Rejection::new(Error::missing_layer("an authv2 extractor stands outside of any auth_layer"), parts)
    })
}

fn required(parts: &Parts) -> Result<&authv2_core::Principal, Rejection> {
    let caller = caller(parts)?;
    caller.check(&Requirement::SignedIn).map_err(|error| Rejection::new(error, parts))?;
    // The check has just found one.
    caller.principal().ok_or_else(|| Rejection::new(Error::missing_layer("a caller without principal"), parts))
}

macro_rules! extractor {
    ($name:ident, $principal:ident => $value:expr) => {
        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Rejection;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
                let $principal = required(parts)?;
                $value.map(Self).ok_or_else(|| Rejection::new(Error::not_signed_in_here(), parts))
            }
        }

        impl<S: Send + Sync> OptionalFromRequestParts<S> for $name {
            type Rejection = Rejection;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
                caller(parts).map(|caller| caller.principal().and_then(|$principal| $value.map(Self)))
            }
        }
    };
}

impl<S: Send + Sync, P: NamedPermission> FromRequestParts<S> for Require<P> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let principal = required(parts)?;
        match principal.check(P::PERMISSION).require() {
            Ok(()) => Ok(Self(principal.clone(), PhantomData)),
            Err(error) => Err(Rejection::new(error, parts)),
        }
    }
}

extractor!(Principal, principal => Some(principal.clone()));
extractor!(CurrentUser, principal => principal.user());
extractor!(CurrentSession, principal => principal.session());
