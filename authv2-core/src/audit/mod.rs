//! The audit trail: who did what, from where, and how it ended; committed with the act itself.

use std::{borrow::Cow, net::IpAddr};

use crate::{
    clock::Timestamp,
    id::{AuditId, DeviceId, KeyId, OrgId, UserId},
    mail::NewMail,
};

/// How an act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// The caller may not, or could not prove who it is.
    Denied,
    /// It could not be done.
    Failure,
}

impl Outcome {
    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failure => "failure",
        }
    }
}

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A signed-in user.
    User(UserId),
    /// An API key.
    ApiKey(KeyId),
    /// Nobody that we know: a failed sign-in, a registration.
    Anonymous,
    /// The deployment itself: bootstrap, maintenance, the command line.
    System,
}

/// Where a request came from: what an audit entry and a session remember of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address, behind trusted proxies only.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
    /// The language that the client likes best, for mails: a tag of `Accept-Language` (RFC 9110 section 12.5.4).
    pub language: Option<String>,
    /// The device that the client's browser shows to be, by its cookie.
    pub device: Option<DeviceClaim>,
}

/// What a device cookie says whose signature is good: whether the user is still known on the device, the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceClaim {
    /// The device.
    pub device: DeviceId,
    /// Who signed in on it last.
    pub user: UserId,
}

impl DeviceClaim {
    /// The device, where it was `user` who signed in on it.
    #[must_use]
    pub fn of(self, user: UserId) -> Option<DeviceId> {
        (self.user == user).then_some(self.device)
    }
}

/// An act about to be written: the moment, and the audit entry that goes with it.
#[derive(Debug, Clone)]
pub struct Act {
    /// The entry's id.
    pub id: AuditId,
    /// When: the one "now" of the whole transaction.
    pub at: Timestamp,
    /// What: `noun.verb`.
    pub action: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Who.
    pub actor: Actor,
    /// In which organization, where it concerns one.
    pub organization: Option<OrgId>,
    /// On what: an id.
    pub target: Option<String>,
    /// Why, where it was not a success. Never a secret, never an e-mail.
    pub reason: Option<Cow<'static, str>>,
    /// From where.
    pub origin: Origin,
    /// The mails that tell of it, or that it asks for: written with it, and lost only with it.
    pub mails: Vec<NewMail>,
}

impl Act {
    /// A successful act; the methods below refine it.
    #[must_use]
    pub fn new(action: &'static str, actor: Actor, at: Timestamp, origin: &Origin) -> Self {
        Self {
            id: AuditId::new(),
            at,
            action,
            outcome: Outcome::Success,
            actor,
            organization: None,
            target: None,
            reason: None,
            origin: origin.clone(),
            mails: Vec::new(),
        }
    }

    /// Names the organization that it concerns.
    #[must_use]
    pub fn within(mut self, organization: OrgId) -> Self {
        self.organization = Some(organization);
        self
    }

    /// Names what was acted on.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "targets are ids, small and `Copy`")]
    pub fn on(mut self, target: impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    /// Has a mail sent, should the act be written.
    #[must_use]
    pub fn telling(mut self, mail: impl IntoIterator<Item = NewMail>) -> Self {
        self.mails.extend(mail);
        self
    }

    /// Says that, and why, it did not succeed.
    #[must_use]
    pub fn ended(mut self, outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        self.outcome = outcome;
        self.reason = Some(reason.into());
        self
    }
}
