//! Callers that hang up: a verb dropped in the middle is wholly done or not begun, never half.
//!
//! Each verb is polled a number of times and dropped, for every number until it answers. Afterwards its rows, its
//! audit entry, its changes and the feed's events must agree.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::{
    Case,
    act::{act, at},
    api_key_hang_up, hang_up_tenancy, hang_up_verbs as verbs, key_usage, mfa_hang_up, room,
    world::World,
};
use crate::{audit::Act, changes::Change};

pub(super) const CASES: &[Case] = room!["hang_up":
    survives_a_caller_that_hangs_up,
    founds_wholly_or_not_at_all_when_callers_hang_up,
    serves_others_while_callers_hang_up,
];

/// More polls than any verb takes to answer.
const MAX_POLLS: usize = 64;
/// How long a store may take to settle after a caller has gone.
const SETTLE_DEADLINE: Duration = Duration::from_secs(20);
/// How long between two looks at a store that has not settled.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// How many writes of others must pass before an act that left no trace counts as not begun.
const WRITES_OF_OTHERS: usize = 5;

/// One act, ready to be performed once.
pub(super) struct Trial {
    /// The verb, not polled yet.
    pub(super) verb: BoxFuture<'static, ()>,
    /// How to see what came of it.
    pub(super) traces: Traces,
}

/// What an act leaves behind.
pub(super) struct Traces {
    /// What its audit entry is found by; none for verbs that take no act.
    pub(super) act: Option<Act>,
    /// The changes that belong to it.
    pub(super) changes: Vec<Change>,
    /// Which of its rows are there now: each with a name for failures.
    pub(super) rows: Box<dyn Fn() -> BoxFuture<'static, Rows> + Send + Sync>,
}

/// Named effects, and whether each is seen.
pub(super) type Rows = Vec<(&'static str, bool)>;

/// Makes a trial that shares nothing with those before it.
pub(super) type Prepare = fn(World, usize) -> BoxFuture<'static, Trial>;

/// Polls a future a number of times, then gives up on it.
struct HangsUp<F> {
    future: F,
    polls: usize,
}

impl<F: Future + Unpin> Future for HangsUp<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls.checked_sub(1) else { return Poll::Ready(None) };
        self.polls = left;
        match Pin::new(&mut self.future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Everything that `trial` may have left behind so far.
async fn seen(world: &World, traces: &Traces) -> Rows {
    let mut seen = (traces.rows)().await;
    if let Some(act) = &traces.act {
        let entries = world.entries(act).await;
        assert!(entries.len() <= 1, "one act, one entry: {entries:?}");
        seen.push(("audit entry", entries.len() == 1));
    }
    let (rows, heard) = (world.change_rows().await, world.heard());
    for change in &traces.changes {
        let written = rows.iter().filter(|row| row.change == *change).count();
        let told = heard.iter().filter(|event| *event == change).count();
        assert!(written <= 1 && told <= 1, "{change:?} written {written} times, told {told} times");
        seen.push(("change row", written == 1));
        seen.push(("feed event", told == 1));
    }
    seen
}

/// Watches until the act is wholly there (`true`), or still wholly absent after others have written.
async fn settled(world: &World, what: &str, traces: &Traces) -> bool {
    let deadline = Instant::now() + SETTLE_DEADLINE;
    let mut absent = 0;
    loop {
        let seen = seen(world, traces).await;
        match seen.iter().filter(|(_, there)| *there).count() {
            0 if absent == WRITES_OF_OTHERS => return false,
            0 => {
                absent += 1;
                // A write behind the act's: on a store that queues its writes, it has been decided by now.
                world.store().count_failure(Vec::new(), act("somebody.else", at(0))).await.unwrap();
            }
            there if there == seen.len() => return true,
            _ => absent = 0,
        }
        assert!(Instant::now() < deadline, "{what} is half done and stays so: {seen:?}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Performs the verb with a caller that hangs up after `polls` polls. `None` if it answered before; otherwise whether
/// the act happened.
async fn hang_up(world: &World, name: &str, prepare: Prepare, polls: usize) -> Option<bool> {
    let Trial { verb, traces } = prepare(world.clone(), polls).await;
    let answered = HangsUp { future: verb, polls }.await.is_some();
    if answered {
        // Nothing is waited for here: an answer comes after everything else.
        let seen = seen(world, &traces).await;
        assert!(seen.iter().all(|(_, there)| *there), "{name} has answered: {seen:?}");
        return None;
    }
    let what = format!("{name}, dropped after {polls} polls,");
    let there = settled(world, &what, &traces).await;
    assert!(polls > 0 || !there, "{name} acted before it was polled");
    Some(there)
}

async fn survives_a_caller_that_hangs_up(world: World) {
    for (name, prepare) in verbs::REPEATABLE
        .iter()
        .chain(hang_up_tenancy::REPEATABLE)
        .chain(api_key_hang_up::REPEATABLE)
        .chain(key_usage::REPEATABLE)
        .chain(mfa_hang_up::REPEATABLE)
    {
        let mut polls = 0;
        while hang_up(&world, name, *prepare, polls).await.is_some() {
            polls += 1;
            assert!(polls < MAX_POLLS, "{name} does not answer");
        }
    }
}

async fn founds_wholly_or_not_at_all_when_callers_hang_up(world: World) {
    for (name, prepare) in verbs::ONCE {
        let mut polls = 0;
        // Until it is founded, by a caller that waited or by one that did not.
        while hang_up(&world, name, *prepare, polls).await == Some(false) {
            polls += 1;
            assert!(polls < MAX_POLLS, "{name} does not answer");
        }
    }
}

async fn serves_others_while_callers_hang_up(world: World) {
    let user = world.user("ada").await.id;
    let all = [
        verbs::REPEATABLE,
        hang_up_tenancy::REPEATABLE,
        api_key_hang_up::REPEATABLE,
        key_usage::REPEATABLE,
        mfa_hang_up::REPEATABLE,
    ]
    .concat();
    let mut left_behind = Vec::new();
    for round in 0..64 {
        let (name, prepare) = all[round % all.len()];
        let trial = prepare(world.clone(), 1_000 + round).await;
        let dropped = HangsUp { future: trial.verb, polls: 1 };
        let (_, session) = tokio::join!(dropped, world.sign_in(user, at(1)));
        assert_eq!(world.session(session.id).await, session.record, "beside a dropped {name}");
        left_behind.push((name, trial.traces));
    }
    // Those that were begun run to their end by themselves.
    for (name, traces) in &left_behind {
        settled(&world, name, traces).await;
    }
}
