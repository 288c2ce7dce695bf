//! Mails: what is told to users, and the links that only the owner of a mailbox gets.

mod language;
mod letter;

pub(crate) use self::language::preferred_language;
pub use self::letter::{Details, Kind, NewMail, Recipient};
