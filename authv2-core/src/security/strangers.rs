//! Sign-ins by strangers while an attack is on: slowed before their password is looked at.
//!
//! A stranger is an account from a network that it has not signed in from lately. Its first attempt is told to come
//! back; whoever does, gets its turn. That is nothing to a person, and the end of a list that is tried once, name by
//! name. A network has one turn at a time, and is taken for wrong until the password turns out right: after each wrong
//! one its strangers wait twice as long. So a network that fails is worth little, and one that does not, an office
//! that has moved, goes on.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Table;
use crate::clock::Timestamp;

/// How many strangers, and how many of their networks, are remembered.
const STRANGERS: usize = 64 * 1024;
const NETWORKS: usize = 16 * 1024;
/// How long one that was told to come back may take for it.
const TICKET_LIFE: Duration = Duration::from_secs(3600);
/// How long a network waits after a wrong password, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(60);
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// How long the password of a turn is under way.
const TURN: Duration = Duration::from_secs(1);
/// How long a turn is kept for whoever of the network has waited longest, where wrong passwords make it wait.
const KEPT: Duration = Duration::from_secs(10);

/// Who was told to come back when.
#[derive(Debug)]
pub(crate) struct Strangers(Mutex<State>);

#[derive(Debug)]
struct State {
    tickets: Table<Option<Timestamp>>,
    networks: Table<Turns>,
}

/// The turns of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Turns {
    /// How many in a row have not turned out right.
    wrong: u32,
    last: Option<Timestamp>,
    /// The one before the last: what holds again if the last came to nothing.
    before: Option<Timestamp>,
    /// Who has waited longest, of those that have asked since the last turn, and when it was told to come back.
    longest: Option<(u64, Timestamp)>,
}

impl Turns {
    /// Notes that a stranger waits.
    fn queue(&mut self, stranger: u64, told: Timestamp, now: Timestamp) {
        let is_longest = self.longest.is_none_or(|(_, other)| told < other || !is_good(other, now));
        if is_longest {
            self.longest = Some((stranger, told));
        }
    }

    /// Until when a turn is kept for somebody else than `stranger`.
    fn kept_from(&self, stranger: u64, first_wait: Duration, now: Timestamp) -> Option<Timestamp> {
        let (longest, told) = self.longest.filter(|(_, told)| self.wrong > 0 && is_good(*told, now))?;
        let due = self.last.map_or(told, |last| last + wait_after(self.wrong)).max(told + first_wait);
        let until = due + KEPT;
        (longest != stranger && now < until).then_some(until)
    }
}

/// What is said to a stranger's attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Its password may be looked at.
    Turn,
    /// It is new: it gets a ticket, and is to come back with it.
    ComeBack(Duration),
    /// It has a ticket, and it is not its turn yet.
    Wait(Duration),
}

/// Judges an attempt: a pure function of when the stranger was told to come back, its network's turns, and the time.
fn judge(ticket: Option<Timestamp>, turns: Turns, first_wait: Duration, now: Timestamp) -> Verdict {
    let Some(told) = ticket.filter(|told| is_good(*told, now)) else { return Verdict::ComeBack(first_wait) };
    // A turn that is yet to come was under a clock that was ahead.
    let last = turns.last.filter(|last| *last <= now + TURN);
    let next = last.map_or(told, |last| {
        let wait = if turns.wrong == 0 { Duration::ZERO } else { wait_after(turns.wrong) };
        last + wait
    });
    let next = next.max(told + first_wait);
    match last {
        _ if now >= next => Verdict::Turn,
        // Whoever's turn it is may be right: then the next one waits no longer.
        Some(last) if now.since(last) < TURN => Verdict::Wait(TURN),
        _ => Verdict::Wait(next.since(now)),
    }
}

/// Whether a ticket is good that was given at `told`.
fn is_good(told: Timestamp, now: Timestamp) -> bool {
    now.since(told) < TICKET_LIFE && told <= now + TURN
}

