//! How many sessions there are, where and on what, and how long they last.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use tokio::{sync::Mutex, time::Instant};

use super::{SessionError, SessionService, service::Inner};
use crate::{
    clock::Timestamp,
    id::OrgId,
    store::{DeviceKind, LiveSessions, SessionPeak, StoreError},
    telemetry,
};

/// The most organizations that are told of.
const ORGANIZATIONS: usize = 100;
/// A count serves everybody who asks within this time, and one is taken at a time: it reads every live session.
const REMEMBERED: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const MINUTES_OF_A_DAY: u32 = 24 * 60;

/// The sessions of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct SessionAnalytics {
    /// How many are live.
    pub active: i64,
    /// The most that were live at a time, counted once a minute.
    pub peak: i64,
    /// The median time from sign-in to the end, or to the last use where a session ran out; of those that ended, none
    /// if none did.
    pub median_seconds: Option<u64>,
    /// The live ones by kind of device.
    #[schema(value_type = BTreeMap<String, i64>)]
    pub by_device: BTreeMap<DeviceKind, i64>,
    /// The live ones by organization: the hundred with the most. Those in none are left out.
    #[schema(value_type = BTreeMap<String, i64>)]
    pub by_organization: BTreeMap<OrgId, i64>,
}

/// Spans of which each has a peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Hours.
    Hour,
    /// Days, in UTC.
    Day,
}

/// The latest count of this node, and over how many days.
#[derive(Debug, Default)]
pub(super) struct Counted(Mutex<Option<(Instant, u32, SessionAnalytics)>>);

impl SessionService {
    /// The sessions of the deployment; `days` is how far back peak and median look. Peaks are kept for 90 days, ended
    /// sessions for seven.
    ///
    /// # Errors
    /// The store's.
    pub async fn analytics(&self, days: u32) -> Result<SessionAnalytics, SessionError> {
        let mut counted = self.0.counted.0.lock().await;
        if let Some((at, of_days, analytics)) = &*counted
            && *of_days == days
            && at.elapsed() < REMEMBERED
        {
            return Ok(analytics.clone());
        }
        let Inner { store, clock, .. } = &*self.0;
        let (begun, now) = (Instant::now(), clock.now());
        let since = now - DAY * days;
        let live = store.live_sessions(now).await?;
        let peaks = store.session_peaks(minute_of(since), MINUTES_OF_A_DAY).await?;
        let median = store.median_session(since, now).await?;
        let analytics = tell(&live, &peaks, median);
        *counted = Some((begun, days, analytics.clone()));
        Ok(analytics)
    }

    /// The most sessions that were live at a time, by hour or by day, over the last `days` (at most 90 are kept).
    ///
    /// # Errors
    /// The store's.
    pub async fn peaks(&self, days: u32, span: Span) -> Result<Vec<(Timestamp, i64)>, SessionError> {
        let width = match span {
            Span::Hour => 60,
            Span::Day => MINUTES_OF_A_DAY,
        };
        let since = minute_of(self.0.clock.now() - DAY * days);
        let peaks = self.0.store.session_peaks(since, width).await?;
        Ok(peaks
            .into_iter()
            .map(|peak| (Timestamp::from_seconds(peak.start.saturating_mul(60)), peak.active))
            .collect())
    }

    /// Counts the live sessions for this minute, unless another node does, and exports the latest count there is.
    ///
    /// # Errors
    /// The store's; then the minute has no sample.
    pub(crate) async fn sample(&self) -> Result<(), StoreError> {
        let Inner { store, clock, .. } = &*self.0;
        let now = clock.now();
        if store.claim_session_sample(minute_of(now)).await? {
            let live = store.live_sessions(now).await?;
            store.note_session_sample(minute_of(now), total(&live)).await?;
        }
        if let Some(active) = store.last_session_sample().await? {
            telemetry::sessions_active(active);
        }
        Ok(())
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_seconds().div_euclid(60)
}

fn total(live: &[LiveSessions]) -> i64 {
    live.iter().map(|row| row.count).sum()
}

fn tell(live: &[LiveSessions], peaks: &[SessionPeak], median: Option<Duration>) -> SessionAnalytics {
    let active = total(live);
    let (mut by_device, mut organizations) = (BTreeMap::new(), BTreeMap::<OrgId, i64>::new());
    for row in live {
        *by_device.entry(row.device).or_default() += row.count;
        if let Some(organization) = row.organization {
            *organizations.entry(organization).or_default() += row.count;
        }
    }
    let mut largest: Vec<(OrgId, i64)> = organizations.into_iter().collect();
    largest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    largest.truncate(ORGANIZATIONS);
    SessionAnalytics {
        active,
        peak: peaks.iter().map(|peak| peak.active).fold(active, i64::max),
        median_seconds: median.map(|median| median.as_secs()),
        by_device,
        by_organization: largest.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_by_device_and_names_the_largest_organizations() {
        let row = |device, organization, count| LiveSessions { device, organization, count };
        let large: Vec<OrgId> = (0..ORGANIZATIONS).map(|_| OrgId::new()).collect();
        let small = OrgId::new();
        let mut live: Vec<LiveSessions> =
            large.iter().map(|organization| row(DeviceKind::Desktop, Some(*organization), 2)).collect();
        live.push(row(DeviceKind::Mobile, Some(small), 1));
        live.push(row(DeviceKind::Mobile, Some(large[0]), 3));
        live.push(row(DeviceKind::Other, None, 7));
        let found = tell(&live, &[SessionPeak { start: 0, active: 5 }], Some(Duration::from_millis(2_700)));
        assert_eq!((found.active, found.peak, found.median_seconds), (211, 211, Some(2)));
        let devices = [(DeviceKind::Desktop, 200), (DeviceKind::Mobile, 4), (DeviceKind::Other, 7)];
        assert_eq!(found.by_device, devices.into());
        assert_eq!(found.by_organization.len(), ORGANIZATIONS);
        assert_eq!((found.by_organization[&large[0]], found.by_organization.get(&small)), (5, None));
        let busier = tell(&live, &[SessionPeak { start: 0, active: 500 }], None);
        assert_eq!((busier.peak, busier.median_seconds), (500, None));
    }
}
