//! What a condition is evaluated on.
#![cfg_attr(not(feature = "cedar"), allow(dead_code, reason = "without conditions nothing looks at the scene"))]

use jiff::tz::TimeZone;

use crate::{
    clock::Timestamp,
    id::{OrgId, StoreId},
    permission::{
        question::{Question, Subject},
        role::ResourceType,
    },
};

/// How deep the caller's JSON is followed: deeper than anybody means, and far from the end of a thread's stack.
pub(super) const DEPTH_MAX: usize = 64;

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
    /// What the organization declared of the resource that the permission speaks of.
    pub(crate) resource_type: Option<&'a ResourceType>,
}

/// A question with all that conditions may know. It borrows, and costs nothing: each condition turns only those
/// attributes into values that it mentions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(super) question: Question<'a>,
    pub(super) subject: Subject<'a>,
    pub(super) place: Place<'a>,
}

impl<'a> Scene<'a> {
    /// The scene of a question.
    pub(crate) fn new(question: &Question<'a>, subject: &Subject<'a>, place: &Place<'a>) -> Self {
        Self { question: *question, subject: *subject, place: *place }
    }
}
