//! A circuit breaker: once something has failed repeatedly, callers are refused at once instead of waiting on
//! time-outs, and few of them try whether it is back.
//!
//! Closed, everybody passes. After [`Rules::failures`] failures in a row it opens, and everybody is refused for
//! [`Rules::pause`], longer after each vain try. Then it is half open: one caller at a time passes. A success closes it,
//! a failure opens it again. The pauses vary at random, so that nodes which lost the same server do not return to it
//! in step.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it refuses everybody at first.
    pub pause: Duration,
    /// The longest that it comes to, doubling after each vain try.
    pub pause_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_millis(500), pause_max: Duration::from_secs(2) }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    /// Everybody passes.
    Closed,
    /// Everybody is refused.
    Open,
    /// One caller at a time tries whether it works again.
    HalfOpen,
}

impl Circuit {
    /// As health and metrics show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What a breaker knows of what it stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerHealth {
    /// Where it stands.
    pub circuit: Circuit,
    /// How long ago something last succeeded; none if nothing has yet.
    pub last_success: Option<Duration>,
}

/// Refused by an open breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not asked: it failed repeatedly a moment ago")]
pub struct Refused;

/// A circuit breaker. Costs an atomic load while it is closed.
#[derive(Debug)]
pub struct Breaker {
    rules: Rules,
    began: Instant,
    /// Set while the breaker is not closed: whoever sees it unset passes without a lock.
    tripped: AtomicBool,
    failures: AtomicU32,
    /// How often it has opened: what was begun before says nothing of now.
    openings: AtomicU32,
    /// Milliseconds from `began` to the last success, plus one; 0 for none.
    succeeded: AtomicU64,
    pause: Mutex<Pause>,
}

/// What only counts while the breaker is not closed.
#[derive(Debug, Default)]
struct Pause {
    /// Vain tries so far.
    tries: u32,
    /// Until when everybody is refused.
    until: Option<Instant>,
    /// Somebody is trying.
    trying: bool,
}

/// Leave to go through; says what came of it.
///
/// Dropped without a verdict (the caller went away) it counts as neither, and lets the next one try.
#[derive(Debug)]
#[must_use = "a pass without a verdict tells the breaker nothing"]
pub struct Pass<'a> {
    breaker: &'a Breaker,
    openings: u32,
    is_trial: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            began: Instant::now(),
            tripped: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            openings: AtomicU32::new(0),
            succeeded: AtomicU64::new(0),
            pause: Mutex::default(),
        }
    }

    /// Asks to go through.
    ///
    /// # Errors
    /// [`Refused`] while it is open, and while somebody else tries.
    pub fn admit(&self) -> Result<Pass<'_>, Refused> {
        let pass = |is_trial| Pass { breaker: self, openings: self.openings.load(Ordering::Acquire), is_trial };
        if !self.tripped.load(Ordering::Acquire) {
            return Ok(pass(false));
        }
        let mut pause = self.pause();
        // Closed by somebody else before the lock was had.
        let Some(until) = pause.until else { return Ok(pass(false)) };
        if pause.trying || Instant::now() < until {
            return Err(Refused);
        }
        pause.trying = true;
        Ok(pass(true))
    }

    /// What it knows of what it stands before.
    #[must_use]
    pub fn health(&self) -> BreakerHealth {
        let circuit = match self.pause().until {
            None => Circuit::Closed,
            Some(until) if Instant::now() < until => Circuit::Open,
            Some(_) => Circuit::HalfOpen,
        };
        let succeeded = self.succeeded.load(Ordering::Relaxed).checked_sub(1);
        let last_success = succeeded.map(|at| self.began.elapsed().saturating_sub(Duration::from_millis(at)));
        BreakerHealth { circuit, last_success }
    }

    /// How long until somebody may try again; zero while it is closed.
    #[cfg(test)]
    fn retry_after(&self) -> Duration {
        self.pause().until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    fn succeeded(&self, is_trial: bool) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.succeeded.store(now + 1, Ordering::Relaxed);
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        // Only the one who tries closes it: an answer to a question from before the failures says nothing of now.
        if is_trial {
            *self.pause() = Pause::default();
            self.tripped.store(false, Ordering::Release);
        }
    }

    fn failed(&self, is_trial: bool) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !is_trial && failures < self.rules.failures {
            return;
        }
        let mut pause = self.pause();
        match (is_trial, pause.until) {
            // Another one has just opened it.
            (false, Some(_)) => return,
            (false, None) => {}
            (true, _) => pause.tries = pause.tries.saturating_add(1),
        }
        let length = self.rules.pause.saturating_mul(1 << pause.tries.min(16)).min(self.rules.pause_max);
        pause.until = Some(Instant::now() + jittered(length));
        self.openings.fetch_add(1, Ordering::AcqRel);
        pause.trying = false;
        self.tripped.store(true, Ordering::Release);
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// It worked.
    pub fn succeeded(mut self) {
        if self.is_of_now() {
            self.breaker.succeeded(std::mem::take(&mut self.is_trial));
        }
    }

    /// It did not: a failure of what the breaker stands before, not of the question.
    pub fn failed(mut self) {
        if self.is_of_now() {
            self.breaker.failed(std::mem::take(&mut self.is_trial));
        }
    }

    /// Whether the breaker has not opened since this was given.
    fn is_of_now(&self) -> bool {
        self.openings == self.breaker.openings.load(Ordering::Acquire)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.pause().trying = false;
        }
    }
}

