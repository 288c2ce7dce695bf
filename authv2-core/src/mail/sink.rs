//! A directory in place of a mail server, for development and tests.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use async_trait::async_trait;
use serde_json::json;

use super::{Mail, MailError, Mailer};

/// Writes each mail into a directory: `{id}.json` with `to`, `kind`, `subject`, `text`, `html` and `token`. Names sort
/// by the time of the asking; a file is there whole or not at all. Its owner alone can read it: whoever does can take
/// accounts over.
#[derive(Debug, Clone)]
pub struct Sink {
    directory: PathBuf,
}

impl Sink {
    /// Writes into `directory`, which is made if it is not there.
    ///
    /// # Errors
    /// The system's.
    pub fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        Ok(Self { directory })
    }

    fn write(&self, mail: &Mail) -> io::Result<()> {
        let content = json!({
            "to": mail.to,
            "kind": mail.kind.as_str(),
            "language": mail.language,
            "subject": mail.subject,
            "text": mail.text,
            "html": mail.html,
            "token": mail.token.as_ref().map(|token| token.expose().as_str()),
        });
        let (unfinished, finished) =
            (self.directory.join(format!(".{}", mail.id)), self.directory.join(format!("{}.json", mail.id)));
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(format!("{content:#}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(unfinished, finished)
    }
}

#[async_trait]
impl Mailer for Sink {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let (sink, mail) = (self.clone(), mail.clone());
        let written = tokio::task::spawn_blocking(move || sink.write(&mail)).await;
        written.map_err(MailError::temporary)?.map_err(MailError::temporary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::MailId, mail::Kind, secret::Secret};

    #[tokio::test]
    async fn writes_a_file_for_each_mail_that_its_owner_alone_can_read() {
        let directory = std::env::temp_dir().join(format!("authv2-sink-{}", MailId::new()));
        let sink = Sink::open(&directory).unwrap();
        let mail = Mail {
            id: MailId::new(),
            kind: Kind::SignInLink,
            to: "ada@example.org".to_owned(),
            language: "en".to_owned(),
            subject: "Sign in".to_owned(),
            text: "Here".to_owned(),
            html: "<p>Here</p>".to_owned(),
            token: Some(Secret::from("avm_x")),
        };
        // The second time as after a crash.
        for _ in 0..2 {
            sink.send(&mail).await.unwrap();
        }
        let files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 1);
        let read: serde_json::Value = serde_json::from_slice(&fs::read(files[0].path()).unwrap()).unwrap();
        assert_eq!(read["to"], "ada@example.org");
        assert_eq!((&read["kind"], &read["token"]), (&json!("sign_in_link"), &json!("avm_x")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&directory), mode(&files[0].path())), (0o700, 0o600));
        }
        fs::remove_dir_all(&directory).unwrap();
        assert!(matches!(sink.send(&mail).await, Err(MailError::Temporary(_))));
    }
}
