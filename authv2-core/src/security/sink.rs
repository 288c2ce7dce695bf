//! Whom security events are told to, besides the store.

use std::fmt;

use async_trait::async_trait;

use super::SecurityEvent;

/// An event could not be delivered.
#[derive(Debug, thiserror::Error)]
#[error("the event could not be delivered: {reason}")]
pub struct SinkError {
    reason: &'static str,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SinkError {
    /// For whoever delivers elsewhere. `reason` is logged.
    #[must_use]
    pub fn new(reason: &'static str) -> Self {
        Self { reason, source: None }
    }

    /// With what it came from.
    #[must_use]
    pub fn because(reason: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { reason, source: Some(Box::new(source)) }
    }
}

/// Receives security events: a SIEM, a pager, a queue. Given to [`Builder::security_event_sink`].
///
/// It is called from a task of its own, one event after the other, never by the request that an event tells of. While it
/// is slow its events wait in a bounded queue, and are dropped beyond that; the store has them all the same. What it cannot
/// deliver it may be given again: an event is known by its id.
///
/// [`Builder::security_event_sink`]: crate::authentication::Builder::security_event_sink
#[async_trait]
pub trait SecurityEventSink: Send + Sync + fmt::Debug {
    /// Whether it is to be given an event: what it does not want takes no room in its queue. Asked by whoever tells of
    /// the event, so it must not wait. By default it wants all.
    fn wants(&self, event: &SecurityEvent) -> bool {
        let _ = event;
        true
    }

    /// Delivers one event.
    ///
    /// # Errors
    /// [`SinkError`] if it is not delivered: it is told in the log, and not tried again by the caller.
    async fn deliver(&self, event: &SecurityEvent) -> Result<(), SinkError>;
}
