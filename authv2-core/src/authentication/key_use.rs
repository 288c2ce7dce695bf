//! What API keys are used for: counted for each request, and told to whoever may read the keys.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{AuthenticationService, Standing, api_keys::READ};
use crate::{
    calendar::{Calendar, Span},
    clock::Timestamp,
    error::Result,
    metering::{Outcome, RouteClass, Verdict},
    principal::Principal,
    store::{KeyUsageRow, Uses},
};

/// What usage is added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    Hour,
    Day,
}

/// How a key was used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KeyUsage {
    /// Requests in all.
    total: i64,
    /// Served.
    allowed: i64,
    /// Refused for what the key may not do.
    denied: i64,
    /// Refused for how often it came.
    rate_limited: i64,
    /// When it was last used, up to a few seconds ago.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// From where.
    last_used_ip: Option<String>,
    /// Those in which it was used, oldest first.
    buckets: Vec<UsageBucket>,
}

/// How a key was used in an hour or a day of its organization's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsageBucket {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    start: Timestamp,
    allowed: i64,
    denied: i64,
    rate_limited: i64,
}

/// A request by an API key that is being answered. Counted when it is dropped: as allowed, unless it was
/// [`answered`](Self::answered) otherwise, since what it was to do may have been done.
#[derive(Debug)]
#[must_use = "it counts when it is dropped"]
pub struct Metered {
    auth: AuthenticationService,
    principal: Principal,
    class: RouteClass,
    outcome: Outcome,
}

impl Metered {
    /// Counts it as a request of `class` that was answered with `status`.
    pub fn answered(mut self, class: RouteClass, status: StatusCode) {
        (self.class, self.outcome) = (class, Outcome::of(status));
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.auth.count_use(&self.principal, self.class, self.outcome);
    }
}

impl AuthenticationService {
    /// Counts a request that an API key made, or a token that was issued for one, once it is answered with `status`:
    /// 401 and 403 as denied, 429 as limited, all else as allowed. Of other callers nothing is counted. `class` is what
    /// the uses of routes are told apart by.
    pub fn served(&self, principal: &Principal, class: RouteClass, status: StatusCode) {
        self.count_use(principal, class, Outcome::of(status));
    }

    /// [`served`](Self::served) for a request that is being answered: it is counted even if nobody waits for that.
    /// None for callers of which nothing is counted.
    #[must_use]
    pub fn metered(&self, principal: &Principal, class: RouteClass) -> Option<Metered> {
        principal.api_key().is_some().then(|| Metered {
            auth: self.clone(),
            principal: principal.clone(),
            class,
            outcome: Outcome::Allowed,
        })
    }

    pub(super) fn count_use(&self, principal: &Principal, class: RouteClass, outcome: Outcome) {
        if let Some(key) = principal.api_key() {
            key.meter().count(class, outcome, self.now(), principal.ip());
        }
    }

    /// Takes a request from the quota of the caller's key; no answer where some has to be drawn first. Waits for nothing,
    /// and takes no lock.
    ///
    /// # Errors
    /// [`QuotaExceeded`](crate::Code::QuotaExceeded).
    #[inline]
    pub(super) fn quota_at_hand(&self, principal: &Principal, now: Timestamp) -> Option<Result<()>> {
        let Some((key, quota)) = principal.api_key().and_then(|key| Some((key, key.record().quota?))) else {
            return Some(Ok(()));
        };
        key.meter().at_hand(quota, now).map(|verdict| self.admitted(principal, verdict))
    }

    /// [`quota_at_hand`](Self::quota_at_hand), drawing where that is needed.
    ///
    /// # Errors
    /// [`QuotaExceeded`](crate::Code::QuotaExceeded); [`InvalidToken`](crate::Code::InvalidToken) if the
    /// key has just been deleted; or an outage.
    pub(super) async fn draw_quota(&self, principal: &Principal) -> Result<()> {
        let Some((key, quota)) = principal.api_key().and_then(|key| Some((key, key.record().quota?))) else {
            return Ok(());
        };
        let verdict = self.0.metering.draw(key.meter(), quota, self.now()).await?;
        self.admitted(principal, verdict)
    }

