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
    let Some(told) = ticket.filter(|told| now.since(*told) < TICKET_LIFE) else { return Verdict::ComeBack(first_wait) };
    let next = turns.last.map_or(told, |last| {
        let wait = if turns.wrong == 0 { Duration::ZERO } else { wait_after(turns.wrong) };
        last + wait
    });
    let next = next.max(told + first_wait);
    match turns.last {
        _ if now >= next => Verdict::Turn,
        // Whoever's turn it is may be right: then the next one waits no longer.
        Some(last) if now.since(last) < TURN => Verdict::Wait(TURN),
        _ => Verdict::Wait(next.since(now)),
    }
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
        let turns = state.networks.find(network).copied().unwrap_or_default();
        match judge(ticket, turns, first_wait, now) {
            Verdict::Turn => {
                state.tickets.remove(stranger);
                let taken = Turns { wrong: turns.wrong.saturating_add(1), last: Some(now) };
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
        state.networks.update(network, now, |turns| turns.wrong = turns.wrong.saturating_sub(1));
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
    fn one_network_does_not_slow_another() {
        let strangers = Strangers::new();
        strangers.admit(1, 7, WAIT, at(100)).unwrap_err();
        strangers.admit(2, 8, WAIT, at(100)).unwrap_err();
        strangers.admit(1, 7, WAIT, at(110)).unwrap();
        strangers.admit(2, 8, WAIT, at(110)).unwrap();
    }
}
