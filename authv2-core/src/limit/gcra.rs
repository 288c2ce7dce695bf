//! The decision of a rate limit: the generic cell rate algorithm, exact, in whole numbers.
//!
//! Nothing but one moment is remembered of a key: when it will have its whole burst again ([`Tat`], the "theoretical
//! arrival time"). A request is let through if that moment, moved by what the request costs, lies no further ahead than
//! a whole burst takes to come back.

use std::time::Duration;

use crate::clock::Timestamp;

/// The longest that a burst may take to come back: a million requests at one a day. For Lua, whose numbers are exact up to
/// 2^53 microseconds, 285 years, the slowest of all are known to within a few microseconds.
const LONGEST: u64 = 1_000_000 * 86_400 * 1_000_000;

/// How fast a limit lets requests through: `requests` in each `per`, evenly, and `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    requests: u32,
    burst: u32,
    /// Microseconds.
    per: u64,
    /// What one request costs.
    interval: Span,
    /// What a whole burst costs.
    tolerance: Span,
}

/// A rate that nothing could meet, or that cannot be kept exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRate {
    /// It would let nothing through.
    #[error("requests, period and burst must be more than zero")]
    Zero,
    /// Its burst would take longer to come back than a million days.
    #[error("a whole burst must come back within a million days")]
    TooSlow,
}

/// A time, or a moment since 1970, in microseconds and parts of one.
///
/// A part is one over the rate's number of requests, so that 3 in a second are 3 and not 2.999997: nothing is rounded,
/// and nothing drifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    pub(crate) micros: u64,
    pub(crate) part: u32,
}

/// When a key will have its whole burst again; for one that is not remembered, in the past.
pub type Tat = Span;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// How many more may pass at once.
    pub remaining: u32,
    /// How long until the whole burst is there again.
    pub reset_after: Duration,
    /// For a request that may not pass: how long until it may. None for one that costs more than a burst, and so never
    /// may.
    pub retry_after: Option<Duration>,
    /// What is to be remembered if it passes.
    pub tat: Tat,
}

impl Rate {
    /// How many microseconds clocks may be apart.
    pub(crate) const AHEAD: u64 = 5_000_000;

    /// Faster than anybody.
    pub(crate) const UNLIMITED: Self = Self {
        requests: u32::MAX,
        burst: u32::MAX,
        per: 1,
        interval: Span { micros: 0, part: 1 },
        tolerance: Span { micros: 1, part: 0 },
    };

    /// `requests` in each `per`, of which `burst` may come at once: `requests` if that is not told.
    ///
    /// # Errors
    /// [`InvalidRate`].
    pub fn new(requests: u32, per: Duration, burst: Option<u32>) -> Result<Self, InvalidRate> {
        let burst = burst.unwrap_or(requests);
        let per = u64::try_from(per.as_micros()).unwrap_or(u64::MAX);
        if requests == 0 || burst == 0 || per == 0 {
            return Err(InvalidRate::Zero);
        }
        let span = |cost: u32| {
            let (requests, total) = (u128::from(requests), u128::from(cost) * u128::from(per));
            let micros = u64::try_from(total / requests).ok().filter(|micros| *micros <= LONGEST);
            let part = u32::try_from(total % requests).unwrap_or(0);
            micros.map(|micros| Span { micros, part }).ok_or(InvalidRate::TooSlow)
        };
        Ok(Self { requests, burst, per, interval: span(1)?, tolerance: span(burst)? })
    }

    /// How many requests.
    #[must_use]
    pub const fn requests(&self) -> u32 {
        self.requests
    }

    /// How many at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// In which time.
    #[must_use]
    pub const fn per(&self) -> Duration {
        Duration::from_micros(self.per)
    }

    /// What tells it from other rates.
    pub(crate) const fn figures(&self) -> (u32, u64, u32) {
        (self.requests, self.per, self.burst)
    }

    /// So many times as fast.
    #[must_use]
    pub fn times(&self, factor: u32) -> Self {
        let times = |number: u32| number.saturating_mul(factor).max(1);
        Self::new(times(self.requests), self.per(), Some(times(self.burst))).unwrap_or(*self)
    }