/// Between three quarters and five quarters of `length`: nodes must not return in step.
pub(crate) fn jittered(length: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness they return in step, and that is all.
    let _ = aws_lc_rs::rand::fill(&mut random);
    length.mul_f64(0.75 + 0.5 * f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules =
        Rules { failures: 3, pause: Duration::from_millis(100), pause_max: Duration::from_millis(400) };

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().failed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_only() {
        let breaker = Breaker::new(RULES);
        fail(&breaker, 2);
        breaker.admit().unwrap().succeeded();
        fail(&breaker, 2);
        assert_eq!(breaker.health().circuit, Circuit::Closed);
        fail(&breaker, 1);
        assert_eq!(breaker.health().circuit, Circuit::Open);
        assert_eq!(breaker.admit().unwrap_err(), Refused);
        assert!(breaker.retry_after() > Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn lets_one_try_after_the_pause_and_closes_when_that_works() {
        let breaker = Breaker::new(RULES);
        fail(&breaker, 3);
        tokio::time::advance(Duration::from_millis(126)).await;
        let trial = breaker.admit().unwrap();
        assert_eq!(breaker.admit().unwrap_err(), Refused, "one at a time");
        trial.succeeded();
        let health = breaker.health();
        assert_eq!((health.circuit, health.last_success), (Circuit::Closed, Some(Duration::ZERO)));
        fail(&breaker, 2);
        drop(breaker.admit().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_longer_after_each_vain_try_up_to_a_limit() {
        let breaker = Breaker::new(RULES);
        fail(&breaker, 3);
        for longest in [200, 400, 400] {
            tokio::time::advance(Duration::from_millis(500)).await;
            breaker.admit().unwrap().failed();
            let pause = breaker.retry_after();
            assert!(pause >= Duration::from_millis(longest * 3 / 4) && pause <= Duration::from_millis(longest * 5 / 4));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_under_way_when_it_opened_changes_nothing() {
        let breaker = Breaker::new(RULES);
        let (late, later) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        fail(&breaker, 3);
        late.succeeded();
        assert_eq!(breaker.health().circuit, Circuit::Open, "an old answer says nothing of now");
        let pause = breaker.retry_after();
        later.failed();
        assert_eq!(breaker.retry_after(), pause);

        // Nor does it once the breaker has closed again.
        let breaker = Breaker::new(RULES);
        let old: Vec<_> = (0..3).map(|_| breaker.admit().unwrap()).collect();
        fail(&breaker, 3);
        tokio::time::advance(Duration::from_millis(126)).await;
        breaker.admit().unwrap().succeeded();
        old.into_iter().for_each(Pass::failed);
        assert_eq!(breaker.health().circuit, Circuit::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_was_given_up_makes_room_for_the_next() {
        let breaker = Breaker::new(RULES);
        fail(&breaker, 3);
        tokio::time::advance(Duration::from_millis(126)).await;
        drop(breaker.admit().unwrap());
        breaker.admit().unwrap().succeeded();
    }
}
