//! What becomes of a session that is used from elsewhere than it was opened.

use std::{net::IpAddr, sync::Arc};

use super::{LiveSession, SessionError, SessionService, service::Inner};
use crate::{
    audit::{Act, Actor, Origin, Outcome},
    config::{OnChange, SessionConfig},
    store::{ContextChange, Risk, SessionRecord},
};

/// What may be done with a session, after a look at where it is used from.
#[derive(Debug)]
pub(crate) enum Watched {
    /// What the user may do; the session as it is now.
    Good(Arc<LiveSession>),
    /// Nothing but ending it, until the user has proved again who it is.
    StepUp(Arc<LiveSession>),
    /// Nothing: it has ended.
    Ended,
}

impl SessionService {
    /// Whether a look at where the session is used from finds nothing to do: neither now nor because of what was found
    /// before.
    #[inline]
    pub(crate) fn is_as_opened(&self, live: &LiveSession, ip: Option<IpAddr>, user_agent: Option<&[u8]>) -> bool {
        let change = live.changed_by(ip, user_agent);
        change.and_then(|change| self.0.config.worth_noting(change, live.noted())).is_none() && !self.is_held(live)
    }

    /// Compares a request with the opening of its live session, and does what the settings say of a difference: at
    /// most one write for each session and kind of change, however many requests come with it. With the outcome comes
    /// what was found now and not before, on whatever node.
    ///
    /// # Errors
    /// The store's: what was to be noted is noted with the next request.
    pub(crate) async fn watch(
        &self,
        live: Arc<LiveSession>,
        origin: &Origin,
    ) -> Result<(Watched, Option<ContextChange>), SessionError> {
        let Inner { store, clock, config, .. } = &*self.0;
        let session = live.session();
        let change = live
            .changed_by(origin.ip, origin.user_agent.as_deref().map(str::as_bytes))
            .and_then(|change| config.worth_noting(change, live.noted()));
        let Some(change) = change else { return Ok((self.judge(live), None)) };
        // What is held is compared no further, unless it is to end: a sign-in that is held must not turn into a session that
        // is merely used from elsewhere, which the same password releases.
        if self.is_held(&live) && !config.revokes(change) {
            return Ok((Watched::StepUp(live), None));
        }
        let (id, user) = (session.id, session.user_id);
        let act = Act::new("session.context_changed", Actor::User(user), clock.now(), origin).on(id);
        if config.revokes(change) {
            let was_live = store.revoke_session(user, id, act.ended(Outcome::Denied, name(change))).await?;
            return Ok((Watched::Ended, was_live.then_some(change)));
        }
        let act = Act { reason: Some(name(change).into()), ..act };
        let (noted, found) = match store.note_context(user, id, change, act).await? {
            Some(noted) => (Some(Arc::new(LiveSession::new(noted, live.user().clone()))), Some(change)),
            // A request beside this one was first, on whatever node, or the session has ended meanwhile.
            None => (self.stored(id).await?, None),
        };
        Ok((noted.map_or(Watched::Ended, |live| self.judge(live)), found))
    }

    fn judge(&self, live: Arc<LiveSession>) -> Watched {
        if self.is_held(&live) { Watched::StepUp(live) } else { Watched::Good(live) }
    }

    /// Whether a session does nothing but end, until its user has proved again who it is.
    #[inline]
    pub(crate) fn is_held(&self, live: &LiveSession) -> bool {
        let Inner { config, holds_high_risk, .. } = &*self.0;
        config.wants_step_up(live.noted()) || (*holds_high_risk && live.risk() == Risk::High)
    }

    /// Whether a session is held for more than being used from elsewhere. A change of both network and device makes a
    /// high risk by itself; one that has another reason is that of the sign-in, or a reaction's.
    pub(crate) fn is_held_for_its_risk(&self, session: &SessionRecord) -> bool {
        let has_moved = session.network_changed && session.device_changed;
        self.0.holds_high_risk && session.risk == Risk::High && !has_moved
    }
}

impl SessionConfig {
    /// What of a change is neither ignored nor noted already.
    fn worth_noting(&self, change: ContextChange, noted: ContextChange) -> Option<ContextChange> {
        let new = ContextChange {
            network: change.network && !noted.network && self.on_network_change != OnChange::Ignore,
            device: change.device && !noted.device && self.on_device_change != OnChange::Ignore,
        };
        (new.network || new.device).then_some(new)
    }

    fn revokes(&self, change: ContextChange) -> bool {
        (change.network && self.on_network_change == OnChange::Revoke)
            || (change.device && self.on_device_change == OnChange::Revoke)
    }

    fn wants_step_up(&self, noted: ContextChange) -> bool {
        (noted.network && self.on_network_change == OnChange::StepUp)
            || (noted.device && self.on_device_change == OnChange::StepUp)
    }
}

/// The change as the audit trail has it.
fn name(change: ContextChange) -> &'static str {
    match (change.network, change.device) {
        (true, true) => "network_and_device",
        (true, false) => "network",
        (false, _) => "device",
    }
}
