//! The error of every store: what went wrong, without what the backend calls it.

use std::sync::Arc;

/// A store could not do what it was asked. The backend's own error is kept as the source.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A constraint of the database refused the write.
    #[error("the write conflicts with what is stored")]
    Conflict(#[source] Cause),
    /// The database did not answer, is full, or gave up on the transaction. Trying again may help.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// What is stored does not make sense.
    #[error("the stored data is corrupt")]
    Corrupt(#[source] Cause),
}

/// The backend's error behind a [`StoreError`].
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(&'static str);

impl StoreError {
    /// An outage for a reason of our own, not the backend's.
    #[must_use]
    pub fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable(Cause::new(Reason(reason)))
    }

    /// Stored data that breaks a rule of ours.
    #[must_use]
    pub fn corrupt(reason: &'static str) -> Self {
        Self::Corrupt(Cause::new(Reason(reason)))
    }
}

impl Cause {
    pub(crate) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}
