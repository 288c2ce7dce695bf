//! What clients asked of several nodes, and what each of them was answered: the evidence that [`check`] judges.

mod check;
mod families;
mod roles;
mod sessions;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, time::Duration};

pub use self::check::{Bounds, Rule, Violation, check};

/// How long after the begin of the run, by the one monotonic clock of the process that records.
pub type Moment = Duration;

/// A run: every request in it, and what was done to the nodes and their servers meanwhile.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In the order of their ends.
    pub events: Vec<Event>,
    /// In no order.
    pub disturbances: Vec<Disturbance>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Event {
    /// Just before it was sent.
    pub begun: Moment,
    /// When its answer was read, or given up.
    pub ended: Moment,
    /// To which node.
    pub node: usize,
    /// Whether it is the second try of a request that another node did not serve.
    pub is_retry: bool,
    /// What was asked.
    pub act: Act,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is asked of a node. Sessions are named by their id, refresh tokens by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A sign-in with the right password.
    SignIn {
        /// Whose.
        user: String,
    },
    /// A request that needs a good credential, and nothing else.
    Use {
        /// Whose credential.
        session: String,
    },
    /// A refresh token is traded for its successor.
    Refresh {
        /// Whose it is.
        session: String,
        /// The token presented.
        token: String,
    },
    /// A session is ended.
    End {
        /// Which.
        session: String,
        /// By whose credential.
        by: String,
    },
    /// All sessions of a user are ended.
    EndAll {
        /// Whose.
        user: String,
        /// By whose credential.
        by: String,
        /// Whether that one goes on.
        keeps_own: bool,
    },
    /// A member is given the role, or loses it.
    Assign {
        /// Who.
        member: String,
        /// Whether it holds the role afterwards.
        holds: bool,
        /// By whose credential.
        by: String,
    },
    /// A member asks whether it may do what the role allows.
    Check {
        /// Who.
        member: String,
        /// By which of its sessions.
        by: String,
    },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came.
    Answered {
        /// Its status code.
        status: u16,
        /// The code of its problem; empty where it is none.
        code: String,
        /// Whether it says when to try again.
        has_retry_after: bool,
        /// What it gave.
        gave: Gave,
    },
    /// No answer came: it may have been done, or may still be done.
    Lost(String),
}

/// What an answer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gave {
    /// Nothing that matters here.
    Nothing,
    /// A session.
    Session(String),
    /// A refresh token.
    Token(String),
    /// Yes or no.
    Verdict(bool),
}

/// Something was done to the deployment.
#[derive(Debug, Clone)]
pub struct Disturbance {
    /// From when.
    pub begun: Moment,
    /// Until when.
    pub ended: Moment,
    /// What, for messages.
    pub what: String,
    /// The node that was down, whose answers may be lost; none where a server behind all of them suffered.
    pub node: Option<usize>,
}

impl Act {
    /// The session whose access token or cookie is presented.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        match self {
            Self::SignIn { .. } => None,
            Self::Use { session } | Self::Refresh { session, .. } => Some(session),
            Self::End { by, .. } | Self::EndAll { by, .. } | Self::Assign { by, .. } | Self::Check { by, .. } => {
                Some(by)
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::SignIn { .. } => "sign in",
            Self::Use { .. } => "use",
            Self::Refresh { .. } => "refresh",
            Self::End { .. } => "end",
            Self::EndAll { .. } => "end all",
            Self::Assign { .. } => "assign",
            Self::Check { .. } => "check",
        }
    }
}

impl Event {
    /// Whether it was done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Answered { status: 200..=299, .. })
    }

    /// Whether it may have been done although nobody said so: a write whose commit was not heard of.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Lost(_) | Outcome::Answered { status: 500..=599, .. })
    }

    fn took(&self) -> Duration {
        self.ended.saturating_sub(self.begun)
    }
}

impl Disturbance {
    fn overlaps(&self, from: Moment, to: Moment) -> bool {
        self.begun <= to && self.ended >= from
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun, ended, node, act, outcome, is_retry } = self;
        let again = if *is_retry { ", again" } else { "" };
        write!(f, "[{begun:.3?} to {ended:.3?}, node {node}{again}] {act:?}: {outcome:?}")
    }
}

/// A table: of each kind of request how many were done, refused, put off (503) and lost, and the slowest.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: BTreeMap<&str, ([usize; 4], Duration)> = BTreeMap::new();
        for event in &self.events {
            let ([done, refused, put_off, lost], slowest) = rows.entry(event.act.name()).or_default();
            match event.outcome {
                Outcome::Answered { status: 200..=299, .. } => *done += 1,
                Outcome::Answered { status: 500.., .. } => *put_off += 1,
                Outcome::Answered { .. } => *refused += 1,
                Outcome::Lost(_) => *lost += 1,
            }
            *slowest = event.took().max(*slowest);
        }
        writeln!(f, "{:8} {:>7} {:>7} {:>7} {:>7}  slowest", "", "done", "refused", "5xx", "lost")?;
        for (name, ([done, refused, put_off, lost], slowest)) in rows {
            writeln!(f, "{name:8} {done:7} {refused:7} {put_off:7} {lost:7}  {slowest:.1?}")?;
        }
        for Disturbance { begun, ended, what, node } in &self.disturbances {
            let of_all = self.events.iter().filter(|event| event.begun >= *begun && event.begun <= *ended);
            let (mut done, mut all) = (0_usize, 0_usize);
            for event in of_all {
                all += 1;
                done += usize::from(!event.is_unknown());
            }
            let node = node.map_or_else(String::new, |node| format!(" of node {node}"));
            writeln!(f, "{what}{node}, {begun:.1?} to {ended:.1?}: {done} of {all} served")?;
        }
        Ok(())
    }
}
