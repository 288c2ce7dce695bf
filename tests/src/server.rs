//! The quickstart server as a process of its own: started in an empty directory, killed, started again.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    error::{HarnessError, tail},
    mail::{self, Mail},
    secrecy,
    smtp::Smtp,
    watchdog::Guarded,
};

/// Says which binary to test, instead of the one beside the tests.
pub const BINARY_VARIABLE: &str = "AUTHV2_TEST_QUICKSTART";
/// Says where libfaketime is, where it is not among the system's libraries.
pub const FAKETIME_VARIABLE: &str = "AUTHV2_TEST_FAKETIME";
const PATIENCE: Duration = Duration::from_secs(30);
const MAIL_PATIENCE: Duration = Duration::from_secs(30);
const GREETING: &str = "listening on ";

/// What a [`Server`] is started with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    environment: Vec<(String, String)>,
    writes_no_mails: bool,
}

impl Settings {
    /// The defaults: SQLite in a file of the server's own directory, no Redis.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an environment variable, as `AUTHV2_STORE__URL`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With nobody to send mails. Otherwise they are written to the server's own inbox, for [`Server::mails_to`].
    #[must_use]
    pub fn without_mails(self) -> Self {
        Self { writes_no_mails: true, ..self }
    }

    /// With an SMTP server to send mails.
    #[must_use]
    pub fn smtp(self, server: &Smtp) -> Self {
        self.without_mails()
            .with("AUTHV2_MAIL__SMTP__HOST", "127.0.0.1")
            .with("AUTHV2_MAIL__SMTP__PORT", server.port().to_string())
            .with("AUTHV2_MAIL__SMTP__TLS", "none")
            .with("AUTHV2_MAIL__FROM", "Accounts <accounts@service.test>")
    }

    /// Where users, sessions and all else are kept.
    #[must_use]
    pub fn store(self, url: &str) -> Self {
        self.with("AUTHV2_STORE__URL", url)
    }

    /// A wall clock that is this many seconds ahead, or behind (libfaketime). Its monotonic clock stays right.
    ///
    /// # Errors
    /// When libfaketime is not installed.
    pub fn clock(self, seconds: i64) -> Result<Self, HarnessError> {
        let library = faketime()?;
        Ok(self
            .with("LD_PRELOAD", library.display().to_string())
            .with("FAKETIME", format!("{seconds:+}s"))
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    }

    /// Starts the quickstart with these settings.
    ///
    /// # Errors
    /// When it cannot be built, ends at once, or does not say where it listens within 30 seconds; its standard error
    /// is in the message.
    pub fn start(self) -> Result<Server, HarnessError> {
        let directory = tempfile::Builder::new()
            .prefix("authv2-server-")
            .tempdir()
            .map_err(HarnessError::io("making a directory for the server"))?;
        let mut server = Server { process: None, url: String::new(), settings: self, directory };
        server.restart()?;
        Ok(server)
    }
}

/// A running quickstart, ended when this is dropped.
#[derive(Debug)]
pub struct Server {
    // Before the directory, so that the process has ended when its files go.
    process: Option<Guarded>,
    url: String,
    settings: Settings,
    directory: TempDir,
}

impl Server {
    /// The server with its defaults.
    ///
    /// # Errors
    /// As [`Settings::start`].
    pub fn start() -> Result<Self, HarnessError> {
        Settings::new().start()
    }

    /// Where it listens, as `http://127.0.0.1:PORT`; another port after each start.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The full address of a path of this server.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The directory that it works in, with its database file.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Guarded::id)
    }

    /// All that it has written to standard error, over all its starts.
    #[must_use]
    pub fn stderr(&self) -> String {
        lossy(&self.log("stderr"), 0)
    }

    /// Whether it is still running: one that panicked its way out is not.
    ///
    /// # Errors
    /// The system's.
    pub fn is_running(&mut self) -> Result<bool, HarnessError> {
        match &mut self.process {
            Some(process) => Ok(process.ended().map_err(HarnessError::io("looking at the server"))?.is_none()),
            None => Ok(false),
        }
    }

    /// Ends it as a power cut would: nothing is flushed, nothing is said.
    ///
    /// # Errors
    /// The system's.
    pub fn kill_9(&mut self) -> Result<(), HarnessError> {
        match self.process.take() {
            Some(mut process) => process.kill_9().map(drop).map_err(HarnessError::io("killing the server")),
            None => Ok(()),
        }
    }

    /// Ends it in order, as an orchestrator would (`SIGTERM`).
    ///
    /// # Errors
    /// The system's.
    pub fn stop(&mut self) -> Result<(), HarnessError> {
        match self.process.take() {
            Some(mut process) => process.stop().map(drop).map_err(HarnessError::io("stopping the server")),
            None => Ok(()),
        }
    }

