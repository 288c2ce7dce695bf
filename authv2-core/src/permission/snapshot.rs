//! The roles of an organization, compiled: immutable, shared, decided on in nanoseconds.
#![allow(unused_variables, dead_code, clippy::unimplemented, clippy::unused_self, reason = "being written")]

use super::{
    explain::Explanation,
    model::Model,
    question::{Decision, Question, Subject},
};
use crate::{clock::Timestamp, store::Assignment};

/// A compiled model.
#[derive(Debug)]
pub struct Snapshot;

/// What a member may do, compiled against one snapshot: meaningless with another one.
#[derive(Debug)]
pub struct Rights;

impl Snapshot {
    /// Compiles a model. A stored condition that does not compile never grants, and always denies.
    #[must_use]
    pub fn compile(model: Model) -> Self {
        unimplemented!()
    }

    /// The model it was compiled from.
    #[must_use]
    pub fn model(&self) -> &Model {
        unimplemented!()
    }

    /// What a member with these roles may do. Roles that are not in the snapshot give nothing.
    #[must_use]
    pub fn rights(&self, assignments: &[Assignment]) -> Rights {
        unimplemented!()
    }

    /// Decides.
    #[must_use]
    pub fn decide(&self, rights: &Rights, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Decision {
        unimplemented!()
    }

    /// Decides, and says why.
    #[must_use]
    pub fn explain(
        &self,
        rights: &Rights,
        question: &Question<'_>,
        subject: &Subject<'_>,
        now: Timestamp,
    ) -> Explanation {
        unimplemented!()
    }
}
