//! Which refresh token came from which.

use std::collections::HashMap;

use super::{Act, Event, Gave, History, Moment, Outcome};

/// All refresh tokens of a history.
pub(super) struct Families<'a> {
    /// By token: each successor that it was answered with.
    successors: HashMap<&'a str, Vec<&'a str>>,
    /// By token: the requests that presented it.
    presented: HashMap<&'a str, Vec<&'a Event>>,
}

impl<'a> Families<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut successors: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut presented: HashMap<&str, Vec<&Event>> = HashMap::new();
        for event in &history.events {
            let Act::Refresh { token, .. } = &event.act else { continue };
            presented.entry(token).or_default().push(event);
            if let Outcome::Answered { gave: Gave::Token(successor), .. } = &event.outcome {
                successors.entry(token).or_default().push(successor);
            }
        }
        Self { successors, presented }
    }

    /// Whether a successor of the token may have been used by then, so that it is good for nothing anymore.
    pub(super) fn is_used_up(&self, token: &str, by: Moment) -> bool {
        let successors = self.successors.get(token).into_iter().flatten();
        successors.flat_map(|successor| self.presented(successor)).any(|event| event.begun <= by)
    }

    /// A successor of the token that is not this one.
    pub(super) fn other_successor(&self, token: &str, successor: &str) -> Option<&'a str> {
        self.successors.get(token).into_iter().flatten().copied().find(|other| *other != successor)
    }

    /// A request that had used the token for certain before then.
    pub(super) fn used_before(&self, token: &str, before: Moment) -> Option<&'a Event> {
        self.presented(token).find(|event| event.is_done() && event.ended < before)
    }

    fn presented(&self, token: &str) -> impl Iterator<Item = &'a Event> {
        self.presented.get(token).into_iter().flatten().copied()
    }
}