    /// So many percent of it, but at least one request.
    #[must_use]
    pub fn percent(&self, percent: u32) -> Self {
        let share = |number: u32| {
            let share = u64::from(number) * u64::from(percent.min(100)) / 100;
            u32::try_from(share).unwrap_or(number).max(1)
        };
        Self::new(share(self.requests), self.per(), Some(share(self.burst))).unwrap_or(*self)
    }

    /// Decides on a request of that cost at `now`; pure.
    #[must_use]
    pub fn decide(&self, tat: Tat, now: Timestamp, cost: u32) -> Decision {
        let now = at(now);
        // Of another rate there may be more parts.
        let from = Span { part: tat.part.min(self.requests - 1), ..tat }.max(now);
        let latest = self.sum(now, self.tolerance);
        let after = (cost <= self.burst).then(|| self.sum(from, self.span(cost)));
        let (allowed, tat, retry_after) = match after {
            Some(after) if after <= latest => (true, after, None),
            Some(after) => (false, from, Some(self.difference(after, latest).as_duration())),
            None => (false, from, None),
        };
        Decision {
            allowed,
            remaining: self.fit(self.difference(latest, tat)),
            reset_after: self.difference(tat, now).as_duration(),
            retry_after,
            tat,
        }
    }

    /// What is to be believed instead of a moment that was remembered, where it lies further ahead than a whole burst
    /// takes: the clock was set back, or the rate was raised since. Then the key has used up its burst, and gets it back
    /// as always. A few seconds ahead are believed: callers do not read the clock in the order in which they are counted.
    #[must_use]
    pub fn corrected(&self, tat: Tat, now: Timestamp) -> Option<Tat> {
        let latest = self.sum(at(now), self.tolerance);
        let is_too_late = tat.micros > latest.micros.saturating_add(Self::AHEAD);
        is_too_late.then_some(latest)
    }

    /// What so many requests cost; at most what a burst does.
    pub(crate) fn span(&self, cost: u32) -> Span {
        match cost {
            1 => self.interval,
            _ if cost >= self.burst => self.tolerance,
            _ => {
                let total = u128::from(cost) * u128::from(self.per);
                let requests = u128::from(self.requests);
                // Less than the tolerance, which fits.
                let micros = u64::try_from(total / requests).unwrap_or(LONGEST);
                Span { micros, part: u32::try_from(total % requests).unwrap_or(0) }
            }
        }
    }

    /// What a whole burst costs.
    #[cfg(feature = "redis")]
    pub(crate) const fn tolerance(&self) -> Span {
        self.tolerance
    }

    fn sum(&self, one: Span, other: Span) -> Span {
        let parts = u64::from(one.part) + u64::from(other.part);
        let carry = parts >= u64::from(self.requests);
        let part = if carry { parts - u64::from(self.requests) } else { parts };
        let micros = one.micros.saturating_add(other.micros).saturating_add(u64::from(carry));
        Span { micros, part: u32::try_from(part).unwrap_or(0) }
    }

    /// Nothing where `less` is more.
    fn difference(&self, more: Span, less: Span) -> Span {
        if more <= less {
            return Span::default();
        }
        match more.part.checked_sub(less.part) {
            Some(part) => Span { micros: more.micros - less.micros, part },
            // `more` has at least one microsecond more, or its parts would be.
            None => Span { micros: more.micros - less.micros - 1, part: more.part + (self.requests - less.part) },
        }
    }

    /// How many requests `span` pays for.
    fn fit(&self, span: Span) -> u32 {
        let number = match span.micros.checked_mul(u64::from(self.requests)) {
            Some(parts) => parts.saturating_add(u64::from(span.part)) / self.per,
            None => {
                let parts = u128::from(span.micros) * u128::from(self.requests) + u128::from(span.part);
                u64::try_from(parts / u128::from(self.per)).unwrap_or(u64::MAX)
            }
        };
        u32::try_from(number).unwrap_or(u32::MAX).min(self.burst)
    }
}

impl Span {
    /// Whole microseconds, rounded up: whoever waits that long has waited long enough.
    pub(crate) const fn as_duration(self) -> Duration {
        Duration::from_micros(self.micros.saturating_add((self.part > 0) as u64))
    }
}

