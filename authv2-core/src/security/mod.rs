//! The security monitor's judgement: what was seen lately, what it adds up to, and who is told.
//!
//! What is here decides on its arguments and on bounded memory of its own; it knows no store and no other service.
//! Attackers choose what is counted here, so every table has a size, and every key is a keyed hash.

mod breached;
mod delivery;
mod distinct;
mod position;
mod risk;
mod sign_ins;
mod sink;
mod strangers;
mod table;
#[cfg(feature = "issuers")]
pub(crate) mod webhook;

#[cfg(feature = "issuers")]
pub use self::webhook::WebhookError;
pub(crate) use self::{
    breached::sha1_of,
    delivery::Delivery,
    distinct::{Distinct, Window},
    position::Position,
    risk::{Signs, risk},
    sign_ins::{Cause, Finding, Rules, SignIns, Try},
    strangers::Strangers,
    table::Table,
};
pub use self::{
    breached::{BreachedFile, BreachedPasswords, LookupError},
    sink::{SecurityEventSink, SinkError},
};
pub use crate::store::{EventKind, SecurityEvent, Severity};
