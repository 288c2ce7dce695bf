//! Who takes mails to their readers.

use std::{error::Error, fmt, sync::Arc};

use async_trait::async_trait;

use super::Kind;
use crate::{id::MailId, secret::Secret};

/// A mail, ready to go. `Debug` shows neither its reader nor its text.
#[derive(Clone)]
pub struct Mail {
    /// Its id. The same mail sent again, because nobody knows whether it went, has the same one.
    pub id: MailId,
    /// What it says.
    pub kind: Kind,
    /// The address that it goes to: one, without a name, without line breaks.
    pub to: String,
    /// The language that it is written in.
    pub language: String,
    /// Its subject: one line.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// The token in its link, if it has one: it stands in the text. Whoever has it has what the link gives.
    pub token: Option<Secret>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, kind, language, .. } = self;
        f.debug_struct("Mail").field("id", id).field("kind", kind).field("language", language).finish_non_exhaustive()
    }
}

/// A mail was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MailError {
    /// Not now: it is tried again, for as long as the mail is worth sending.
    #[error("the mail was not taken for now")]
    Temporary(#[source] Arc<dyn Error + Send + Sync>),
    /// Not now, to this reader; others may have better luck, and are not held up.
    #[error("the mail was not taken for its reader for now")]
    Deferred(#[source] Arc<dyn Error + Send + Sync>),
    /// Never, to this reader: the mail is dropped.
    #[error("the mail was refused")]
    Permanent(#[source] Arc<dyn Error + Send + Sync>),
}

impl MailError {
    /// Not now, because of `source`, which is logged: it must not name the reader.
    #[must_use]
    pub fn temporary(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Temporary(Arc::new(source))
    }

    /// Not now to this reader, because of `source`, which is logged: it must not name the reader.
    #[must_use]
    pub fn deferred(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Deferred(Arc::new(source))
    }

    /// Never to this reader, because of `source`, which is logged: it must not name the reader.
    #[must_use]
    pub fn permanent(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Permanent(Arc::new(source))
    }
}

/// Takes mails to their readers: an SMTP server, a directory, the service of a provider. Given to
/// [`Builder::mailer`](crate::authentication::Builder::mailer).
///
/// It is called by a worker, never by a request, for several mails at a time. The worker goes on waiting while it takes
/// its time, and gives the mail to no other node meanwhile. What was not taken comes again, at growing intervals.
#[async_trait]
pub trait Mailer: Send + Sync + fmt::Debug {
    /// Takes one mail.
    ///
    /// # Errors
    /// [`MailError`]. Where it is not known whether the mail went, [`MailError::Temporary`]: it comes again with the
    /// same id.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}
