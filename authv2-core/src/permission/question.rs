//! What is asked of a decision, by whom, and what comes out.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::{definition::StepUp, name::Permission};
use crate::{clock::Timestamp, id::StoreId, store::Risk};

/// May the subject do this, here, to that?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// What is to be done.
    pub permission: &'a Permission,
    /// The store where; at the organization if none.
    pub store: Option<StoreId>,
    /// The attributes of what it is done to, as the caller says: `id` and `type` among them.
    pub resource: Option<&'a Map<String, Value>>,
    /// More about the act itself.
    pub action: Option<&'a Map<String, Value>>,
    /// More about the circumstances.
    pub context: Option<&'a Map<String, Value>>,
}

impl<'a> Question<'a> {
    /// The plain question, at the organization.
    #[must_use]
    pub const fn new(permission: &'a Permission) -> Self {
        Self { permission, store: None, resource: None, action: None, context: None }
    }
}

/// What conditions may know of who asks. What is unknown is absent: a condition that needs it fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its e-mail.
    pub email: Option<&'a str>,
    /// Properties that a caller claims for it; facts beat them.
    pub properties: Option<&'a Map<String, Value>>,
    /// How its credential came, where it asks for itself: `bearer`, `cookie`, `api_key`.
    pub method: Option<&'static str>,
    /// Its session, where it asks for itself by one.
    pub session: Option<SessionFacts<'a>>,
    /// The client's address, where it asks for itself.
    pub ip: Option<IpAddr>,
}

/// What conditions may know of a session.
#[derive(Debug, Clone, Copy)]
pub struct SessionFacts<'a> {
    /// The authentication methods (RFC 8176), separated by spaces.
    pub amr: &'a str,
    /// The authentication context class.
    pub acr: &'a str,
    /// When the user last proved who it is.
    pub auth_time: Timestamp,
    /// When the session was opened.
    pub opened_at: Timestamp,
    /// How risky it looks.
    pub risk: Risk,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed,
    /// No.
    Denied,
    /// Yes, once the sign-in is as fresh or strong as this.
    StepUp(StepUp),
}

impl Decision {
    /// Whether it is a yes.
    #[must_use]
    #[inline]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}
