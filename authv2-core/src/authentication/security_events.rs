//! Who may see security events, and watching them.

use std::time::Duration;

use tokio::{
    sync::{OwnedSemaphorePermit, broadcast, watch},
    time::{Instant, sleep_until},
};

use super::{AuthenticationService, Requirement};
use crate::{
    changes::Change,
    clock::Timestamp,
    error::{Code, Error, Result},
    id::{EventId, SessionId},
    principal::Principal,
    security::{Position, SecurityEvent},
    store::{EventQuery, StoredEvent, UserStatus},
};

/// How often a watch looks for events of other nodes.
const LOOK: Duration = Duration::from_secs(1);
/// How many events it reads at a time.
const PAGE: u32 = 100;

/// A watch over security events, as long as its caller may see them.
pub(crate) struct EventWatch {
    auth: AuthenticationService,
    session: SessionId,
    until: Timestamp,
    position: Position,
    written: watch::Receiver<()>,
    changes: broadcast::Receiver<Change>,
}

impl AuthenticationService {
    /// Security events, newest first.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] for whoever does not administer the platform, or an outage.
    pub(crate) async fn security_events(&self, principal: &Principal, query: EventQuery) -> Result<Vec<StoredEvent>> {
        Requirement::PlatformAdmin.check(Some(principal), self.now())?;
        Ok(self.0.store.security_events(query).await?)
    }

    /// Waits a moment until what the security monitor has noticed on this node is written.
    pub async fn flush_events(&self) {
        self.0.monitor.flush().await;
    }

    /// Watches security events from now on, or from `after` one: of one that is kept no longer, from the oldest there is.
    ///
    /// # Errors
    /// [`Code::PermissionDenied`] for whoever does not administer the platform, [`Code::Unavailable`] if too many watch,
    /// or an outage.
    pub(crate) async fn watch_security_events(
        &self,
        principal: &Principal,
        after: Option<EventId>,
    ) -> Result<(EventWatch, OwnedSemaphorePermit)> {
        Requirement::PlatformAdmin.check(Some(principal), self.now())?;
        let session = principal.signed_in()?.session().id;
        let full = |_| Error::new(Code::Unavailable, "too many watch already");
        let place = self.0.monitor.streams().try_acquire_owned().map_err(full)?;
        // What is written from here on is heard of.
        let (written, changes) = (self.0.monitor.written(), self.0.feed.subscribe());
        let seq = match after {
            Some(event) => self.0.store.security_event_number(event).await?.unwrap_or(0),
            None => self.0.store.last_security_event().await?,
        };
        let (until, position) = (principal.valid_until(), Position::after(seq));
        Ok((EventWatch { auth: self.clone(), session, until, position, written, changes }, place))
    }
}

impl EventWatch {
    /// The next events: none after `patience`; `None` if its caller may not see them any more, or that cannot be told.
    pub(crate) async fn next(&mut self, patience: Duration) -> Option<Vec<SecurityEvent>> {
        let end = Instant::now() + patience;
        loop {
            if !self.may_go_on().await {
                return None;
            }
            self.written.mark_unchanged();
            let (from, limit) = (self.position.reading_from(), PAGE + self.position.overlap());
            let found = match self.auth.0.store.security_events_after(from, limit).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "a stream of security events ends");
                    return None;
                }
            };
            let events = self.position.take(found, self.auth.now());
            if !events.is_empty() {
                return Some(events.into_iter().map(|stored| stored.event).collect());
            }
            if Instant::now() >= end {
                return Some(Vec::new());
            }
            let look = end.min(Instant::now() + LOOK);
            let Self { written, changes, session, .. } = self;
            tokio::select! {
                _ = written.changed() => {}
                () = concerned(changes, *session) => {}
                () = sleep_until(look) => {}
            }
        }
    }

    /// Whether the session is live and its user still administers the platform. An outage ends it as well: the caller
    /// comes back, and is told.
    async fn may_go_on(&self) -> bool {
        let auth = &self.auth;
        if auth.now() >= self.until {
            return false;
        }
        match auth.0.sessions.look_up(self.session).await {
            Ok(Some(live)) => {
                let user = live.user();
                user.platform_admin && user.status == UserStatus::Active && !auth.0.sessions.is_held(&live)
            }
            Ok(None) | Err(_) => false,
        }
    }
}

/// Waits for a change that may end a watch.
async fn concerned(changes: &mut broadcast::Receiver<Change>, own: SessionId) {
    loop {
        match changes.recv().await {
            Ok(Change::SessionRevoked { session, .. } | Change::SessionChanged { session, .. }) if session != own => {}
            Ok(
                Change::SessionRevoked { .. }
                | Change::SessionChanged { .. }
                | Change::SessionsRevoked { .. }
                | Change::UserChanged { .. }
                | Change::Everything,
            )
            | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
