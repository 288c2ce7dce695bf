//! Who calls, as [`AuthLayer`](crate::AuthLayer) leaves it in a request's extensions.

use authv2_core::{AuthenticationService, Error, Principal, Result, authentication::Requirement};
use http::Request;

/// Who makes this request: a principal, or nobody.
#[derive(Debug, Clone)]
pub struct Caller {
    service: AuthenticationService,
    principal: Option<Principal>,
}

impl Caller {
    pub(crate) fn new(service: AuthenticationService, principal: Option<Principal>) -> Self {
        Self { service, principal }
    }

    /// Whether the very same service has found a principal for this request already.
    pub(crate) fn has_been_found_by<B>(service: &AuthenticationService, request: &Request<B>) -> bool {
        let found: Option<&Self> = request.extensions().get();
        found.is_some_and(|caller| caller.principal.is_some() && caller.service.is_same(service))
    }

    /// The principal; none for an anonymous request.
    #[must_use]
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_ref()
    }

    /// Whether the caller meets a requirement now.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn check(&self, requirement: &Requirement) -> Result<()> {
        requirement.check(self.principal(), self.service.now())
    }
}

/// A refusal that a handler came to by itself, left in the extensions of its response:
/// [`AuthLayer`](crate::AuthLayer) answers with it, in the contract's form and with the request's id, in place of that
/// response.
#[derive(Debug, Clone)]
pub struct Refused(pub Error);
