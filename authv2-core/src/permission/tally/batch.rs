//! Statistics on their way to the store, in writes of a bounded size.

use super::{Pending, Tally};
use crate::store::{MemberUse, StoreError, Usage, UsageStore};

/// The most rows of each kind in one write: it must not keep other writers waiting.
const ROWS: usize = 100;

/// What was taken from a tally. What is left of it when it goes, after a failure or because nobody waits any more,
/// goes back.
#[derive(Debug)]
pub(in crate::permission) struct Batch<'a> {
    tally: &'a Tally,
    left: Pending,
}

impl<'a> Batch<'a> {
    pub(super) fn new(tally: &'a Tally, left: Pending) -> Self {
        Self { tally, left }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The store's; what was not written is then back in the tally.
    pub(in crate::permission) async fn write<S: UsageStore + ?Sized>(mut self, store: &S) -> Result<(), StoreError> {
        while !self.left.is_empty() {
            let part = self.left.split_off(ROWS);
            let decisions = part.decisions.iter().map(|((label, day), count)| label.row(*day, *count)).collect();
            let members = part.members.iter().map(|(&(organization, member), &used_at)| MemberUse {
                organization,
                member,
                used_at,
            });
            let usage = Usage { decisions, members: members.collect() };
            if let Err(error) = store.add_usage(usage, part.denials.clone()).await {
                self.tally.put_back(part);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.left.is_empty() {
            self.tally.put_back(std::mem::take(&mut self.left));
        }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.members.is_empty() && self.denials.is_empty()
    }

    /// Takes at most so many rows of each kind.
    fn split_off(&mut self, rows: usize) -> Self {
        let decisions: Vec<_> = self.decisions.keys().take(rows).cloned().collect();
        let members: Vec<_> = self.members.keys().take(rows).copied().collect();
        let denials = self.denials.len().min(rows);
        Self {
            decisions: decisions.into_iter().filter_map(|key| self.decisions.remove_entry(&key)).collect(),
            members: members.into_iter().filter_map(|key| self.members.remove_entry(&key)).collect(),
            denials: self.denials.drain(..denials).collect(),
        }
    }
}

#[cfg(test)]
impl Batch<'_> {
    pub(super) fn take_all(&mut self) -> Pending {
        std::mem::take(&mut self.left)
    }
}
