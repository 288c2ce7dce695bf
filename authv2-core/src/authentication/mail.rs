//! Mails: what is told to users, and who asks for links. Where no mailer is configured, nothing is written.

use std::sync::Arc;

use super::{AuthenticationService, StartError, outbox::Worker};
use crate::{
    audit::Origin,
    clock::Timestamp,
    config::Config,
    error::Result,
    id::UserId,
    mail::{Kind, LinkKey, Mailer, NewMail, Recipient, Templates},
    master_key::MasterKey,
    session::device::Device,
};

/// What writes and sends mails.
pub(super) struct Mails {
    pub(super) mailer: Arc<dyn Mailer>,
    pub(super) templates: Templates,
    pub(super) key: LinkKey,
    pub(super) worker: Worker,
}

impl Mails {
    /// With the mailer given, or the one of the settings; none where there is neither.
    pub(super) fn new(
        config: &Config,
        given: Option<Arc<dyn Mailer>>,
        master: &MasterKey,
    ) -> Result<Option<Self>, StartError> {
        let mailer = match given {
            Some(given) => Some(given),
            None => of_settings(config)?,
        };
        let Some(mailer) = mailer else {
            if config.registration.require_verified_email {
                return Err(StartError::NoMailer);
            }
            tracing::warn!("no mails are sent: set `mail.smtp.host`, or `mail.sink` for development");
            return Ok(None);
        };
        let templates = Templates::load(config.mail.templates.as_deref(), &config.mail.language)?;
        Ok(Some(Self { mailer, templates, key: LinkKey::new(&master.derive("links of mails")), worker: Worker::new() }))
    }
}

fn of_settings(config: &Config) -> Result<Option<Arc<dyn Mailer>>, StartError> {
    if let Some(directory) = &config.mail.sink {
        let sink = crate::mail::Sink::open(directory).map_err(StartError::MailSink)?;
        return Ok(Some(Arc::new(sink)));
    }
    #[cfg(feature = "smtp")]
    if let Some(from) = config.mail.from.as_deref().and_then(crate::mail::Sender::parse)
        && let Some(server) = crate::mail::Smtp::new(config.mail.smtp.clone(), from).map_err(StartError::MailServer)?
    {
        return Ok(Some(Arc::new(server)));
    }
    Ok(None)
}

impl AuthenticationService {
    /// Whether mails are sent at all.
    pub(crate) fn sends_mails(&self) -> bool {
        self.0.mails.is_some()
    }

    /// A mail to be written with the act it belongs to; none where no mails are sent.
    ///
    /// # Errors
    /// An outage.
    pub(crate) fn mail(&self, kind: Kind, to: Recipient, origin: &Origin) -> Result<Option<NewMail>> {
        if !self.sends_mails() {
            return Ok(None);
        }
        Ok(Some(NewMail::new(kind, to, origin.language.clone(), self.now())?))
    }

    /// A mail that tells a user of a sensitive change, to be written with it (`Act::telling`); none where no mails are
    /// sent. It says when, and from where and on what the change was asked for.
    ///
    /// # Errors
    /// An outage.
    pub(crate) fn notice(&self, kind: Kind, user: UserId, origin: &Origin) -> Result<Option<NewMail>> {
        self.notice_to(kind, Recipient::User(user), origin)
    }

    /// The same, to an account that may have gone when it is sent.
    ///
    /// # Errors
    /// An outage.
    pub(crate) fn notice_to(&self, kind: Kind, to: Recipient, origin: &Origin) -> Result<Option<NewMail>> {
        let Some(mail) = self.mail(kind, to, origin)? else { return Ok(None) };
        let mail = mail.with("at", to_the_minute(self.now()));
        let mail = match origin.ip {
            Some(ip) => mail.with("ip", ip.to_string()),
            None => mail,
        };
        let device = origin.user_agent.as_deref().map(Device::of);
        let names: Vec<&str> = device.iter().flat_map(|device| [device.browser, device.os]).flatten().collect();
        Ok(Some(if names.is_empty() { mail } else { mail.with("device", names.join(", ")) }))
    }
}

/// A moment as people read it: `2026-01-31 23:59 UTC`.
fn to_the_minute(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, time)) => format!("{day} {} UTC", time.chars().take(5).collect::<String>()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_for_people() {
        assert_eq!(to_the_minute(Timestamp::from_seconds(1_700_000_000)), "2023-11-14 22:13 UTC");
    }
}
