//! Mails: what is told to users, and the links that only the owner of a mailbox gets.

mod builtin;
mod language;
mod letter;
mod link;
mod mailer;
mod sender;
mod sink;
#[cfg(feature = "smtp")]
mod smtp;
mod template;

#[cfg(feature = "smtp")]
pub use self::smtp::Smtp;
pub(crate) use self::{language::preferred_language, link::LinkKey, template::Templates};
pub use self::{
    letter::{Details, Kind, NewMail, Recipient},
    link::Purpose,
    mailer::{Mail, MailError, Mailer},
    sender::Sender,
    sink::Sink,
    template::TemplateError,
};
