//! Permissions: roles, conditions and decisions.

mod access;
mod analytics;
mod cache;
mod condition;
mod definition;
mod explain;
mod followed;
mod impact;
mod model;
mod name;
mod named_roles;
mod question;
mod revision;
mod rights;
mod role;
mod scope;
mod service;
mod snapshot;
mod sum;
mod tally;

pub use self::{
    access::{Access, WhatIf},
    analytics::{Analytics, Denied, StaleMember, UnusedGrant},
    condition::{CONDITION_MAX, Condition, ConditionError},
    definition::{Effect, Grant, RoleDefinition, StepUp},
    explain::{Explanation, Needed, Outcome, Reason, Trial},
    impact::{Impact, Shift, impact},
    model::{Model, ModelError},
    name::{InvalidName, NamedPermission, Pattern, Permission, is_name},
    named_roles::NamedRoles,
    question::{Decision, Question, SessionFacts, Subject},
    rights::{Author, KeyRights, Refusal, has_owner, is_owner, judge_assignment, judge_key, judge_role},
    role::{ADMIN, AttributeType, MEMBER, OWNER, ResourceType, Role, builtin_roles},
    service::{CatchUpError, PermissionService},
    snapshot::{Rights, Snapshot},
};
pub(crate) use self::{scope::Scope, snapshot::is_at_least, tally::Probe};
