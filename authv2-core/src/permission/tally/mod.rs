//! Statistics of decisions: counted where they are made, written behind.
//!
//! Counting is an addition to a table of this node. What a count stands for (the permission, and the role and grant
//! that decided) is worked out once, when it is first counted.

mod batch;
mod probing;
mod table;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub(super) use self::batch::Batch;
pub(crate) use self::probing::Probe;
use self::{probing::Probing, table::Table};
use crate::{
    audit::{Act, Actor},
    clock::Timestamp,
    id::{MemberId, OrgId},
    store::DecisionCount,
    telemetry,
};

/// The most rows kept while they cannot be written.
const KEPT_ROWS: usize = 16 * 1024;
/// The most uses of rights noted between two times they are written.
const USES_MAX: usize = 128 * 1024;
/// The most denials that wait to be written.
const DENIALS_MAX: usize = 1024;
const SECONDS_A_DAY: i64 = 86_400;

/// How a decision came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    Allowed,
    Denied,
    StepUp,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::StepUp];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::StepUp => "step_up",
        }
    }
}

/// What a count stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Label {
    pub(super) organization: OrgId,
    pub(super) permission: String,
    /// The role whose grant decided, and the grant; empty where none did.
    pub(super) role: String,
    pub(super) granted: String,
    pub(super) outcome: Outcome,
}

/// What happened on this node since it was last written.
#[derive(Debug)]
pub(super) struct Tally {
    table: Table,
    /// What the keys of the table stand for.
    labels: Mutex<Labels>,
    /// Decisions that found no room in the table.
    uncounted: AtomicU64,
    pending: Mutex<Pending>,
    /// The minute, and how many denials were sampled in it.
    sampled: AtomicU64,
    denials_per_minute: u32,
    /// There if somebody watches for bursts of denials.
    probing: OnceLock<Probing>,
}

#[derive(Debug, Default)]
struct Labels {
    by_key: HashMap<u64, (Label, u64)>,
    /// How often the table was drained.
    drains: u64,
}

/// What waits to be written, each row once.
#[derive(Debug, Default)]
struct Pending {
    /// By label and day.
    decisions: HashMap<(Label, i64), u64>,
    members: HashMap<(OrgId, MemberId), Timestamp>,
    denials: Vec<Act>,
}

impl Tally {
    pub(super) fn new(denials_per_minute: u32) -> Self {
        Self {
            table: Table::new(),
            labels: Mutex::default(),
            uncounted: AtomicU64::new(0),
            pending: Mutex::default(),
            sampled: AtomicU64::new(0),
            denials_per_minute,
            probing: OnceLock::new(),
        }
    }

    /// From now on, so many denials of one user or key in a window are a burst.
    pub(super) fn watch_denials(&self, limit: u32, window: Duration) {
        self.probing.get_or_init(|| Probing::new(limit, window));
    }

    /// Counts a denial towards a burst.
    #[inline]
    pub(super) fn note_denial(&self, organization: OrgId, actor: Actor, now: Timestamp) {
        if let Some(probing) = self.probing.get() {
            probing.note(organization, actor, now);
        }
    }

    /// The bursts of denials since the last time.
    pub(super) fn take_bursts(&self) -> Vec<Probe> {
        self.probing.get().map(Probing::take).unwrap_or_default()
    }

