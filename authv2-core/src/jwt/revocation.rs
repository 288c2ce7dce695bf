//! Access tokens that were revoked one by one, as far as this node knows: kept right by the change feed.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::Instant};

use crate::{
    changes::{Change, Listener},
    clock::Timestamp,
    id::TokenId,
};

/// Beyond their end revoked tokens are remembered for so long: the clocks of nodes may differ a little.
pub(crate) const KEEP_EXPIRED: Duration = Duration::from_secs(300);

/// The most that are kept in memory, which takes some 8 MB. With more, the store is asked for each token.
const MOST: usize = 100_000;

/// How long after there were too many they are read again: some have expired by then.
const PATIENCE: Duration = Duration::from_secs(60);

/// The revoked tokens that this node knows of, and whether those are all.
#[derive(Debug)]
pub(crate) struct RevokedTokens {
    most: usize,
    known: RwLock<Known>,
    /// All are known, and there are none: what most deployments have most of the time.
    is_quiet: AtomicBool,
    /// Held by the one who reads them from the store.
    pub(crate) reading: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// Until when each would have lived.
    tokens: HashMap<TokenId, Timestamp>,
    is_whole: bool,
    /// How often some may have been lost.
    losses: u64,
    /// They are not to be read before.
    read_again: Option<Instant>,
}

/// What memory says of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is revoked.
    Revoked,
    /// It is not.
    Good,
    /// Not all that are revoked are known here: the store has to be asked.
    Unknown,
}

/// A reading of the store under way.
#[derive(Debug)]
pub(crate) struct Reading {
    losses: u64,
}

impl RevokedTokens {
    /// Knows of none yet, nor that there are none.
    pub(crate) fn new() -> Self {
        Self::with_room_for(MOST)
    }

    fn with_room_for(most: usize) -> Self {
        Self { most, known: RwLock::default(), is_quiet: AtomicBool::new(false), reading: Mutex::new(()) }
    }

    /// Whether a token is revoked, as far as is known here.
    pub(crate) fn judge(&self, token: TokenId) -> Verdict {
        if self.is_quiet.load(Ordering::Acquire) {
            return Verdict::Good;
        }
        let known = self.read();
        if known.tokens.contains_key(&token) {
            Verdict::Revoked
        } else if known.is_whole {
            Verdict::Good
        } else {
            Verdict::Unknown
        }
    }

    /// Whether every revoked token is known here.
    pub(crate) fn is_whole(&self) -> bool {
        self.read().is_whole
    }

