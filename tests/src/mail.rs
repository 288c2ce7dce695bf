//! The inbox of everybody: the directory into which a server under test writes its mails.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::secrecy;

/// A mail as it was written.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Whom it went to.
    pub to: String,
    /// What it says, as `reset_password`.
    pub kind: String,
    /// The language that it is in.
    pub language: String,
    /// Its subject.
    pub subject: String,
    /// Its text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// The token in its link; empty where it has none.
    pub token: String,
}

/// The directory of the mails of a server that works in `directory`.
#[must_use]
pub fn inbox(directory: &Path) -> PathBuf {
    directory.join("mails")
}

/// The mails in `inbox` to an address, oldest first.
#[must_use]
pub fn read(inbox: &Path, address: &str) -> Vec<Mail> {
    let mut files: Vec<PathBuf> = fs::read_dir(inbox)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort_unstable();
    let mails = files.iter().filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok());
    mails.map(|mail| parsed(&mail)).filter(|mail| mail.to == address).collect()
}

fn parsed(mail: &Value) -> Mail {
    let field = |name: &str| mail.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let token = field("token");
    secrecy::note_link(&token);
    Mail {
        to: field("to"),
        kind: field("kind"),
        language: field("language"),
        subject: field("subject"),
        text: field("text"),
        html: field("html"),
        token,
    }
}
