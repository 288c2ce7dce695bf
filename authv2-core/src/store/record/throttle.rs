//! Counters of failed attempts, and what a sign-in is judged by.

use std::time::Duration;

use super::UserRecord;
use crate::{clock::Timestamp, id::DeviceId};

/// The name of a counter of failed attempts: a keyed hash, so that the table names nobody.
pub type Bucket = [u8; 16];

/// A counter of failed attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Which.
    pub bucket: Bucket,
    /// Failures in the present window.
    pub count: i64,
    /// When the window began.
    pub window_start: Timestamp,
    /// No attempt before this.
    pub blocked_until: Timestamp,
}

/// How failures count on one counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketRule {
    /// Which counter.
    pub bucket: Bucket,
    /// Failures allowed in a window.
    pub limit: i64,
    /// The window.
    pub window: Duration,
    /// The first wait once the limit is reached; it doubles with each failure after that.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
}

impl BucketRule {
    /// How long no further attempt is allowed once `count` have failed; none below the limit.
    #[must_use]
    pub fn wait_after(&self, count: i64) -> Option<Duration> {
        let over = u32::try_from(count.checked_sub(self.limit)?).ok()?;
        let factor = 1_u32.checked_shl(over).unwrap_or(u32::MAX);
        Some(self.first_wait.saturating_mul(factor).min(self.longest_wait)).filter(|wait| !wait.is_zero())
    }
}

/// What to look up to judge a sign-in.
#[derive(Debug, Clone)]
pub struct SignInQuery {
    /// The e-mail in its comparison form.
    pub email_key: String,
    /// The network of the caller.
    pub network: Option<String>,
    /// What the caller signs in on, as devices are compared.
    pub device: Option<String>,
    /// The device that the caller's cookie names, whose signature was good.
    pub presented: Option<DeviceId>,
    /// A sign-in from there after this makes the pair a known one; likewise for the device.
    pub known_since: Timestamp,
    /// The counters to read.
    pub buckets: Vec<Bucket>,
}

/// What a sign-in is judged by.
#[derive(Debug, Clone)]
pub struct SignInFacts {
    /// The user, if the e-mail has one.
    pub user: Option<UserRecord>,
    /// Whether it signed in from this network lately.
    pub known_network: bool,
    /// Whether it signed in on others lately and not on this device.
    pub new_device: bool,
    /// The device that the cookie names, if the user is known on it.
    pub known_device: Option<DeviceId>,
    /// The counters that exist.
    pub attempts: Vec<Attempts>,
}
