//! Who holds the role, or may.

use std::collections::HashMap;

use super::{Act, Event, History, Moment};

/// All assignments of a history. Before the first, nobody holds the role.
pub(super) struct Roles<'a> {
    writes: HashMap<&'a str, Vec<Write<'a>>>,
}

struct Write<'a> {
    event: &'a Event,
    holds: bool,
    /// When it was done at the latest.
    done: Moment,
}

impl<'a> Roles<'a> {
    pub(super) fn of(history: &'a History, settled: Moment) -> Self {
        let mut writes: HashMap<&str, Vec<Write<'_>>> = HashMap::new();
        for event in &history.events {
            let Act::Assign { member, holds, .. } = &event.act else { continue };
            if event.is_done() || event.is_unknown() {
                let done = if event.is_done() { event.ended } else { event.begun + settled };
                writes.entry(member).or_default().push(Write { event, holds: *holds, done });
            }
        }
        Self { writes }
    }

    /// Whether some order of the writes explains the verdict; `bound` is how long a write may be unknown to the check.
    pub(super) fn allow(
        &self,
        member: &str,
        verdict: bool,
        check: &Event,
        bound: impl Fn(&Event) -> Moment,
    ) -> Result<(), String> {
        let writes = self.writes.get(member).map(Vec::as_slice).unwrap_or_default();
        // An acknowledged write that began after the other was done, and that the check had to know of.
        let superseded = |done: Option<Moment>| {
            writes.iter().find(|later| {
                later.event.is_done()
                    && done.is_none_or(|done| later.event.begun > done)
                    && later.event.ended + bound(later.event) < check.begun
            })
        };
        let is_explained = writes.iter().any(|write| {
            write.holds == verdict && write.event.begun <= check.ended && superseded(Some(write.done)).is_none()
        });
        match superseded(None) {
            _ if is_explained => Ok(()),
            None if !verdict => Ok(()),
            None => Err("nobody had given it the role".to_owned()),
            Some(write) => Err(format!("known by then: {}", write.event)),
        }
    }
}
