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
#[error("{source}")]
pub struct Cause {
    source: Arc<dyn std::error::Error + Send + Sync>,
    /// Whether it says that the database does not answer.
    is_outage: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Reason(&'static str);
impl StoreError {
    /// An outage for a reason of our own, not the backend's.
    #[must_use]
    pub fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable(Cause::new(Reason(reason)))
    }

    /// A write refused because too many wait already: the database itself works.
    #[must_use]
    pub fn shed(reason: &'static str) -> Self {
        Self::Unavailable(Cause { is_outage: false, ..Cause::new(Reason(reason)) })
    }

    /// Whether the database failed to answer, as opposed to what it answered, or to work that was not even begun.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Unavailable(cause) if cause.is_outage)
    }

    /// Stored data that breaks a rule of ours.
    #[must_use]
    pub fn corrupt(reason: &'static str) -> Self {
        Self::Corrupt(Cause::new(Reason(reason)))
    }
}

impl Cause {
    pub(crate) fn new(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { source: Arc::new(error), is_outage: true }
    }

    /// The cause, where the database answered well and only did not do it this time.
    #[cfg_attr(not(any(feature = "sqlite", feature = "postgres")), allow(dead_code, reason = "there is no database"))]
    pub(crate) fn passing(self) -> Self {
        Self { is_outage: false, ..self }
    }
}
