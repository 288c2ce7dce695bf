//! What a node holds of a key's quota: requests that it has drawn and may serve without asking anybody.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    calendar::Span,
    clock::Timestamp,
    error::{Code, Error, RatePolicy, Result},
    store::{KeyQuota, QuotaBlock},
};

/// How long nobody is asked again where nothing was left: another node may give something back meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What becomes of a request by its key's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is one of those that the key has.
    Granted,
    /// The key has used up its window.
    Exceeded(Exceeded),
    /// There is no such key any more.
    Gone,
}

impl Verdict {
    /// Goes on only if it was granted.
    ///
    /// # Errors
    /// [`Code::QuotaExceeded`]; [`Code::InvalidToken`] for a key that has gone.
    pub(crate) fn require(self) -> Result<()> {
        match self {
            Self::Granted => Ok(()),
            Self::Exceeded(exceeded) => Err(exceeded.into()),
            Self::Gone => Err(Error::new(Code::InvalidToken, "the key has been deleted")),
        }
    }
}

/// A quota that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    quota: KeyQuota,
    window: Duration,
    /// Until the next window begins.
    wait: Duration,
}

impl From<Exceeded> for Error {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { quota, window, wait } = exceeded;
        Self::new(Code::QuotaExceeded, "the key has been used as often as it may be in this time")
            .with_retry_after(wait)
            .with_policy(RatePolicy { name: "quota", quota: quota.requests, window })
    }
}

/// Drawn requests, and the window that they are of.
///
/// A new window is told of only after what was left of the one before has been dropped, so that nothing of one window is
/// served in another.
#[derive(Debug)]
pub(super) struct Allowance {
    left: AtomicU64,
    /// The quota that they were drawn of.
    quota: AtomicU64,
    start: AtomicI64,
    end: AtomicI64,
    /// Nothing was left to be drawn; from this moment on it is asked again.
    empty_until: AtomicI64,
    /// Whoever draws, alone.
    pub(super) drawing: Arc<tokio::sync::Mutex<()>>,
    /// How many wait for a draw.
    waiting: AtomicU64,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self {
            left: AtomicU64::new(0),
            quota: AtomicU64::new(0),
            start: AtomicI64::new(i64::MIN),
            end: AtomicI64::new(i64::MIN),
            empty_until: AtomicI64::new(i64::MIN),
            drawing: Arc::default(),
            waiting: AtomicU64::new(0),
        }
    }

    /// Takes one of the requests at hand. `None` where some have to be drawn first.
    #[inline]
    pub(super) fn take(&self, quota: KeyQuota, now: Timestamp) -> Option<Verdict> {
        let end = self.end.load(Ordering::Acquire);
        if now.as_micros() >= end || !self.is_of(quota) {
            return None;
        }
        let one_less = |left: u64| left.checked_sub(1);
        if self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok() {
            return Some(Verdict::Granted);
        }
        let until = Timestamp::from_micros(self.empty_until.load(Ordering::Acquire));
        // Further ahead than that it is of a clock that was set back.
        (now < until && until.since(now) <= ASK_AGAIN).then(|| {
            let (start, end) =
                (Timestamp::from_micros(self.start.load(Ordering::Acquire)), Timestamp::from_micros(end));
            Verdict::Exceeded(Exceeded { quota, window: end.since(start), wait: end.since(now) })
        })
    }

    /// Whether what is at hand was drawn of this quota: a key may have been given another.
    #[inline]
    pub(super) fn is_of(&self, quota: KeyQuota) -> bool {
        self.quota.load(Ordering::Acquire) == quota.requests
    }

    /// Adds what was drawn.
    pub(super) fn add(&self, quota: KeyQuota, block: QuotaBlock, now: Timestamp) {
        let QuotaBlock { units, window: Span { start, end } } = block;
        if self.window() != block.window {
            self.left.store(0, Ordering::Release);
            self.empty_until.store(i64::MIN, Ordering::Release);
            self.start.store(start.as_micros(), Ordering::Release);
            self.end.store(end.as_micros(), Ordering::Release);
        }
        self.quota.store(quota.requests, Ordering::Release);
        if units == 0 {
            self.empty_until.store((now + ASK_AGAIN).min(end).as_micros(), Ordering::Release);
        }
        self.left.fetch_add(units, Ordering::AcqRel);
    }

    /// Takes out what is left at hand, with its window: the next request has some drawn.
    pub(super) fn take_out(&self) -> (u64, Span) {
        let window = self.window();
        self.empty_until.store(i64::MIN, Ordering::Release);
        (self.left.swap(0, Ordering::AcqRel), window)
    }

    /// Counts a caller that waits, until what this gives is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    /// How many wait.
    pub(super) fn wanted(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    fn window(&self) -> Span {
        let moment = |at: &AtomicI64| Timestamp::from_micros(at.load(Ordering::Acquire));
        Span { start: moment(&self.start), end: moment(&self.end) }
    }
}

