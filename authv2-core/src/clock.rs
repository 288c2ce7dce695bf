//! Injected time: one notion of "now" that tests can move and nodes can share.

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

/// A moment: microseconds since the Unix epoch, UTC. Written as RFC 3339 in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Later than every moment that a clock shows.
    pub const MAX: Self = Self(i64::MAX);

    /// The moment `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The moment `seconds` seconds after the Unix epoch (a JWT's NumericDate), saturating.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    #[inline]
    fn micros_of(duration: Duration) -> i64 {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        seconds.saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(Self::micros_of(duration)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(Self::micros_of(duration)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(at) => at.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where "now" comes from. Every deadline, expiry and audit entry is judged by it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// The present moment for one who has just read the monotonic clock, and found `instant`. Reading a clock costs more
    /// than most of what is done with it.
    fn now_at(&self, _instant: Instant) -> Timestamp {
        self.now()
    }

    /// Takes the time of the shared database as the true one, so that all nodes agree. A clock may ignore it.
    fn follow(&self, _truth: Timestamp) {}
}

/// The system's clock, monotonic between corrections: it counts from an anchor with [`Instant`]. On one machine the
/// correction is the wall clock itself, so a step of it is followed within a minute; with a shared database, the
/// database's.
#[derive(Debug)]
pub struct SystemClock {
    anchor: Instant,
    /// Unix time in microseconds at `anchor`.
    base: AtomicI64,
}

impl SystemClock {
    /// A clock anchored at the system's present wall time.
    #[must_use]
    pub fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { anchor: Instant::now(), base: AtomicI64::new(Timestamp::micros_of(wall)) }
    }

    /// The system's wall time, as a truth to follow on a single machine.
    #[must_use]
    pub fn wall() -> Timestamp {
        Self::new().now()
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.now_at(Instant::now())
    }

    #[inline]
    fn now_at(&self, instant: Instant) -> Timestamp {
        Timestamp(self.base.load(Ordering::Relaxed)) + instant.saturating_duration_since(self.anchor)
    }

    fn follow(&self, truth: Timestamp) {
        self.base.store((truth - self.anchor.elapsed()).0, Ordering::Relaxed);
    }
}

/// A clock that stands still until a test moves it.
#[cfg(any(test, feature = "testing"))]
#[derive(Debug)]
pub struct FakeClock(AtomicI64);

#[cfg(any(test, feature = "testing"))]
impl FakeClock {
    /// A clock that says `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(Timestamp::micros_of(by), Ordering::SeqCst);
    }
}

#[cfg(any(test, feature = "testing"))]
impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_rfc_3339_in_utc() {
        let at = Timestamp::from_micros(1_700_000_000_123_456);
        assert_eq!(serde_json::to_string(&at).unwrap(), "\"2023-11-14T22:13:20.123456Z\"");
    }

    #[test]
    fn follows_the_truth_it_is_given() {
        let clock = SystemClock::new();
        clock.follow(Timestamp::from_seconds(1_000));
        assert!(clock.now().since(Timestamp::from_seconds(1_000)) < Duration::from_secs(5));
    }

    #[test]
    fn tells_the_time_of_a_moment_that_was_read_elsewhere() {
        let (clock, instant) = (SystemClock::new(), Instant::now());
        let now = clock.now_at(instant);
        assert_eq!(clock.now_at(instant + Duration::from_millis(2_500)), now + Duration::from_millis(2_500));
        assert!(now <= clock.now());
    }

    #[test]
    fn the_longest_time_is_no_moment_in_the_past() {
        assert_eq!(Timestamp::from_micros(1) + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::from_micros(5) + Duration::from_nanos(1_999), Timestamp::from_micros(6));
    }
}
