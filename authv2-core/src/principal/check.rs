//! A question about a principal, asked step by step.

use serde_json::{Map, Value};

use super::Principal;
use crate::{
    error::{Challenge, Code, Error, Result},
    id::StoreId,
    permission::{Access, Decision, Explanation, ModelError, Permission, Question, RoleDefinition, StepUp},
};

/// May this principal do that? Begun by [`Principal::check`].
#[derive(Debug, Clone)]
#[must_use = "a question decides nothing until it is asked"]
pub struct Check<'a> {
    principal: &'a Principal,
    permission: Permission,
    store: Option<StoreId>,
    resource: Option<Map<String, Value>>,
    context: Option<Map<String, Value>>,
}

impl<'a> Check<'a> {
    pub(super) fn new(principal: &'a Principal, permission: Permission) -> Self {
        let store = principal.tenant().and_then(|tenant| tenant.store);
        Self { principal, permission, store, resource: None, context: None }
    }

    /// Asks about a store of the organization. A credential bound to another store may do nothing there.
    pub fn at(mut self, store: StoreId) -> Self {
        self.store = Some(store);
        self
    }

    /// Tells what it is to be done to: an object, whose members conditions see as `resource`. Anything else counts as
    /// an object without members, where conditions on them fail.
    pub fn resource(mut self, attributes: Value) -> Self {
        self.resource = Some(object(attributes));
        self
    }

    /// Tells more about the circumstances: an object, whose members conditions see as `context`.
    pub fn context(mut self, attributes: Value) -> Self {
        self.context = Some(object(attributes));
        self
    }

    /// The answer.
    #[must_use]
    pub fn decide(&self) -> Decision {
        match self.here() {
            Some(access) => access.decide(&self.question(), &self.principal.subject(), self.principal.now()),
            None => Decision::Denied,
        }
    }

    /// The answer for somebody who only wants to know: a no is held against nobody.
    #[must_use]
    pub(crate) fn advise(&self) -> Decision {
        match self.here() {
            Some(access) => access.advise(&self.question(), &self.principal.subject(), self.principal.now()),
            None => Decision::Denied,
        }
    }

    /// The answer, and why.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        match self.here() {
            Some(access) => access.explain(&self.question(), &self.principal.subject(), self.principal.now()),
            None => Explanation::nothing(),
        }
    }

    /// The answer, and why, if these roles were written, each in place of the one of its name. Nothing is written.
    ///
    /// # Errors
    /// [`ModelError`] if they do not fit together.
    pub fn what_if(&self, proposed: &[RoleDefinition]) -> Result<Explanation, ModelError> {
        match self.here() {
            Some(access) => {
                let then = access.what_if(proposed)?;
                Ok(then.explain(&self.question(), &self.principal.subject(), self.principal.now()))
            }
            None => Ok(Explanation::nothing()),
        }
    }

    /// Whether it may.
    #[must_use]
    pub fn allowed(&self) -> bool {
        self.decide().is_allowed()
    }

    /// Goes on only if it may.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`], [`Code::InsufficientScope`] where its credential has scopes that do not cover it, or
    /// [`Code::StepUpRequired`] where a fresher or stronger sign-in would do.
    pub fn require(&self) -> Result<()> {
        self.principal.refuse(&self.permission, self.decide())
    }

    /// What the principal may do, where the question is about a place that its credential reaches.
    fn here(&self) -> Option<&'a Access> {
        let bound_to = self.principal.tenant()?.store;
        if bound_to.is_some() && bound_to != self.store {
            return None;
        }
        self.principal.access()
    }

    fn question(&self) -> Question<'_> {
        Question {
            permission: &self.permission,
            store: self.store,
            resource: self.resource.as_ref(),
            action: None,
            context: self.context.as_ref(),
        }
    }
}

/// Turns anything but a yes into the error that says so.
pub(crate) fn refuse(decision: Decision) -> Result<()> {
    match decision {
        Decision::Allowed => Ok(()),
        Decision::Denied => Err(Error::new(Code::PermissionDenied, "a permission is missing")),
        Decision::StepUp(StepUp { max_age, acr }) => {
            let challenge = Challenge::InsufficientAuthentication { max_age, acr_values: acr };
            Err(Error::new(Code::StepUpRequired, "sign in again, or with a second factor").with_challenge(challenge))
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