fn wait_after(wrong: u32) -> Duration {
    let factor = 1_u32.checked_shl(wrong.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

impl Strangers {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { tickets: Table::new(STRANGERS), networks: Table::new(NETWORKS) }))
    }

    /// Whether a stranger from a network, both by keyed hash, has its turn; else how long it is to wait.
    pub(crate) fn admit(
        &self,
        stranger: u64,
        network: u64,
        first_wait: Duration,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let mut state = self.lock();
        let ticket = state.tickets.find(stranger).copied().flatten();
        if let Some(told) = ticket.filter(|told| is_good(*told, now)) {
            state.networks.update(network, now, |turns| turns.queue(stranger, told, now));
        }
        let turns = state.networks.find(network).copied().unwrap_or_default();
        match judge(ticket, turns, first_wait, now) {
            Verdict::Turn => {
                if let Some(until) = turns.kept_from(stranger, first_wait, now) {
                    return Err(until.since(now));
                }
                state.tickets.remove(stranger);
                let wrong = turns.wrong.saturating_add(1);
                let taken = Turns { wrong, last: Some(now), before: turns.last, longest: None };
                state.networks.update(network, now, |turns| *turns = taken);
                Ok(())
            }
            Verdict::ComeBack(wait) => {
                state.tickets.update(stranger, now, |ticket| *ticket = Some(now));
                Err(wait)
            }
            Verdict::Wait(wait) => Err(wait),
        }
    }

    /// The password of a network's turn was right: its next turn is now.
    pub(crate) fn was_right(&self, network: u64, now: Timestamp) {
        self.lock().networks.update(network, now, |turns| turns.wrong = 0);
    }

    /// The password of a turn was not looked at after all: as if the turn had not been.
    pub(crate) fn was_nothing(&self, stranger: u64, network: u64, first_wait: Duration, now: Timestamp) {
        let mut state = self.lock();
        state.networks.update(network, now, |turns| {
            *turns = Turns { wrong: turns.wrong.saturating_sub(1), last: turns.before, ..*turns };
        });
        state.tickets.update(stranger, now, |ticket| *ticket = Some(now - first_wait));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn seconds(wait: Result<(), Duration>) -> u64 {
        wait.map_or_else(|wait| wait.as_secs(), |()| 0)
    }

    #[test]
    fn whoever_comes_back_gets_its_turn_and_whoever_comes_early_waits_on() {
        let strangers = Strangers::new();
        let ask = |now| seconds(strangers.admit(1, 7, WAIT, at(now)));
        assert_eq!([100, 104, 110].map(ask), [10, 6, 0]);
        assert_eq!(ask(111), 10, "a ticket is good once");
    }

    #[test]
    fn a_list_that_is_tried_name_by_name_never_gets_a_turn() {
        let strangers = Strangers::new();
        for name in 0..1_000 {
            assert!(strangers.admit(name, 7, WAIT, at(100 + i64::try_from(name).unwrap())).is_err());
        }
    }

    #[test]
    fn a_network_waits_twice_as_long_after_each_wrong_password() {
        let strangers = Strangers::new();
        for name in 0..10 {
            strangers.admit(name, 7, WAIT, at(100)).unwrap_err();
        }
        let mut now = 200;
        let mut waits = Vec::new();
        for name in 0..7 {
            strangers.admit(name, 7, WAIT, at(now)).unwrap();
            let next = seconds(strangers.admit(name + 1, 7, WAIT, at(now + 2))) + 2;
            waits.push(next);
            now += i64::try_from(next).unwrap();
        }
        assert_eq!(waits, [60, 120, 240, 480, 900, 900, 900]);
    }

    #[test]
    fn a_network_whose_passwords_are_right_goes_on() {
        let strangers = Strangers::new();
        for name in 0..50 {
            strangers.admit(name, 7, WAIT, at(100)).unwrap_err();
        }
        for name in 0..50 {
            strangers.admit(name, 7, WAIT, at(110)).unwrap();
            assert_eq!(seconds(strangers.admit(name + 1, 7, WAIT, at(110))), if name < 49 { 1 } else { 10 });
            strangers.was_right(7, at(110));
        }
    }

    #[test]
    fn a_turn_that_came_to_nothing_is_not_held_against_anybody() {
        let strangers = Strangers::new();
        strangers.admit(1, 7, WAIT, at(100)).unwrap_err();
        strangers.admit(1, 7, WAIT, at(110)).unwrap();
        strangers.was_nothing(1, 7, WAIT, at(111));
        strangers.admit(1, 7, WAIT, at(111)).unwrap();
    }

    #[test]
    fn a_turn_that_came_to_nothing_costs_no_wait() {
        let strangers = Strangers::new();
        for name in 0..2 {
            strangers.admit(name, 7, WAIT, at(100)).unwrap_err();
        }
        strangers.admit(0, 7, WAIT, at(110)).unwrap();
        strangers.admit(1, 7, WAIT, at(170)).unwrap();
        strangers.was_nothing(1, 7, WAIT, at(171));
        strangers.admit(1, 7, WAIT, at(171)).unwrap();
    }

    #[test]
    fn a_turn_is_kept_for_whoever_has_waited_longest() {
        let strangers = Strangers::new();
        for name in 0..3 {
            strangers.admit(name, 7, WAIT, at(100 + i64::try_from(name).unwrap())).unwrap_err();
        }
        strangers.admit(0, 7, WAIT, at(120)).unwrap();
        for name in [2, 1, 2] {
            assert!(strangers.admit(name, 7, WAIT, at(121)).is_err());
        }
        assert_eq!(seconds(strangers.admit(2, 7, WAIT, at(180))), 10, "that is the turn of another");
        strangers.admit(1, 7, WAIT, at(181)).unwrap();
        assert!(strangers.admit(2, 7, WAIT, at(182)).is_err());
        strangers.admit(2, 7, WAIT, at(301)).unwrap();
    }

    #[test]
    fn a_turn_is_not_kept_for_ever() {
        let strangers = Strangers::new();
        for name in 0..3 {
            strangers.admit(name, 7, WAIT, at(100 + i64::try_from(name).unwrap())).unwrap_err();
        }
        strangers.admit(0, 7, WAIT, at(120)).unwrap();
        assert!(strangers.admit(1, 7, WAIT, at(121)).is_err());
        assert!(strangers.admit(2, 7, WAIT, at(180)).is_err());
        strangers.admit(2, 7, WAIT, at(190)).unwrap();
    }

    #[test]
    fn one_network_does_not_slow_another() {
        let strangers = Strangers::new();
        strangers.admit(1, 7, WAIT, at(100)).unwrap_err();
        strangers.admit(2, 8, WAIT, at(100)).unwrap_err();
        strangers.admit(1, 7, WAIT, at(110)).unwrap();
        strangers.admit(2, 8, WAIT, at(110)).unwrap();
    }
}
