//! An SMTP server that takes mails on (RFC 5321), over connections that are kept for a while.

use std::{
    error::Error as _,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, TlsParameters},
        commands::{Data, Mail as MailFrom, Rcpt},
        extension::{ClientId, Extension, MailBodyParameter, MailParameter},
    },
};
use tokio::time::{Instant, timeout};

use super::{Mail, MailError, Mailer, Sender};
use crate::{
    config::{SmtpConfig, SmtpTls},
    user::email::Email,
};

/// How long the server may take for each step (RFC 5321 section 4.5.3.2, some of it shortened). To the whole message it
/// may take as long as the standard has it: whoever stops waiting there sends a mail twice.
const CONNECTING: Duration = Duration::from_secs(60);
const ENVELOPE: Duration = Duration::from_secs(120);
const MESSAGE: Duration = Duration::from_secs(600);
/// How long a connection is kept that nothing is sent over, and how many.
const KEEP: Duration = Duration::from_secs(60);
const KEEP_MOST: usize = 4;
/// How long a kept connection may take to show that it is still one.
const TRYING: Duration = Duration::from_secs(5);

/// Hands mails to an SMTP server.
pub struct Smtp {
    config: SmtpConfig,
    host: String,
    from: Sender,
    /// With the roots of this machine, read once.
    tls: Option<TlsParameters>,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).field("tls", &self.config.tls).finish_non_exhaustive()
    }
}

