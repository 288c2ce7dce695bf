//! Counts on their way to the store, in batches that are added once each.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use uuid::Uuid;

use crate::{
    clock::Timestamp,
    id::{KeyId, OrgId},
    store::{KeyCount, KeyUsageBatch, KeyUse, Uses},
};

/// The most rows in one write: it must not keep other writers waiting.
const ROWS: usize = 100;
/// The most rows kept while they cannot be written.
const KEPT_ROWS: usize = 64 * 1024;

/// What waits to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    counts: BTreeMap<(OrgId, KeyId, Timestamp, &'static str), Uses>,
    uses: HashMap<KeyId, (OrgId, Timestamp, Option<IpAddr>)>,
    /// What was sent and not acknowledged: it may have been written, so it is sent again as it was.
    sent: Option<KeyUsageBatch>,
    lost: i64,
}

impl Pending {
    /// Adds a count.
    pub(super) fn count(
        &mut self,
        organization: OrgId,
        key: KeyId,
        quarter: Timestamp,
        route: &'static str,
        uses: Uses,
    ) {
        let row = (organization, key, quarter, route);
        if self.counts.len() < KEPT_ROWS || self.counts.contains_key(&row) {
            *self.counts.entry(row).or_default() += uses;
        } else {
            self.lost += uses.allowed + uses.denied + uses.rate_limited;
        }
    }

    /// Notes a last use.
    pub(super) fn used(&mut self, organization: OrgId, key: KeyId, at: Timestamp, ip: Option<IpAddr>) {
        if self.uses.len() < KEPT_ROWS || self.uses.contains_key(&key) {
            self.uses.insert(key, (organization, at, ip));
        }
    }

    /// The next batch: the one that was sent before, as long as it has not been [`written`](Self::written).
    pub(super) fn next(&mut self, now: Timestamp) -> Option<KeyUsageBatch> {
        if self.lost > 0 {
            tracing::warn!(
                requests = self.lost,
                "counts of key uses were lost: they could not be written for too long"
            );
            self.lost = 0;
        }
        if self.sent.is_none() && !self.counts.is_empty() {
            self.sent = Some(KeyUsageBatch { id: Uuid::now_v7(), at: now, counts: self.rows() });
        }
        self.sent.clone()
    }

    /// Takes the last uses, at most so many at a time. What becomes of them is a statistic: none comes back.
    pub(super) fn take_uses(&mut self) -> Vec<KeyUse> {
        let keys: Vec<KeyId> = self.uses.keys().take(ROWS).copied().collect();
        let used = |(key, (organization, used_at, ip)): (KeyId, (OrgId, Timestamp, Option<IpAddr>))| KeyUse {
            organization,
            key,
            used_at,
            ip: ip.map(|ip| ip.to_canonical().to_string()),
        };
        keys.into_iter().filter_map(|key| self.uses.remove_entry(&key)).map(used).collect()
    }

    /// The last batch is in the store.
    pub(super) fn written(&mut self) {
        self.sent = None;
    }

    fn rows(&mut self) -> Vec<KeyCount> {
        let mut rows = Vec::new();
        while rows.len() < ROWS {
            let Some(((organization, key, quarter, route), uses)) = self.counts.pop_first() else { break };
            rows.push(KeyCount { organization, key, quarter, route, uses });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Uses = Uses { allowed: 1, denied: 0, rate_limited: 0 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn a_batch_stays_the_same_until_it_is_written() {
        let (mut pending, organization, key) = (Pending::default(), OrgId::new(), KeyId::new());
        pending.count(organization, key, at(0), "other", ONE);
        let first = pending.next(at(1)).unwrap();
        pending.count(organization, key, at(0), "other", ONE);
        let again = pending.next(at(9)).unwrap();
        assert_eq!((again.id, again.counts), (first.id, first.counts));
        pending.written();
        let second = pending.next(at(9)).unwrap();
        assert_ne!(second.id, first.id);
        assert_eq!(second.counts[0].uses, ONE);
        pending.written();
        assert!(pending.next(at(9)).is_none());
    }

    #[test]
    fn batches_are_small_and_hold_everything() {
        let (mut pending, organization) = (Pending::default(), OrgId::new());
        for _ in 0..250 {
            let key = KeyId::new();
            pending.count(organization, key, at(0), "other", ONE);
            pending.used(organization, key, at(5), None);
        }
        let mut sizes = Vec::new();
        while let Some(batch) = pending.next(at(1)) {
            sizes.push((batch.counts.len(), pending.take_uses().len()));
            pending.written();
        }
        assert_eq!(sizes, [(100, 100), (100, 100), (50, 50)]);
    }

    #[test]
    fn rows_that_nobody_takes_stay_within_bounds() {
        let (mut pending, organization, key) = (Pending::default(), OrgId::new(), KeyId::new());
        for quarter in 0..70_000 {
            pending.count(organization, key, at(quarter * 900), "other", ONE);
        }
        assert_eq!((pending.counts.len(), pending.lost), (KEPT_ROWS, 70_000 - 65_536));
        pending.count(organization, key, at(0), "other", ONE);
        assert_eq!(pending.lost, 70_000 - 65_536, "what is kept already goes on counting");
    }
}
