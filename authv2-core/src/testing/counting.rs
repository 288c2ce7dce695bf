//! Counting what a service asks of its store.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::store::StoreError;
pub use crate::store::{Intercepted, Interceptor};

/// Counts calls by verb.
#[derive(Debug, Default)]
pub struct Counter(Mutex<BTreeMap<&'static str, u64>>);

impl Counter {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All calls since the last time, by verb.
    #[must_use]
    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.counts())
    }
}

impl Interceptor for Counter {
    async fn around<T: Send>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        *self.counts().entry(verb).or_default() += 1;
        call.await
    }
}
