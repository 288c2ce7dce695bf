//! What no run may show, whatever broke in it.

use std::{fmt, time::Duration};

use super::{Event, Gave, History, Moment, Outcome, families::Families, roles::Roles, sessions::Sessions};
use crate::history::Act;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Within this, an acknowledged change holds on the other nodes while nothing is wrong. On the node that
    /// acknowledged it, it holds at once.
    pub calm: Duration,
    /// Within this, it holds whatever is wrong (`changes.max_staleness`).
    pub disturbed: Duration,
    /// No request takes longer.
    pub slowest: Duration,
    /// A write that was not answered has been done after this, or never will be.
    pub settled: Duration,
}

/// What was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A good credential was refused, or what was acknowledged is not there: a lost write or an outage told as a denial.
    RefusedLive,
    /// A credential was taken later after its revocation than the bound allows.
    AcceptedRevoked,
    /// A credential was taken again after it had been refused as dead.
    Revived,
    /// One refresh token was given two successors.
    Forked,
    /// A refresh token was taken although its successor had been used.
    TakenAgain,
    /// A check was answered by a role that the member no longer has, or not yet.
    WrongVerdict,
    /// An answer that nothing justifies: a 5xx other than 503 with `Retry-After`, a 429, a 400.
    Unexpected,
    /// A node that was up did not answer.
    NoAnswer,
    /// A request took longer than the time-outs allow.
    TooSlow,
    /// The second try, on another node, failed too.
    RetryFailed,
}

/// One broken rule, and the request that shows it.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// By what.
    pub event: Event,
    /// What else one must know to see it; may be empty.
    pub because: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.event)?;
        if self.because.is_empty() { Ok(()) } else { write!(f, "\n    {}", self.because) }
    }
}

/// Replays a history; what it breaks, in the order of the requests.
#[must_use]
pub fn check(history: &History, bounds: &Bounds) -> Vec<Violation> {
    let judge = Judge {
        history,
        bounds,
        sessions: Sessions::of(history, bounds.settled),
        families: Families::of(history),
        roles: Roles::of(history, bounds.settled),
    };
    let mut violations = Vec::new();
    for event in &history.events {
        let mut found = |rule, because| violations.push(Violation { rule, event: event.clone(), because });
        judge.answer(event, &mut found);
        if event.is_done() {
            judge.acceptance(event, &mut found);
        }
        if event.took() > bounds.slowest {
            found(Rule::TooSlow, String::new());
        }
    }
    violations
}

struct Judge<'a> {
    history: &'a History,
    bounds: &'a Bounds,
    sessions: Sessions<'a>,
    families: Families<'a>,
    roles: Roles<'a>,
}

impl Judge<'_> {
    /// Whether an answer of this kind may be given at all.
    fn answer(&self, event: &Event, found: &mut dyn FnMut(Rule, String)) {
        match &event.outcome {
            Outcome::Lost(_) | Outcome::Answered { status: 503, has_retry_after: true, .. } if event.is_retry => {
                found(Rule::RetryFailed, String::new());
            }
            Outcome::Lost(_) => {
                let was_down = self.history.disturbances.iter().any(|disturbance| {
                    disturbance.node == Some(event.node) && disturbance.overlaps(event.begun, event.ended)
                });
                if !was_down {
                    found(Rule::NoAnswer, String::new());
                }
            }
            Outcome::Answered { status: 200..=299, .. }
            | Outcome::Answered { status: 503, has_retry_after: true, .. } => {}
            Outcome::Answered { status: 401, .. } => {
                if !self.may_be_refused(event) {
                    found(Rule::RefusedLive, String::new());
                }
            }
            Outcome::Answered { status: 404, .. } => match &event.act {
                Act::End { session, .. } if self.sessions.may_have_ended(session, event.ended) => {}
                _ => found(Rule::RefusedLive, String::new()),
            },
            Outcome::Answered { status: 403, .. } => found(Rule::RefusedLive, String::new()),
            Outcome::Answered { .. } => found(Rule::Unexpected, String::new()),
        }
    }

    /// Whether its credential may be dead by the end of the request.
    fn may_be_refused(&self, event: &Event) -> bool {
        let is_dead = event.act.credential().is_some_and(|session| self.sessions.may_have_ended(session, event.ended));
        let is_used_up = match &event.act {
            Act::Refresh { token, .. } => self.families.is_used_up(token, event.ended),
            _ => false,
        };
        is_dead || is_used_up
    }

    /// Whether what was done could be.
    fn acceptance(&self, event: &Event, found: &mut dyn FnMut(Rule, String)) {
        if let Some(session) = event.act.credential() {
            let is_late = |by: &Event| event.begun > by.ended + self.bound(by, event);
            if let Some(end) = self.sessions.ended_by(session).find(|end| is_late(end)) {
                let late = event.begun.saturating_sub(end.ended);
                found(Rule::AcceptedRevoked, format!("{late:.3?} after {end}"));
            }
            if let Some(refusal) = self.sessions.refusals(session).find(|refusal| is_late(refusal)) {
                found(Rule::Revived, format!("refused by {refusal}"));
            }
        }
        match (&event.act, &event.outcome) {
            (Act::Refresh { token, .. }, Outcome::Answered { gave: Gave::Token(successor), .. }) => {
                if let Some(other) = self.families.other_successor(token, successor) {
                    found(Rule::Forked, format!("also {other}"));
                }
                if let Some(use_of) = self.families.used_before(successor, event.begun) {
                    found(Rule::TakenAgain, format!("its successor was used by {use_of}"));
                }
            }
            (Act::Check { member, .. }, Outcome::Answered { gave: Gave::Verdict(verdict), .. }) => {
                if let Err(because) = self.roles.allow(member, *verdict, event, |by| self.bound(by, event)) {
                    found(Rule::WrongVerdict, because);
                }
            }
            _ => {}
        }
    }

    /// How much later than `cause` it may still be unknown to `event`.
    fn bound(&self, cause: &Event, event: &Event) -> Moment {
        // Refreshing asks the database, whatever a node remembers.
        if cause.node == event.node || matches!(event.act, Act::Refresh { .. }) {
            return Duration::ZERO;
        }
        let since = cause.ended.saturating_sub(self.bounds.disturbed);
        if self.history.disturbances.iter().any(|disturbance| disturbance.overlaps(since, event.begun)) {
            self.bounds.disturbed
        } else {
            self.bounds.calm
        }
    }
}
