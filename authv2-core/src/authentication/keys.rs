//! The signing keys at hand, and when they are to be read again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use super::AuthenticationService;
use crate::{
    changes::{Change, Listener},
    clock::Timestamp,
    error::{Error, Result},
    jwt::{Jwks, jwks_lag},
};

/// While other nodes' changes cannot be read, the keys are read again after so long.
const DISTRUST: Duration = Duration::from_secs(1);
/// How much later than it was made a key may have come into the store: the longest that a write takes, and clocks
/// apart.
const COMMIT: Duration = Duration::from_secs(120);

/// Whether the keys at hand are those of the store.
#[derive(Debug)]
pub(super) struct KeyWatch {
    /// How many changes were heard of.
    heard: Arc<Heard>,
    /// How many of them the keys at hand include.
    included: AtomicU64,
    /// Held by the one who reads; when that was last done.
    read: Mutex<Instant>,
}

/// Counts the changes of signing keys.
#[derive(Debug, Default)]
pub(super) struct Heard(AtomicU64);

impl KeyWatch {
    /// For keys that are read after this is made.
    pub(super) fn new() -> Self {
        Self { heard: Arc::default(), included: AtomicU64::new(0), read: Mutex::new(Instant::now()) }
    }

    /// What hears of changes.
    pub(super) fn listener(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    fn is_current(&self) -> bool {
        self.included.load(Ordering::Acquire) == self.heard.0.load(Ordering::Acquire)
    }
}

impl Listener for Heard {
    fn apply(&self, change: &Change) {
        if matches!(change, Change::SigningKeysChanged | Change::Everything) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl AuthenticationService {
    /// The public keys that verify this deployment's tokens at present, and how long they may be kept.
    ///
    /// # Errors
    /// An outage, where the keys have changed and cannot be read.
    pub async fn published_keys(&self) -> Result<(Jwks, Duration)> {
        self.current_keys().await?;
        let tokens = &self.0.config.tokens;
        let most = jwks_lag(tokens.jwks_max_age, self.0.config.changes.max_staleness);
        if self.0.feed.health().lag.is_some_and(|lag| lag > most) {
            let asked = Instant::now();
            let read = self.0.keys.read.lock().await;
            // One reading serves all who asked before it: those who verify and sign wait behind them.
            if *read < asked {
                self.read_keys(read).await?;
            }
        }
        let (keys, now) = (self.0.jwt.keys(), self.now());
        Ok((keys.jwks(now), tokens.jwks_max_age.min(keys.jwks_max_age(now))))
    }

    /// Whether the signing keys at hand are those of the store, as far as the feed tells.
    pub(crate) fn keys_are_current(&self) -> bool {
        self.0.keys.is_current()
    }

    /// Reads the signing keys if they have changed, or may have while nobody could say so. Returns once they are those
    /// of a moment after this was called.
    pub(super) async fn current_keys(&self) -> Result<()> {
        let is_stale = self.0.feed.is_stale();
        if self.0.keys.is_current() && !is_stale {
            return Ok(());
        }
        let read = self.0.keys.read.lock().await;
        // Somebody else may have read them while this one waited.
        if self.0.keys.is_current() && (!is_stale || read.elapsed() < DISTRUST) {
            return Ok(());
        }
        self.read_keys(read).await
    }

    /// Reads the signing keys again if one that was made at that moment may be missing at hand. `false` if it would be
    /// there.
    pub(super) async fn look_for_key(&self, made_at: Timestamp) -> Result<bool> {
        let asked = Instant::now();
        let read = self.0.keys.read.lock().await;
        if *read >= asked {
            return Ok(true);
        }
        if made_at + COMMIT < self.now() - read.elapsed() {
            return Ok(false);
        }
        self.read_keys(read).await.map(|()| true)
    }

    async fn read_keys(&self, mut read: tokio::sync::MutexGuard<'_, Instant>) -> Result<()> {
        let begun = Instant::now();
        // What is heard of from here on may not be in what is read.
        let heard = self.0.keys.heard.0.load(Ordering::Acquire);
        let records = self.0.store.signing_keys().await?;
        self.0.jwt.reload(&records).map_err(Error::internal)?;
        self.0.keys.included.store(heard, Ordering::Release);
        *read = begun;
        Ok(())
    }
}
