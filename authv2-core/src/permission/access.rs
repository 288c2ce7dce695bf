//! What one member may do in one organization, at hand: a decision on it waits for nothing.
#![allow(unused_variables, dead_code, clippy::unimplemented, clippy::unused_self, reason = "being written")]

use std::sync::Arc;

use super::{
    explain::Explanation,
    question::{Decision, Question, Subject},
    snapshot::{Rights, Snapshot},
};
use crate::{clock::Timestamp, id::MemberId};

/// A member's rights in an organization, as of the moment they were asked for. A cheap clone.
#[derive(Debug, Clone)]
pub struct Access {
    member: MemberId,
    snapshot: Arc<Snapshot>,
    rights: Arc<Rights>,
}

impl Access {
    /// The member.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The organization's roles.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Decides, and counts the decision.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Decision {
        unimplemented!()
    }

    /// Decides, counts, and says why.
    #[must_use]
    pub fn explain(&self, question: &Question<'_>, subject: &Subject<'_>, now: Timestamp) -> Explanation {
        unimplemented!()
    }
}
