//! Settings of mails: where they go, and what they look like.

use std::{net::IpAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, Profile, problem::Problems, setting::choice, visitor::Visitor};
use crate::{mail::Sender, secret::Secret};

/// How the connection to the SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// It begins in the clear and goes on under TLS, or not at all (RFC 3207).
    Starttls,
    /// TLS from the first byte (RFC 8314 section 3.3).
    Tls,
    /// In the clear, to this machine alone.
    None,
    /// In the clear, to wherever it is: who can read the network can take accounts over by their links.
    DangerPlain,
}

choice!(SmtpTls, "one of `starttls`, `tls`, `none`, `danger_plain`");

/// Where mails go, and what they look like. Without a sink, an SMTP server or a mailer of the application none are
/// written: asking for one is answered alike, and nothing comes of it.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// A directory into which each mail is written as a file instead: for development. Whoever reads it can take
    /// accounts over.
    pub sink: Option<PathBuf>,
    /// Whom mails are from: an address, or `Name <address>`. The SMTP server needs one.
    pub from: Option<String>,
    /// Where the links in mails lead: a URL with `{token}`, and `{issuer}` and `{purpose}` (`verify_email`,
    /// `reset_password`, `sign_in`) where they are wanted. By default the token is in the fragment, which no server
    /// sees and no `Referer` has.
    pub link: String,
    /// The language of a mail whose reader has asked for none that there is; `en` by default.
    pub language: String,
    /// A directory with the application's own templates.
    pub templates: Option<PathBuf>,
    /// The SMTP server.
    pub smtp: SmtpConfig,
}

/// The SMTP server that mails are handed to.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// Its name, which its certificate must have. None by default.
    pub host: Option<String>,
    /// Its port; by default 587, with `Tls` 465, in the clear 25.
    pub port: Option<u32>,
    /// How the connection is protected; `Starttls` by default.
    pub tls: SmtpTls,
    /// The user to authenticate as.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

impl Default for MailConfig {
    fn default() -> Self {
        Self {
            sink: None,
            from: None,
            link: "{issuer}/#{purpose}={token}".to_owned(),
            language: "en".to_owned(),
            templates: None,
            smtp: SmtpConfig { host: None, port: None, tls: SmtpTls::Starttls, username: None, password: None },
        }
    }
}

impl MailConfig {
    pub(super) fn walk(&mut self, visitor: &mut impl Visitor) {
        visitor.setting("mail.sink", "The directory that mails are written to instead of being sent.", &mut self.sink);
        visitor.setting("mail.from", "Whom mails are from: an address, or `Name <address>`.", &mut self.from);
        visitor.setting("mail.link", "Where the links in mails lead.", &mut self.link);
        visitor.setting("mail.language", "The language where a reader's own is not to be had.", &mut self.language);
        visitor.setting("mail.templates", "A directory with templates of one's own.", &mut self.templates);
        let SmtpConfig { host, port, tls, username, password } = &mut self.smtp;
        visitor.setting("mail.smtp.host", "The SMTP server that mails are handed to.", host);
        visitor.number("mail.smtp.port", 1..=65_535, "Its port.", port);
        visitor.setting("mail.smtp.tls", "How the connection to it is protected.", tls);
        visitor.setting("mail.smtp.username", "The user to authenticate as there.", username);
        visitor.setting("mail.smtp.password", "Its password.", password);
    }

    pub(super) fn check(&self, profile: Profile, problems: &mut Problems) {
        if profile == Profile::Production {
            self.check_in_production(problems);
        }
        if self.from.as_deref().is_some_and(|from| Sender::parse(from).is_none()) {
            problems.report("mail.from", Problem::Expected("an e-mail address, or `Name <address>`"));
        }
        let is_url = ["https://", "http://", "{issuer}/"].iter().any(|start| self.link.starts_with(start));
        if !is_url || !self.link.contains("{token}") || self.link.chars().any(|c| c.is_whitespace() || c.is_control()) {
            problems.report("mail.link", Problem::Refused("must be a URL with `{token}` in it"));
        }
        let is_tag = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(2..=35).contains(&self.language.len()) || !self.language.chars().all(is_tag) {
            problems.report("mail.language", Problem::Expected("the tag of a language in lower case, as `en`"));
        }
        self.check_smtp(problems);
    }

    fn check_in_production(&self, problems: &mut Problems) {
        let mut refuse = |setting, reason| problems.report(setting, Problem::RefusedInProduction(reason));
        if self.sink.is_some() {
            refuse("mail.sink", "nobody gets mail, and whoever reads the directory can take accounts over");
        }
        if self.link.starts_with("http://") {
            refuse("mail.link", "anybody on the way could change the page that takes the token");
        }
        if self.smtp.tls == SmtpTls::DangerPlain {
            refuse("mail.smtp.tls", "whoever can read the network can take accounts over");
        }
    }

    fn check_smtp(&self, problems: &mut Problems) {
        let SmtpConfig { host, tls, username, password, .. } = &self.smtp;
        if username.is_some() != password.is_some() {
            let setting = if username.is_some() { "mail.smtp.password" } else { "mail.smtp.username" };
            problems.report(setting, Problem::Missing("a user name and its password go together"));
        }
        let Some(host) = host else { return };
        if !cfg!(feature = "smtp") {
            problems.report("mail.smtp.host", Problem::NeedsFeature("smtp"));
        }
        if self.sink.is_some() {
            problems.report("mail.sink", Problem::Refused("mail.smtp.host is set as well, and mails go to one place"));
        }
        if self.from.is_none() {
            problems.report("mail.from", Problem::Missing("mail.smtp.host is set, and needs it"));
        }
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        if *tls == SmtpTls::None && !is_here {
            let reason = "mails to another machine would travel in the clear, the links in them too";
            problems.report("mail.smtp.tls", Problem::Refused(reason));
        }
    }
}