    /// How many rows are worth reading: with one more than there is room for, there are too many.
    pub(crate) fn limit(&self) -> u32 {
        u32::try_from(self.most).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Begins to read them from the store, if that is due. What is heard of meanwhile is not lost.
    pub(crate) fn begin(&self, now: Instant) -> Option<Reading> {
        let known = self.read();
        let is_due = !known.is_whole && known.read_again.is_none_or(|at| at <= now);
        is_due.then_some(Reading { losses: known.losses })
    }

    /// Takes what was read.
    pub(crate) fn finish(&self, reading: &Reading, stored: Vec<(TokenId, Timestamp)>, now: Instant) {
        let mut known = self.write();
        if stored.len() > self.most {
            known.read_again = Some(now + PATIENCE);
            return;
        }
        for (token, expires_at) in stored {
            self.add(&mut known, token, expires_at);
        }
        // What was lost while they were read may be in neither.
        known.is_whole = known.losses == reading.losses;
        self.is_quiet.store(known.is_whole && known.tokens.is_empty(), Ordering::Release);
    }

    /// Forgets those that expired before a moment.
    pub(crate) fn forget_expired(&self, before: Timestamp) {
        let mut known = self.write();
        known.tokens.retain(|_, expires_at| *expires_at >= before);
        self.is_quiet.store(known.is_whole && known.tokens.is_empty(), Ordering::Release);
    }

    fn add(&self, known: &mut Known, token: TokenId, expires_at: Timestamp) {
        self.is_quiet.store(false, Ordering::Release);
        if known.tokens.len() >= self.most && !known.tokens.contains_key(&token) {
            known.lose_all();
            known.read_again = Some(Instant::now() + PATIENCE);
        }
        known.tokens.insert(token, expires_at);
    }

    /// Nothing can panic while the lock is held, so a poisoned one is as good as any.
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn lose_all(&mut self) {
        self.tokens.clear();
        self.is_whole = false;
        self.losses += 1;
    }
}

impl Listener for RevokedTokens {
    fn apply(&self, change: &Change) {
        match *change {
            Change::TokenRevoked { token, expires_at } => self.add(&mut self.write(), token, expires_at),
            Change::Everything => {
                let mut known = self.write();
                self.is_quiet.store(false, Ordering::Release);
                known.lose_all();
                known.read_again = None;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn revoke(tokens: &RevokedTokens) -> TokenId {
        let token = TokenId::new();
        tokens.apply(&Change::TokenRevoked { token, expires_at: END });
        token
    }

    fn load(tokens: &RevokedTokens, stored: Vec<(TokenId, Timestamp)>) {
        let reading = tokens.begin(Instant::now()).unwrap();
        tokens.finish(&reading, stored, Instant::now());
    }

    #[test]
    fn nobody_is_called_good_before_all_are_known() {
        let tokens = RevokedTokens::new();
        let (heard, stored) = (revoke(&tokens), TokenId::new());
        assert_eq!(tokens.judge(heard), Verdict::Revoked);
        assert_eq!(tokens.judge(stored), Verdict::Unknown);
        load(&tokens, vec![(stored, END)]);
        for revoked in [heard, stored] {
            assert_eq!(tokens.judge(revoked), Verdict::Revoked);
        }
        assert_eq!(tokens.judge(TokenId::new()), Verdict::Good);
        assert!(tokens.begin(Instant::now()).is_none(), "there is nothing to read");
    }

    #[test]
    fn a_reading_that_may_have_missed_something_is_not_the_whole() {
        let tokens = RevokedTokens::new();
        let reading = tokens.begin(Instant::now()).unwrap();
        tokens.apply(&Change::Everything);
        tokens.finish(&reading, Vec::new(), Instant::now());
        assert_eq!(tokens.judge(TokenId::new()), Verdict::Unknown);
        load(&tokens, Vec::new());
        assert_eq!(tokens.judge(TokenId::new()), Verdict::Good);
    }

    #[test]
    fn one_that_is_heard_of_while_they_are_read_counts() {
        let tokens = RevokedTokens::new();
        let reading = tokens.begin(Instant::now()).unwrap();
        let heard = revoke(&tokens);
        tokens.finish(&reading, Vec::new(), Instant::now());
        assert_eq!(tokens.judge(heard), Verdict::Revoked);
    }

    #[tokio::test(start_paused = true)]
    async fn with_too_many_of_them_the_store_has_to_be_asked() {
        let tokens = RevokedTokens::with_room_for(2);
        load(&tokens, Vec::new());
        let first = revoke(&tokens);
        revoke(&tokens);
        assert_eq!(tokens.judge(TokenId::new()), Verdict::Good);
        let third = revoke(&tokens);
        assert_eq!(tokens.judge(first), Verdict::Unknown);
        assert_eq!(tokens.judge(third), Verdict::Revoked);
        assert!(tokens.begin(Instant::now()).is_none(), "not with each request");
        tokio::time::advance(PATIENCE).await;
        load(&tokens, vec![(TokenId::new(), END); 3]);
        assert_eq!(tokens.judge(first), Verdict::Unknown, "still too many");
        tokio::time::advance(PATIENCE).await;
        load(&tokens, vec![(first, END)]);
        assert_eq!(tokens.judge(first), Verdict::Revoked);
        assert_eq!(tokens.judge(TokenId::new()), Verdict::Good);
    }

    #[test]
    fn the_expired_take_no_memory() {
        let tokens = RevokedTokens::new();
        load(&tokens, Vec::new());
        revoke(&tokens);
        tokens.forget_expired(END);
        assert_eq!(tokens.read().tokens.len(), 1);
        tokens.forget_expired(END + Duration::from_micros(1));
        assert_eq!(tokens.read().tokens.len(), 0);
        assert!(tokens.is_quiet.load(Ordering::Acquire));
    }
}
