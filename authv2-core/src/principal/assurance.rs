//! How sure it is who calls, where a credential and its session differ on that.

use crate::{clock::Timestamp, jwt::AccessClaims, store::SessionRecord};

/// How and when a user proved who it is, as an access token has it.
///
/// A token keeps what it was issued with: whoever stole one gains nothing when its owner proves again in the same
/// session who it is, and the token given for that proof loses nothing on a node that has yet to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assurance {
    pub(super) amr: String,
    pub(super) acr: String,
    pub(super) auth_time: Timestamp,
}

impl Assurance {
    /// What a token says, if that is something else than its session does. A token tells whole seconds.
    pub(crate) fn of(claims: &AccessClaims, session: &SessionRecord) -> Option<Box<Self>> {
        let own = Self {
            amr: claims.amr.join(" "),
            acr: claims.acr.clone().unwrap_or_default(),
            auth_time: claims.auth_time.unwrap_or(Timestamp::from_micros(0)),
        };
        let is_the_sessions = own.amr == session.amr
            && own.acr == session.acr
            && own.auth_time.as_seconds() == session.auth_time.as_seconds();
        (!is_the_sessions).then(|| Box::new(own))
    }

    /// The session as this credential has it.
    pub(crate) fn over(&self, session: SessionRecord) -> SessionRecord {
        SessionRecord { amr: self.amr.clone(), acr: self.acr.clone(), auth_time: self.auth_time, ..session }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.amr.capacity() + self.acr.capacity()
    }
}