    /// Starts it again in the same directory and on the same database, ending it first if it still runs.
    ///
    /// # Errors
    /// As [`Settings::start`].
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        self.stop()?;
        let binary = binary()?;
        let said_before = length(&self.log("stdout"));
        let open = |name: &str| {
            let path = self.log(name);
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .map_err(HarnessError::io("opening the server's log"))
        };
        let mut command = Command::new(&binary);
        // Settings of the surroundings must not reach the server: it refuses what it does not know.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AUTHV2_")) {
            command.env_remove(name);
        }
        command
            .current_dir(self.directory.path())
            .env("AUTHV2_LISTEN", "127.0.0.1:0")
            .envs(self.sink())
            .envs(self.settings.environment.iter().map(|(name, value)| (name, value)))
            .stdout(open("stdout")?)
            .stderr(open("stderr")?);
        let process = Guarded::start(&mut command, Signal::TERM, None)
            .map_err(HarnessError::io(format!("starting {}", binary.display())))?;
        self.await_greeting(process, said_before)
    }

    /// Where its mails are written, unless its settings say where they go.
    fn sink(&self) -> Option<(&'static str, PathBuf)> {
        (!self.settings.writes_no_mails).then(|| ("AUTHV2_MAIL__SINK", mail::inbox(self.directory.path())))
    }

    /// The mails that it has written to an address, oldest first.
    #[must_use]
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        mail::read(&mail::inbox(self.directory.path()), address)
    }

    /// The newest mail of a kind to an address, as `reset_password`; waited for where it is not there yet.
    ///
    /// # Errors
    /// When none comes within ten seconds.
    pub async fn wait_for_mail(&self, address: &str, kind: &str) -> Result<Mail, HarnessError> {
        self.wait_for_mails(address, kind, 1).await.map(|mut mails| mails.swap_remove(mails.len() - 1))
    }

    /// The mails of a kind to an address, oldest first, once there are so many.
    ///
    /// # Errors
    /// When they do not come within half a minute.
    pub async fn wait_for_mails(&self, address: &str, kind: &str, count: usize) -> Result<Vec<Mail>, HarnessError> {
        let deadline = Instant::now() + MAIL_PATIENCE;
        loop {
            let mut mails = self.mails_to(address);
            mails.retain(|mail| mail.kind == kind);
            if mails.len() >= count {
                return Ok(mails);
            }
            if Instant::now() > deadline {
                let output = format!("{} mails {kind} to {address} instead of {count}", mails.len());
                return Err(HarnessError::Late { program: "quickstart".to_owned(), after: MAIL_PATIENCE, output });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn await_greeting(&mut self, mut process: Guarded, said_before: u64) -> Result<(), HarnessError> {
        let failure = |server: &Self| tail(&server.stderr(), 4000);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = lossy(&self.log("stdout"), said_before);
            // Only a whole line will do: half a port is a port too.
            if let Some((line, _)) = said.split_once('\n') {
                let Some(url) = line.trim().strip_prefix(GREETING) else {
                    let output = format!("its first line was {line:?}");
                    return Err(HarnessError::Failed { program: "quickstart".to_owned(), output });
                };
                url.clone_into(&mut self.url);
                self.process = Some(process);
                return Ok(());
            }
            if let Some(status) = process.ended().map_err(HarnessError::io("waiting for the server"))? {
                let output = format!("{status}\n{}", failure(self));
                return Err(HarnessError::Failed { program: "quickstart".to_owned(), output });
            }
            if Instant::now() > deadline {
                let (program, output) = ("quickstart".to_owned(), failure(self));
                return Err(HarnessError::Late { program, after: PATIENCE, output });
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failing test is told what the server said, which would be gone with its directory.
        if thread::panicking() {
            eprintln!("--- the server's standard error ---\n{}\n---", tail(&self.stderr(), 8000));
            return;
        }
        // What it says while it ends counts too.
        drop(self.process.take());
        let told = secrecy::told_in(self.directory());
        assert!(told.is_empty(), "the server told secrets:\n{told}");
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// What a log holds from a position on; nothing when it is not there yet.
fn lossy(path: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut bytes)
    });
    read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

/// The library that shifts a process's clock.
///
/// # Errors
/// When it is not installed.
pub fn faketime() -> Result<PathBuf, HarnessError> {
    const NAME: &str = "faketime/libfaketimeMT.so.1";
    let named = env::var_os(FAKETIME_VARIABLE).map(PathBuf::from);
    // Debian keeps it in the folder of the architecture, other systems a level higher.
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join(NAME));
    named
        .into_iter()
        .chain(folders)
        .chain([Path::new("/usr/lib").join(NAME), Path::new("/usr/lib64").join(NAME)])
        .find(|library| library.is_file())
        .ok_or(HarnessError::Missing { program: "libfaketime", package: "faketime", variable: FAKETIME_VARIABLE })
}

/// The quickstart: the one that the environment names, or else the one beside this test's executable.
///
/// # Errors
/// When it is not there and cannot be built.
pub fn binary() -> Result<PathBuf, HarnessError> {
    if let Some(named) = env::var_os(BINARY_VARIABLE).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(HarnessError::NoBinary(named)) };
    }
    crate::binary::find("quickstart")
}