    /// Counts a request that may not pass.
    fn admitted(&self, principal: &Principal, verdict: Verdict) -> Result<()> {
        if matches!(verdict, Verdict::Exceeded(_)) {
            self.count_use(principal, RouteClass::OTHER, Outcome::RateLimited);
        }
        verdict.require()
    }

    /// How a key of the caller's organization was used: in buckets that began in `from..to`. Without `to` until now;
    /// without `from` for a day of hours, or thirty days. What was counted in the last few seconds may be missing.
    ///
    /// # Errors
    /// As those of [`api_key`](Self::api_key).
    pub(crate) async fn key_usage(
        &self,
        standing: &Standing,
        id: &str,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        bucket: Bucket,
    ) -> Result<KeyUsage> {
        let organization = &standing.organization;
        let (record, _) = self.key_for(standing, id, &READ).await?;
        let calendar = Calendar::of(&organization.time_zone);
        let end = to.unwrap_or_else(|| self.now());
        let begin = from.unwrap_or_else(|| match bucket {
            Bucket::Hour => end - std::time::Duration::from_secs(24 * 3600),
            Bucket::Day => end - std::time::Duration::from_secs(30 * 24 * 3600),
        });
        let start = bucket.start(&calendar, begin).unwrap_or(begin);
        let rows = self.0.store.key_usage(organization.id, record.id, Span { start, end }).await?;
        let buckets = added_up(rows, |at| bucket.start(&calendar, at).unwrap_or(at));
        let mut sum = Uses::default();
        for UsageBucket { allowed, denied, rate_limited, .. } in &buckets {
            sum += Uses { allowed: *allowed, denied: *denied, rate_limited: *rate_limited };
        }
        Ok(KeyUsage {
            total: sum.allowed.saturating_add(sum.denied).saturating_add(sum.rate_limited),
            allowed: sum.allowed,
            denied: sum.denied,
            rate_limited: sum.rate_limited,
            last_used_at: record.last_used_at,
            last_used_ip: record.last_used_ip,
            buckets,
        })
    }
}

impl Bucket {
    /// When the bucket around a moment began.
    fn start(self, calendar: &Calendar, at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Hour => calendar.hour(at),
            Self::Day => calendar.day(at).map(|day| day.start),
        }
    }
}

/// Rows in the order of time, by the bucket that each is in.
fn added_up(rows: Vec<KeyUsageRow>, bucket: impl Fn(Timestamp) -> Timestamp) -> Vec<UsageBucket> {
    let mut buckets = Vec::<UsageBucket>::new();
    for KeyUsageRow { start, uses: Uses { allowed, denied, rate_limited } } in rows {
        let start = bucket(start);
        match buckets.last_mut().filter(|last| last.start == start) {
            Some(last) => {
                last.allowed = last.allowed.saturating_add(allowed);
                last.denied = last.denied.saturating_add(denied);
                last.rate_limited = last.rate_limited.saturating_add(rate_limited);
            }
            None => buckets.push(UsageBucket { start, allowed, denied, rate_limited }),
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_added_up_to_the_days_of_the_organization() {
        let at = |text: &str| Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let row =
            |start: &str, allowed| KeyUsageRow { start: at(start), uses: Uses { allowed, denied: 1, rate_limited: 0 } };
        let rows = vec![
            row("2026-10-24T21:00:00Z", 1),
            row("2026-10-24T22:00:00Z", 2),
            row("2026-10-25T22:00:00Z", 4),
            row("2026-10-25T23:00:00Z", 8),
        ];
        let calendar = Calendar::of("Europe/Vienna");
        let days = added_up(rows, |at| Bucket::Day.start(&calendar, at).unwrap());
        let found: Vec<_> = days.iter().map(|day| (day.start, day.allowed, day.denied)).collect();
        let expected = [("2026-10-23T22:00:00Z", 1, 1), ("2026-10-24T22:00:00Z", 6, 2), ("2026-10-25T23:00:00Z", 8, 1)];
        assert_eq!(found, expected.map(|(start, allowed, denied)| (at(start), allowed, denied)));
    }
}
