//! Who calls: the outcome of authentication, handed to the application.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    clock::Timestamp,
    id::{SessionId, UserId},
    session::Session,
    store::{SessionRecord, Transport, UserRecord},
    tenant::Tenant,
    user::User,
};

/// How a caller proved who it is on this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// An access token in the `Authorization` header.
    Bearer,
    /// The session cookie.
    Cookie,
}

impl Method {
    /// As the API shows it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }
}

/// An authenticated caller. A cheap clone.
///
/// It was true at the moment of authentication; whoever holds it for longer than a request (a socket, a job) must
/// follow the change feed.
#[derive(Debug, Clone)]
pub struct Principal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    user: UserRecord,
    session: SessionRecord,
    method: Method,
}

impl Principal {
    pub(crate) fn new(user: UserRecord, session: SessionRecord) -> Self {
        let method = match session.transport {
            Transport::Bearer => Method::Bearer,
            Transport::Cookie => Method::Cookie,
        };
        Self(Arc::new(Inner { user, session, method }))
    }

    /// The user.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.0.user.id
    }

    /// The user's record as the API shows it.
    #[must_use]
    pub fn user(&self) -> User {
        User::from(&self.0.user)
    }

    /// The session.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.session.id
    }

    /// The session as the API shows it.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::of(&self.0.session, true)
    }

    /// How the caller proved who it is on this request.
    #[must_use]
    pub fn method(&self) -> Method {
        self.0.method
    }

    /// The tenant it acts in, if it chose one.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        let session = &self.0.session;
        session.organization.map(|organization| Tenant { organization, store: session.store })
    }

    /// Whether it administers the whole deployment. No role and no permission gives this.
    #[must_use]
    pub fn is_platform_admin(&self) -> bool {
        self.0.user.platform_admin
    }

    /// The authentication methods of its sign-in (RFC 8176 `amr`).
    pub fn amr(&self) -> impl Iterator<Item = &str> {
        self.0.session.amr.split(' ')
    }

    /// The authentication context class of its sign-in.
    #[must_use]
    pub fn acr(&self) -> &str {
        &self.0.session.acr
    }

    /// When the user last proved who it is.
    #[must_use]
    pub fn auth_time(&self) -> Timestamp {
        self.0.session.auth_time
    }

    pub(crate) fn user_record(&self) -> &UserRecord {
        &self.0.user
    }

    pub(crate) fn session_record(&self) -> &SessionRecord {
        &self.0.session
    }
}
