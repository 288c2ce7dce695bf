//! What runs beside the requests: writing behind, purging, keeping time. Ends with the last handle to the service.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use super::{Inner, devices::DEVICE_LIFE, signing_keys};
use crate::{
    clock::Clock,
    jwt::KEEP_EXPIRED,
    store::{KEEP_DEAD_SESSIONS, PurgeBefore, SharedStore, StoreError},
};

/// At most this much of `last_seen_at`, of the statistics of decisions and of the uses of keys is lost in a crash.
const WRITE_BEHIND: Duration = Duration::from_secs(5);
/// How often the clock is set by the database's.
const FOLLOW_CLOCK: Duration = Duration::from_secs(60);
/// How often a node looks for attacks that others found.
const WATCH: Duration = Duration::from_secs(5);
const PURGE: Duration = Duration::from_secs(600);
/// How often a node looks whether the uses of keys are to be added up by day.
const TEND_USAGE: Duration = Duration::from_secs(3600);
/// Counters and changes older than this mean nothing to anybody anymore.
const KEEP_COUNTERS: Duration = Duration::from_secs(24 * 3600);
const KEEP_CHANGES: Duration = Duration::from_secs(24 * 3600);
/// How long a token that holds no longer keeps what it knew in memory, at most.
const SWEEP_TOKENS: Duration = Duration::from_secs(5);
/// How long the counts of rate limits may take memory after a flood.
const SWEEP_LIMITS: Duration = Duration::from_secs(30);
/// How often the live sessions are counted, and how long those numbers are kept.
const COUNT_SESSIONS: Duration = Duration::from_secs(60);
const KEEP_SAMPLES: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long a used proof is remembered after it has become too old: nodes need not agree on the time to the second.
const KEEP_PROOFS: Duration = Duration::from_secs(60);

pub(super) fn start(inner: &Arc<Inner>) {
    repeat(inner, WRITE_BEHIND, "write behind", |inner| async move {
        inner.sessions.write_behind().await.map_err(|error| match error {
            crate::session::SessionError::Store(error) => error,
            _ => StoreError::unavailable("the last uses of sessions were not written"),
        })
    });
    repeat(inner, SWEEP_TOKENS, "sweep tokens", |inner| async move {
        inner.sweep_tokens();
        inner.sweep_api_keys();
        inner.sweep_cookies();
        Ok(())
    });
    repeat(inner, SWEEP_LIMITS, "sweep limits", |inner| async move {
        inner.limiter.sweep();
        Ok(())
    });
    repeat(inner, COUNT_SESSIONS, "count live sessions", |inner| async move { inner.sessions.sample().await });
    repeat(inner, WRITE_BEHIND, "write statistics of decisions", |inner| async move {
        for probe in inner.permissions.take_bursts() {
            inner.monitor.probed(probe);
        }
        inner.permissions.write_behind().await
    });
    repeat(inner, WRITE_BEHIND, "write the uses of keys", |inner| async move {
        inner.metering.write_behind(inner.clock.now()).await
    });
    repeat(inner, TEND_USAGE, "tend the uses of keys", |inner| async move {
        let usage = &inner.config.usage;
        inner.metering.tend(inner.clock.now(), (usage.keep_hours, usage.keep_days)).await
    });
    repeat(inner, WATCH, "watch over sign-ins", |inner| async move { inner.monitor.tick().await });
    repeat(inner, FOLLOW_CLOCK, "follow the database's clock", |inner| async move {
        follow_clock(&inner.store, &*inner.clock).await
    });
    signing_keys::tend(inner);
    repeat(inner, PURGE, "purge", |inner| async move {
        let now = inner.clock.now();
        let before = PurgeBefore {
            sessions: now - KEEP_DEAD_SESSIONS,
            networks: now - inner.config.throttle.known_network_ttl,
            devices: now - DEVICE_LIFE,
            counters: now - KEEP_COUNTERS,
            changes: now - KEEP_CHANGES,
            samples: now - KEEP_SAMPLES,
            tokens: now - KEEP_EXPIRED,
            proofs: now - KEEP_PROOFS,
            challenges: now,
            events: now - inner.config.security.keep_events,
        };
        inner.revoked.forget_expired(before.tokens);
        while inner.store.purge(before).await? > 0 {}
        Ok(())
    });
}

/// Sets the clock by the database's, unless its answer took so long that nobody knows when it was true.
pub(super) async fn follow_clock(store: &SharedStore, clock: &dyn Clock) -> Result<(), StoreError> {
    /// How far nodes may be apart.
    const PRECISION: Duration = Duration::from_millis(500);
    /// At a start there may be no better answer.
    const TRIES: u32 = 3;
    let mut asked = 0;
    loop {
        let begun = Instant::now();
        let truth = store.now().await?;
        let took = begun.elapsed();
        asked += 1;
        if took <= PRECISION || asked == TRIES {
            clock.follow(truth + took / 2);
            return Ok(());
        }
    }
}

/// Does `work` once every `period`. A failure is told and tried again the next time.
fn repeat<F>(inner: &Arc<Inner>, period: Duration, name: &'static str, work: fn(Arc<Inner>) -> F)
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let service: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(period).await;
            let Some(inner) = service.upgrade() else { return };
            if let Err(error) = work(inner).await {
                tracing::warn!(task = name, %error, "will be tried again");
            }
        }
    });
}