/// A caller that waits for a draw.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a AtomicU64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::QuotaPeriod;

    const QUOTA: KeyQuota = KeyQuota { requests: 10, period: QuotaPeriod::Day };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn block(units: u64, start: i64, end: i64) -> QuotaBlock {
        QuotaBlock { units, window: Span { start: at(start), end: at(end) } }
    }

    #[test]
    fn serves_what_was_drawn_and_no_more() {
        let allowance = Allowance::new();
        assert_eq!(allowance.take(QUOTA, at(5)), None);
        allowance.add(QUOTA, block(2, 0, 100), at(5));
        assert_eq!(
            [5, 99, 99].map(|now| allowance.take(QUOTA, at(now))),
            [Some(Verdict::Granted), Some(Verdict::Granted), None]
        );
    }

    #[test]
    fn nothing_of_one_window_is_served_in_the_next() {
        let allowance = Allowance::new();
        allowance.add(QUOTA, block(2, 0, 100), at(5));
        assert_eq!(allowance.take(QUOTA, at(100)), None);
        allowance.add(QUOTA, block(1, 100, 200), at(100));
        assert_eq!([100, 101].map(|now| allowance.take(QUOTA, at(now))), [Some(Verdict::Granted), None]);
    }

    #[test]
    fn asks_again_after_a_while_where_nothing_was_left() {
        let allowance = Allowance::new();
        allowance.add(QUOTA, block(0, 0, 100), at(5));
        let exceeded = |wait| {
            let (window, wait) = (Duration::from_secs(100), Duration::from_secs(wait));
            Some(Verdict::Exceeded(Exceeded { quota: QUOTA, window, wait }))
        };
        assert_eq!(allowance.take(QUOTA, at(5)), exceeded(95));
        assert_eq!([9, 10].map(|now| allowance.take(QUOTA, at(now))), [exceeded(91), None]);
        // Another node has given one back.
        allowance.add(QUOTA, block(1, 0, 100), at(10));
        assert_eq!([10, 11].map(|now| allowance.take(QUOTA, at(now))), [Some(Verdict::Granted), None]);
        allowance.add(QUOTA, block(0, 0, 100), at(98));
        assert_eq!([99, 100].map(|now| allowance.take(QUOTA, at(now))), [exceeded(1), None]);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait() {
        let allowance = Allowance::new();
        allowance.add(QUOTA, block(0, 86_400, 172_800), at(86_400));
        assert_eq!(allowance.take(QUOTA, at(50)), None);
        allowance.add(QUOTA, block(1, 0, 86_400), at(50));
        assert_eq!([50, 51].map(|now| allowance.take(QUOTA, at(now))), [Some(Verdict::Granted), None]);
    }

    #[test]
    fn what_is_taken_out_is_served_by_nobody() {
        let allowance = Allowance::new();
        allowance.add(QUOTA, block(5, 0, 100), at(5));
        assert_eq!(allowance.take(QUOTA, at(6)), Some(Verdict::Granted));
        assert_eq!(allowance.take_out(), (4, block(0, 0, 100).window));
        assert_eq!(allowance.take(QUOTA, at(6)), None);
        assert_eq!(allowance.take_out().0, 0);
    }

    #[test]
    fn a_refusal_says_when_the_next_window_begins() {
        let (window, wait) = (Duration::from_secs(86_400), Duration::from_millis(1_500));
        let error = Error::from(Exceeded { quota: QUOTA, window, wait });
        assert_eq!((error.code().as_str(), error.code().status().as_u16()), ("quota_exceeded", 429));
        assert_eq!(error.retry_after(), Some(wait));
        assert_eq!(error.policy(), Some(RatePolicy { name: "quota", quota: 10, window }));
    }
}