    /// Counts a decision under `key`, which always stands for the same label.
    #[inline]
    pub(super) fn count(&self, key: u64, label: impl FnOnce() -> Label) {
        if !self.table.count(key, || self.introduce(key, label)) {
            self.uncounted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a member's rights were asked for.
    #[inline]
    pub(super) fn visit(&self) {
        self.table.visit();
    }

    /// Notes that a member used a right of its own.
    pub(super) fn note_use(&self, organization: OrgId, member: MemberId, now: Timestamp) {
        let mut pending = lock(&self.pending);
        if pending.members.len() < USES_MAX {
            pending.members.insert((organization, member), now);
        }
    }

    /// Samples a denial for the audit log, if it is one of the first of its minute.
    #[inline]
    pub(super) fn sample(&self, now: Timestamp, denial: impl FnOnce() -> Act) {
        if self.is_sampled(now) {
            let denial = denial();
            let mut pending = lock(&self.pending);
            if pending.denials.len() < DENIALS_MAX {
                pending.denials.push(denial);
            }
        }
    }

    fn is_sampled(&self, now: Timestamp) -> bool {
        let minute = u64::try_from(now.as_seconds() / 60).unwrap_or(0) << 32;
        let seen = self.sampled.load(Ordering::Relaxed);
        // A minute that is past counts as this one: clocks may be set back a little.
        let next = if seen >= minute { seen + 1 } else { minute + 1 };
        let is_left = next & u64::from(u32::MAX) <= u64::from(self.denials_per_minute);
        is_left && self.sampled.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn introduce(&self, key: u64, label: impl FnOnce() -> Label) {
        let mut labels = lock(&self.labels);
        let drains = labels.drains;
        match labels.by_key.get_mut(&key) {
            Some((_, needed)) => *needed = drains,
            None => {
                // Worked out without the lock: it takes a microsecond or more.
                drop(labels);
                let label = label();
                lock(&self.labels).by_key.insert(key, (label, drains));
            }
        }
    }

    /// Takes what happened until `now`, to be written; tells the metrics.
    pub(super) fn take(&self, now: Timestamp) -> Batch<'_> {
        let day = now.as_seconds().div_euclid(SECONDS_A_DAY);
        let counted = self.drain();
        for outcome in Outcome::ALL {
            let of = counted.iter().filter(|(label, _)| label.outcome == outcome);
            telemetry::add(telemetry::DECISIONS, "outcome", outcome.as_str(), of.map(|(_, count)| count).sum());
        }
        telemetry::add(telemetry::DECISIONS, "outcome", "unknown", self.uncounted.swap(0, Ordering::Relaxed));
        let mut pending = lock(&self.pending);
        for (label, count) in counted {
            *pending.decisions.entry((label, day)).or_default() += count;
        }
        Batch::new(self, std::mem::take(&mut *pending))
    }

    /// How often members' rights were asked for since the last time.
    pub(super) fn take_visits(&self) -> u64 {
        self.table.take_visits()
    }

    fn drain(&self) -> HashMap<Label, u64> {
        let mut labels = lock(&self.labels);
        let (mut counted, mut kept) = (HashMap::new(), HashSet::new());
        self.table.drain(|key, count| {
            kept.insert(key);
            match labels.by_key.get(&key) {
                _ if count == 0 => {}
                Some((label, _)) => *counted.entry(label.clone()).or_default() += count,
                None => drop(self.uncounted.fetch_add(count, Ordering::Relaxed)),
            }
        });
        labels.drains += 1;
        let drains = labels.drains;
        // Whoever was just introduced may not have been counted yet.
        labels.by_key.retain(|key, (_, needed)| kept.contains(key) || *needed + 1 >= drains);
        counted
    }

    /// Keeps for the next time what could not be written, as far as there is room.
    fn put_back(&self, rest: Pending) {
        let mut pending = lock(&self.pending);
        let mut lost = 0;
        for (key, count) in rest.decisions {
            if pending.decisions.len() < KEPT_ROWS || pending.decisions.contains_key(&key) {
                *pending.decisions.entry(key).or_default() += count;
            } else {
                lost += count;
            }
        }
        for (member, used_at) in rest.members {
            if pending.members.len() < USES_MAX {
                let there = pending.members.entry(member).or_insert(used_at);
                *there = used_at.max(*there);
            }
        }
        // Denials do not come back: the write that failed may have been committed after all, and an audit entry is
        // written once.
        if lost > 0 {
            tracing::warn!(decisions = lost, "statistics were lost: they could not be written for too long");
        }
    }
}

impl Label {
    fn row(&self, day: i64, count: u64) -> DecisionCount {
        DecisionCount {
            organization: self.organization,
            day,
            permission: self.permission.clone(),
            role: self.role.clone(),
            granted: self.granted.clone(),
            outcome: self.outcome.as_str().to_owned(),
            count: i64::try_from(count).unwrap_or(i64::MAX),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
