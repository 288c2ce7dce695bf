//! A session whose user proves again who it is.

use super::{LiveSession, SessionError, SessionService, context::kept_user_agent, device::Device, lookup};
use crate::{
    audit::Act,
    secret::{Secret, SecretHash},
    store::{PasswordHashText, Place, SecondFactor, SessionRecord, SteppedUp, SteppingUp, UserRecord},
};

/// What a user has shown to prove again who it is.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// How (RFC 8176).
    pub(crate) methods: Vec<&'static str>,
    /// The second factor, if it was one.
    pub(crate) factor: Option<SecondFactor>,
    /// The password hash that was verified, if it was the password.
    pub(crate) verified_hash: Option<PasswordHashText>,
    /// Whether the session is held no longer.
    pub(crate) releases: bool,
}

impl SessionService {
    /// Notes the proof in the session. A cookie session, which came with `cookie`, gets another one in its place.
    ///
    /// # Errors
    /// [`SessionError::Void`] if the session has ended or its account has changed meanwhile, [`SessionError::Spent`] for a
    /// second factor that was used before, or an outage.
    pub(crate) async fn step_up(
        &self,
        live: &LiveSession,
        shown: Shown,
        cookie: Option<&Secret>,
        act: Act,
    ) -> Result<(SessionRecord, UserRecord, Option<Secret>), SessionError> {
        let Shown { methods, factor, verified_hash, releases } = shown;
        let (session, user) = (live.session().id, live.user().id);
        let secret = cookie.map(|_| lookup::cookie(session)).transpose()?;
        let hash = |secret: &Secret| SecretHash::of(secret.expose().as_bytes());
        let release = releases.then(|| Place {
            ip: act.origin.ip.map(|ip| ip.to_string()),
            user_agent: act.origin.user_agent.as_deref().map(kept_user_agent),
            device: act.origin.user_agent.as_deref().map(|agent| Device::of(agent).kind),
        });
        let cookie = cookie.map(hash).zip(secret.as_ref().map(hash));
        let proven = SteppingUp { user, session, methods, factor, verified_hash, cookie, release };
        match self.0.store.step_up(proven, act).await? {
            SteppedUp::Done(session, user) => Ok((session, user, secret)),
            SteppedUp::Ended => Err(SessionError::Void),
            SteppedUp::Spent => Err(SessionError::Spent),
        }
    }
}