/// What the server did not do. Its own words may name the reader, so that of an answer the codes alone are kept: the
/// reply's, and the enhanced one (RFC 3463) where there is one.
#[derive(Debug, thiserror::Error)]
enum SmtpError {
    #[error("{0}: the server answered {1} {2}")]
    Answered(&'static str, String, String),
    #[error("{0}: the server's answer makes no sense")]
    Senseless(&'static str),
    #[error("{0}: no answer in time")]
    Silent(&'static str),
    #[error("{0}: {1}")]
    Failed(&'static str, #[source] lettre::transport::smtp::Error),
    #[error("the message cannot be written")]
    Unwritable,
    #[error("the server does not know addresses beyond ASCII (RFC 6531)")]
    AsciiOnly,
}

impl Smtp {
    /// The server of these settings. None without a host.
    ///
    /// # Errors
    /// TLS cannot be set up, as on a machine without root certificates.
    pub fn new(config: SmtpConfig, from: Sender) -> Result<Option<Self>, MailError> {
        let Some(host) = config.host.clone() else { return Ok(None) };
        let tls = match config.tls {
            SmtpTls::Starttls | SmtpTls::Tls => {
                Some(TlsParameters::new_rustls(host.clone()).map_err(MailError::temporary)?)
            }
            SmtpTls::None | SmtpTls::DangerPlain => None,
        };
        Ok(Some(Self { config, host, from, tls, idle: Mutex::default() }))
    }

    fn port(&self) -> u16 {
        let default = match self.config.tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Tls => 465,
            SmtpTls::None | SmtpTls::DangerPlain => 25,
        };
        self.config.port.and_then(|port| port.try_into().ok()).unwrap_or(default)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        const STEP: &str = "connecting";
        let failed = |error| judged(STEP, error);
        let hello = ClientId::default();
        let (under, later) = match self.config.tls {
            SmtpTls::Tls => (self.tls.clone(), None),
            _ => (None, self.tls.clone()),
        };
        let connecting = async {
            let server = (self.host.as_str(), self.port());
            let mut connection =
                AsyncSmtpConnection::connect_tokio1(server, None, &hello, under, None).await.map_err(failed)?;
            if let Some(tls) = later {
                connection.starttls(tls, &hello).await.map_err(failed)?;
            }
            if let (Some(username), Some(password)) = (&self.config.username, &self.config.password) {
                let credentials = Credentials::new(username.clone(), password.expose().clone());
                connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(failed)?;
            }
            Ok(connection)
        };
        timeout(CONNECTING, connecting).await.unwrap_or(Err(SmtpError::Silent(STEP)))
    }

    /// A connection over which mails can be sent: one that was kept, if it still is one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((mut connection, since)) = kept else { return self.connect().await };
            if since.elapsed() < KEEP && timeout(TRYING, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEEP_MOST {
            idle.push((connection, Instant::now()));
        }
    }

    fn message(&self, mail: &Mail, from: Address, to: Address) -> Result<Vec<u8>, SmtpError> {
        let message = Message::builder()
            .from(Mailbox::new(self.from.name.clone(), from))
            .to(Mailbox::new(None, to))
            .subject(&*mail.subject)
            // The same whenever it is sent, so that what came twice can be told.
            .message_id(Some(format!("<{}@{}>", mail.id, self.from.address.domain())))
            // RFC 3834 section 5: no out-of-office note answers it.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()))
            .map_err(|_| SmtpError::Unwritable)?;
        Ok(message.formatted())
    }

    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        (from, to): (Address, Address),
        message: &[u8],
    ) -> Result<(), MailError> {
        let knows = |feature| connection.server_info().supports_feature(feature);
        let mut parameters = Vec::new();
        if !from.to_string().is_ascii() || !to.to_string().is_ascii() {
            if !knows(Extension::SmtpUtfEight) {
                return Err(MailError::permanent(SmtpError::AsciiOnly));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        if !message.is_ascii() && knows(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        // What it says to the sender it would say to every mail: that is a matter of the settings.
        within("MAIL", ENVELOPE, connection.command(MailFrom::new(Some(from), parameters)))
            .await
            .map_err(MailError::temporary)?;
        within("RCPT", ENVELOPE, connection.command(Rcpt::new(to, Vec::new()))).await.map_err(of_reader)?;
        within("DATA", ENVELOPE, connection.command(Data)).await.map_err(MailError::temporary)?;
        within("the message", MESSAGE, connection.message(message)).await.map_err(of_message)
    }
}

#[async_trait]
impl Mailer for Smtp {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let unwritable = || MailError::permanent(SmtpError::Unwritable);
        let to = Email::parse(&mail.to).map_err(MailError::permanent)?;
        let (from, to) = (address(&self.from.address).ok_or_else(unwritable)?, address(&to).ok_or_else(unwritable)?);
        let message = self.message(mail, from.clone(), to.clone()).map_err(MailError::permanent)?;
        let mut connection = self.connection().await.map_err(MailError::temporary)?;
        self.hand_over(&mut connection, (from, to), &message).await?;
        self.keep(connection);
        Ok(())
    }
}

/// An address as SMTP servers know it: the domain in A-labels.
fn address(email: &Email) -> Option<Address> {
    Address::new(email.local_part(), email.domain()).ok()
}

async fn within<T>(
    step: &'static str,
    patience: Duration,
    answer: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<(), SmtpError> {
    match timeout(patience, answer).await {
        Ok(answer) => answer.map(drop).map_err(|error| judged(step, error)),
        Err(_) => Err(SmtpError::Silent(step)),
    }
}

fn judged(step: &'static str, error: lettre::transport::smtp::Error) -> SmtpError {
    match error.status() {
        Some(code) => SmtpError::Answered(step, code.to_string(), enhanced(&error)),
        None if error.is_response() => SmtpError::Senseless(step),
        None => SmtpError::Failed(step, error),
    }
}

/// The enhanced status that an answer begins with (RFC 2034); empty without one.
fn enhanced(error: &lettre::transport::smtp::Error) -> String {
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    let word = said.split_whitespace().next().unwrap_or_default();
    let is_status = word.split('.').count() == 3
        && word.len() <= 9
        && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if is_status { word.to_owned() } else { String::new() }
}

/// What is said to the reader's address. For good only that there is no such address: what else is refused there may be
/// for the settings or the server to mend, and until then holds up nobody but this reader.
fn of_reader(error: SmtpError) -> MailError {
    match &error {
        SmtpError::Answered(_, code, status)
            if ["550", "551", "553"].contains(&code.as_str()) && (status.is_empty() || status.starts_with("5.1.")) =>
        {
            MailError::permanent(error)
        }
        SmtpError::Answered(_, code, _) if code != "421" => MailError::deferred(error),
        _ => MailError::temporary(error),
    }
}

/// What is said to the message. For good only that its content cannot be taken (X.6.XXX, RFC 3463 section 3.7).
fn of_message(error: SmtpError) -> MailError {
    match &error {
        SmtpError::Answered(_, code, status) if code.starts_with('5') && status.starts_with("5.6.") => {
            MailError::permanent(error)
        }
        _ => MailError::temporary(error),
    }
}
