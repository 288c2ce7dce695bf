//! The signing keys: who may change them, and looking after them beside the requests.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use super::{AuthenticationService, Inner, Requirement, requirement::RECENT};
use crate::{
    audit::{Actor, Origin},
    error::{Error, FieldError, Result},
    id::NodeId,
    jwt::{Algorithm, KeyChangeError, KeyStatus, Rotation, SigningKey},
    principal::Principal,
    store::breaker::jittered,
};

/// How often the keys are looked at, and the least pause between two looks.
const LOOK: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_secs(1);
/// How long the one who takes the steps has for them: another one takes over after that, so a dead one is missed no
/// longer.
const LEASE: Duration = Duration::from_secs(15);

/// A signing key to be added.
#[derive(Debug)]
pub(crate) enum NewSigningKey {
    /// One that is made here.
    Made(Algorithm),
    /// One that was brought along, and the field that it came in.
    Brought(SigningKey, &'static str),
}

impl AuthenticationService {
    /// All signing keys, oldest first.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::Code::PermissionDenied) but for administrators of the platform, or an outage.
    pub(crate) async fn signing_keys(&self, principal: &Principal) -> Result<Vec<KeyStatus>> {
        Requirement::PlatformAdmin.check(Some(principal), self.now())?;
        Ok(self.0.ring.keys().await?)
    }

    /// Goes on only if the caller may change the signing keys: whoever can add one can sign for anybody.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::Code::PermissionDenied) but for administrators of the platform,
    /// [`StepUpRequired`](crate::Code::StepUpRequired) where the sign-in is not recent.
    pub(crate) fn require_key_keeper(&self, principal: &Principal) -> Result<()> {
        Requirement::PlatformAdmin.check(Some(principal), self.now())?;
        Requirement::RecentAuth(RECENT).check(Some(principal), self.now())
    }

    /// Adds a signing key, pending until a rotation takes it.
    ///
    /// # Errors
    /// As [`require_key_keeper`](Self::require_key_keeper);
    /// [`ValidationFailed`](crate::Code::ValidationFailed) for a key that is there already or was revoked once; or an outage.
    pub(crate) async fn add_signing_key(
        &self,
        principal: &Principal,
        new: NewSigningKey,
        origin: &Origin,
    ) -> Result<KeyStatus> {
        self.require_key_keeper(principal)?;
        let actor = Actor::User(principal.signed_in()?.user().id);
        let (added, field) = match new {
            NewSigningKey::Made(algorithm) => (self.0.ring.create(algorithm, actor, origin).await, "alg"),
            NewSigningKey::Brought(key, field) => (self.0.ring.import(&key, actor, origin).await, field),
        };
        added.map_err(|error| match error {
            KeyChangeError::Known { .. } => {
                Error::invalid(vec![FieldError::new(field, "known_key", error.to_string())])
            }
            KeyChangeError::Refused => Error::invalid(vec![FieldError::new(field, "refused_key", error.to_string())]),
            other => other.into(),
        })
    }

    /// Has another key sign; the one that will, with the moment from which it does.
    ///
    /// # Errors
    /// As [`require_key_keeper`](Self::require_key_keeper), or an outage.
    pub(crate) async fn rotate_signing_keys(
        &self,
        principal: &Principal,
        asked: Rotation,
        origin: &Origin,
    ) -> Result<KeyStatus> {
        self.require_key_keeper(principal)?;
        Ok(self.0.ring.rotate(asked, Actor::User(principal.signed_in()?.user().id), origin).await?)
    }

    /// Refuses a signing key from now on, everywhere; the key.
    ///
    /// # Errors
    /// As [`require_key_keeper`](Self::require_key_keeper), [`NotFound`](crate::Code::NotFound), or an outage.
    pub(crate) async fn revoke_signing_key(
        &self,
        principal: &Principal,
        kid: &str,
        origin: &Origin,
    ) -> Result<KeyStatus> {
        self.require_key_keeper(principal)?;
        Ok(self.0.ring.revoke(kid, Actor::User(principal.signed_in()?.user().id), origin).await?)
    }
}

/// Looks after the signing keys: what a moment asks for is done by whichever node is there. Ends with the last handle
/// to the service.
pub(super) fn tend(inner: &Arc<Inner>) {
    let (service, node): (Weak<Inner>, _) = (Arc::downgrade(inner), NodeId::new());
    tokio::spawn(async move {
        let mut pause = PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let Some(inner) = service.upgrade() else { return };
            pause = look(&inner, node).await.unwrap_or_else(|error| {
                tracing::warn!(task = "signing keys", %error, "will be tried again");
                jittered(LOOK / 4)
            });
        }
    });
}

/// Does what is due; how long to wait for the next look.
async fn look(inner: &Inner, node: NodeId) -> Result<Duration, KeyChangeError> {
    // Another node may have made a key that promises less than this one's settings ask for.
    inner.ring.promise().await?;
    let now = inner.clock.now();
    let until = |at: Option<crate::clock::Timestamp>| at.map_or(LOOK, |at| at.since(now)).clamp(PAUSE, jittered(LOOK));
    let due = inner.ring.next_step().await?.map(|(at, _)| at);
    if due.is_none_or(|at| at > now) || !inner.store.take_lease("signing_keys", node, now, now + LEASE).await? {
        return Ok(until(due));
    }
    inner.ring.take_steps().await?;
    Ok(until(inner.ring.next_step().await?.map(|(at, _)| at)))
}
