//! Without the feature `cedar` there are no conditions: a stored one does not compile, so it never grants and always
//! denies.

use std::convert::Infallible;

use super::{ConditionError, Held, Scene};
use crate::permission::role::ResourceType;

/// A compiled condition; without the feature `cedar` there is none.
#[derive(Debug, Clone)]
pub struct Condition(Infallible);

impl Condition {
    /// Refuses: the feature `cedar` is not compiled in.
    ///
    /// # Errors
    /// [`ConditionError`], always.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        Err(ConditionError::at(text, 0, "conditions need the feature `cedar`, which is not compiled in"))
    }

    /// Checks the expression against the declared type of the resource it will be asked about.
    ///
    /// # Errors
    /// None: there is no condition to check.
    pub fn check(&self, _resource: &ResourceType) -> Result<(), ConditionError> {
        match self.0 {}
    }

    /// The text it was made of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self.0 {}
    }

    pub(crate) fn holds(&self, _scene: &Scene<'_>) -> Held {
        match self.0 {}
    }
}