#[cfg(feature = "redis")]
impl From<(u64, u32)> for Span {
    fn from((micros, part): (u64, u32)) -> Self {
        Self { micros, part }
    }
}

#[cfg(feature = "redis")]
impl From<Span> for (u64, u32) {
    fn from(span: Span) -> Self {
        (span.micros, span.part)
    }
}

/// A moment of the clock.
pub(crate) fn at(now: Timestamp) -> Span {
    // A clock that stands before 1970 stands still.
    Span { micros: u64::try_from(now.as_micros()).unwrap_or(0), part: 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_780_000_000_000_000;

    fn rate(requests: u32, millis: u64, burst: Option<u32>) -> Rate {
        Rate::new(requests, Duration::from_millis(millis), burst).unwrap()
    }

    fn moment(micros: u64) -> Timestamp {
        Timestamp::from_micros(START + i64::try_from(micros).unwrap())
    }

    /// How many of 100 requests at once pass, from what is remembered on.
    fn pass(rate: &Rate, tat: &mut Tat, now: Timestamp) -> u32 {
        let mut passed = 0;
        for _ in 0..100 {
            let decision = rate.decide(*tat, now, 1);
            if decision.allowed {
                *tat = decision.tat;
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn lets_the_burst_through_at_once_and_then_the_rate() {
        for (burst, at_once) in [(None, 7), (Some(3), 3), (Some(20), 20), (Some(2), 2)] {
            let rate = rate(7, 1_000, burst);
            let mut tat = Tat::default();
            assert_eq!(pass(&rate, &mut tat, moment(0)), at_once);
            // A seventh of a second is no whole number of microseconds.
            for turn in 1..=70_u64 {
                let due = (turn * 1_000_000).div_ceil(7);
                assert_eq!(pass(&rate, &mut tat, moment(due - 1)), 0, "turn {turn}");
                assert_eq!(pass(&rate, &mut tat, moment(due)), 1, "turn {turn}");
            }
            assert_eq!(pass(&rate, &mut tat, moment(3_600_000_000)), at_once);
        }
    }

    #[test]
    fn tells_what_is_left_and_how_long_to_wait() {
        let rate = rate(2, 1_000, Some(4));
        let first = rate.decide(Tat::default(), moment(0), 3);
        let ms = Duration::from_millis;
        assert_eq!((first.allowed, first.remaining, first.reset_after, first.retry_after), (true, 1, ms(1_500), None));
        let denied = rate.decide(first.tat, moment(250_000), 2);
        assert_eq!((denied.allowed, denied.remaining), (false, 1));
        assert_eq!((denied.reset_after, denied.retry_after), (ms(1_250), Some(ms(250))));
        assert!(rate.decide(first.tat, moment(500_000), 2).allowed);
        let thirds = super::Rate::new(3, ms(1_000), None).unwrap();
        let last = (0..3).fold(Tat::default(), |tat, _| thirds.decide(tat, moment(0), 1).tat);
        assert_eq!(thirds.decide(last, moment(0), 1).retry_after, Some(Duration::from_micros(333_334)));
        assert_eq!(thirds.decide(last, moment(0), 1).reset_after, ms(1_000));
    }

    #[test]
    fn a_look_costs_nothing_and_more_than_a_burst_never_passes() {
        let rate = rate(5, 1_000, None);
        let look = rate.decide(Tat::default(), moment(0), 0);
        assert_eq!((look.allowed, look.remaining, look.reset_after), (true, 5, Duration::ZERO));
        let mut tat = Tat::default();
        assert_eq!(pass(&rate, &mut tat, moment(0)), 5);
        let look = rate.decide(tat, moment(0), 0);
        assert_eq!((look.allowed, look.remaining, look.tat), (true, 0, tat));
        let never = rate.decide(Tat::default(), moment(0), 6);
        assert_eq!((never.allowed, never.remaining, never.retry_after), (false, 5, None));
    }

    #[test]
    fn a_clock_that_is_set_back_and_forth_changes_nothing() {
        let rate = rate(10, 10_000, None);
        let mut tat = Tat::default();
        assert_eq!(pass(&rate, &mut tat, moment(100_000_000)), 10);
        let remembered = tat;
        for past in [99_000_000, 50_000_000, 0] {
            assert_eq!(pass(&rate, &mut tat, moment(past)), 0);
        }
        assert_eq!(tat, remembered);
        assert_eq!(pass(&rate, &mut tat, moment(101_000_000)), 1);
        // A store whose clock was set back for good does not wait for the old time to come again.
        let mut healed = rate.corrected(tat, moment(0)).unwrap();
        assert_eq!(pass(&rate, &mut healed, moment(0)), 0);
        assert_eq!(pass(&rate, &mut healed, moment(1_000_000)), 1);
        assert_eq!(rate.corrected(remembered, moment(99_000_000)), None, "what can be is believed");
    }

    #[test]
    fn refuses_rates_that_mean_nothing() {
        let new = |requests, per, burst| Rate::new(requests, Duration::from_secs(per), burst).unwrap_err();
        for zero in [new(0, 1, None), new(1, 0, None), new(1, 1, Some(0))] {
            assert_eq!(zero, InvalidRate::Zero);
        }
        assert_eq!(new(1, u64::MAX, None), InvalidRate::TooSlow);
        assert_eq!(new(1, 86_400, Some(u32::MAX)), InvalidRate::TooSlow);
        assert!(Rate::new(u32::MAX, Duration::from_micros(1), None).is_ok());
        assert!(Rate::new(1, Duration::from_secs(86_400), Some(1_000_000)).is_ok());
        assert_eq!(rate(10, 1_000, None).percent(25).requests(), 2);
        assert_eq!(rate(1, 1_000, None).percent(25).requests(), 1);
        assert_eq!(rate(10, 1_000, Some(5)).times(4), rate(40, 1_000, Some(20)));
    }

    /// What a limit promises, written down: looking back from any request that passed, no more have passed since than
    /// a burst and what the rate gives in that time; and whoever was refused would have broken that.
    struct Model {
        rate: (u128, u128, u128),
        passed: Vec<(u128, u128)>,
    }

    impl Model {
        fn allows(&mut self, now: u64, cost: u32) -> bool {
            let (requests, per, burst) = self.rate;
            let (now, mut since) = (u128::from(now), u128::from(cost));
            let mut fits = since <= burst;
            for (at, number) in self.passed.iter().rev() {
                since += number;
                fits &= since * per <= burst * per + (now - at) * requests;
            }
            if fits {
                self.passed.push((now, u128::from(cost)));
            }
            fits
        }
    }

    proptest! {
        #[test]
        fn agrees_with_what_a_limit_promises(
            requests in 1_u32..12,
            per in prop_oneof![1_u64..50, Just(1_000_000), Just(999_983)],
            burst in proptest::option::of(1_u32..12),
            steps in proptest::collection::vec((0_u64..7, 0_u32..5), 1..80),
        ) {
            let rate = Rate::new(requests, Duration::from_micros(per), burst).unwrap();
            let burst = u128::from(burst.unwrap_or(requests));
            let mut model = Model { rate: (u128::from(requests), u128::from(per), burst), passed: Vec::new() };
            let (mut now, mut tat) = (0, Tat::default());
            for (wait, cost) in steps {
                now += wait * per / 5;
                let decision = rate.decide(tat, moment(now), cost);
                prop_assert_eq!(decision.allowed, model.allows(now, cost));
                prop_assert!(decision.remaining <= rate.burst());
                prop_assert!(rate.decide(decision.tat, moment(now), decision.remaining).allowed);
                prop_assert!(!rate.decide(decision.tat, moment(now), decision.remaining + 1).allowed);
                if decision.allowed {
                    tat = decision.tat;
                }
                prop_assert_eq!(rate.corrected(tat, moment(now)), None);
                let full = now + u64::try_from(decision.reset_after.as_micros()).unwrap();
                prop_assert_eq!(rate.decide(tat, moment(full), 0).remaining, rate.burst());
                if let Some(wait) = decision.retry_after {
                    let due = now + u64::try_from(wait.as_micros()).unwrap();
                    prop_assert!(rate.decide(tat, moment(due), cost).allowed);
                    prop_assert!(!rate.decide(tat, moment(due - 1), cost).allowed);
                }
            }
        }
    }
}
