//! Conditions: Cedar expressions, compiled once, evaluated over plain values.
#![allow(unused_variables, dead_code, clippy::unimplemented, clippy::unused_self, reason = "being written")]

use jiff::tz::TimeZone;

use super::{
    question::{Question, Subject},
    role::ResourceType,
};
use crate::{
    clock::Timestamp,
    id::{OrgId, StoreId},
};

/// The longest condition, in bytes.
pub const CONDITION_MAX: usize = 4096;

/// A compiled condition. A cheap clone.
#[derive(Debug, Clone)]
pub struct Condition;

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConditionError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// What became of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is true.
    Yes,
    /// It is false.
    No,
    /// It could not be evaluated: why.
    Failed(String),
}

/// Everything about a decision that conditions see and the question does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The organization.
    pub(crate) organization: OrgId,
    /// The store it is decided at.
    pub(crate) store: Option<StoreId>,
    /// The names of the roles assigned to the subject that reach there.
    pub(crate) roles: &'a [&'a str],
    /// The organization's time zone.
    pub(crate) time_zone: &'a TimeZone,
    /// The moment.
    pub(crate) now: Timestamp,
}

/// A question in the form that conditions are evaluated on: made once a decision, and only where there is a condition.
#[derive(Debug)]
pub(crate) struct Scene;

impl Scene {
    /// Turns the question into plain values.
    pub(crate) fn new(question: &Question<'_>, subject: &Subject<'_>, place: &Place<'_>) -> Self {
        unimplemented!()
    }
}

impl Condition {
    /// Compiles `text`, which must be one expression.
    ///
    /// # Errors
    /// [`ConditionError`] with the place where it stops making sense.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        unimplemented!()
    }

    /// Checks the expression against the declared type of the resource it will be asked about.
    ///
    /// # Errors
    /// [`ConditionError`] where it contradicts the declaration.
    pub fn check(&self, resource: &ResourceType) -> Result<(), ConditionError> {
        unimplemented!()
    }

    /// The text it was made of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        unimplemented!()
    }

    pub(crate) fn holds(&self, scene: &Scene) -> Held {
        unimplemented!()
    }
}
