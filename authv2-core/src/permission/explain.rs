//! Why a decision came out as it did.

use serde::Serialize;

use super::{
    definition::{Effect, StepUp},
    name::Pattern,
    question::Decision,
};

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The grant that decided; none where nothing speaks of the permission, or nothing that does holds.
    pub reason: Option<Reason>,
    /// The conditions that were tried, in order.
    pub tried: Vec<Trial>,
    /// For anything but a yes: the grants of this organization that would allow it, by the roles that bring them; at
    /// most a few.
    pub needed: Vec<Needed>,
}

impl Explanation {
    /// A no for want of any rights.
    #[must_use]
    pub(crate) fn nothing() -> Self {
        Self { decision: Decision::Denied, reason: None, tried: Vec::new(), needed: Vec::new() }
    }
}

/// The grant that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Reason {
    /// Whether it gives or takes.
    pub effect: Effect,
    /// The role whose grant it is.
    pub role: String,
    /// The path to that role from the one assigned, both ends included.
    pub via: Vec<String>,
    /// What the grant speaks of.
    #[schema(value_type = String)]
    pub grant: Pattern,
    /// Its condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

/// A grant with a condition, or a wish for a better sign-in, that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Trial {
    /// The grant.
    #[serde(flatten)]
    pub grant: Reason,
    /// How it went.
    pub outcome: Outcome,
}

/// How trying a grant went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its condition is true.
    Held,
    /// Its condition is false.
    DidNotHold,
    /// Its condition could not be evaluated: why.
    Failed(String),
    /// It wants a fresher or stronger sign-in.
    StepUp(StepUp),
}

/// What would allow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Needed {
    /// The role to hold, or to change.
    pub role: String,
    /// The grant in it.
    #[schema(value_type = String)]
    pub grant: Pattern,
    /// Its condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The sign-in it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
}
