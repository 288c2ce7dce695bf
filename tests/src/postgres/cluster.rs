//! The processes and files of a PostgreSQL: made once, started and killed as often as a test likes.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{BINARIES_VARIABLE, URL_VARIABLE};
use crate::{
    error::{HarnessError, tail},
    watchdog::Guarded,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// The server's program.
pub(super) const SERVER: &str = "postgres";
/// The directory of its data, in the cluster's own.
const DATA: &str = "data";
const READY: &str = "database system is ready to accept connections";
/// What the cluster trades for speed is durability through a power cut, which no test here asks for: the crash tests
/// kill processes, and what those have written the system keeps.
const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    // A commit outlives a kill of the server, though not of the machine.
    "synchronous_commit=on",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "max_wal_size=512MB",
    "lc_messages=C",
];

/// A cluster of its own in a temporary directory.
#[derive(Debug)]
pub(super) struct Cluster {
    binaries: PathBuf,
    user: Option<Unprivileged>,
    port: u16,
    server: Guarded,
}

impl Cluster {
    /// Makes a cluster and starts it. [`HarnessError::Failed`] when the port is taken.
    pub(super) fn create(port: u16) -> Result<Self, HarnessError> {
        let binaries = binaries()?;
        let user = unprivileged()?;
        let directory = tempfile::Builder::new()
            .prefix("authv2-postgres-")
            .tempdir()
            .map_err(HarnessError::io("making a directory for PostgreSQL"))?;
        if let Some(user) = &user {
            chown(directory.path(), Some(user.uid), Some(user.gid))
                .map_err(HarnessError::io("giving PostgreSQL its directory"))?;
        }
        create_data(&binaries, user.as_ref(), directory.path())?;
        let server = start(&binaries, user.as_ref(), directory, port)?;
        Ok(Self { binaries, user, port, server })
    }

    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    pub(super) fn kill_9(&mut self) -> Result<(), HarnessError> {
        self.server.kill_9().map(drop).map_err(HarnessError::io("killing PostgreSQL"))
    }

    pub(super) fn restart(&mut self) -> Result<(), HarnessError> {
        self.kill_9()?;
        let directory = self.server.take_directory().ok_or_else(|| HarnessError::Failed {
            program: SERVER.to_owned(),
            output: "an earlier start failed and took its files along".to_owned(),
        })?;
        self.server = start(&self.binaries, self.user.as_ref(), directory, self.port)?;
        Ok(())
    }

    pub(super) fn freeze(&mut self) -> Result<(), HarnessError> {
        self.server.freeze().map_err(HarnessError::io("freezing PostgreSQL"))
    }

    pub(super) fn thaw(&mut self) -> Result<(), HarnessError> {
        self.server.thaw().map_err(HarnessError::io("thawing PostgreSQL"))
    }
}

/// Starts the server on the data of `directory`, and waits until it takes connections.
fn start(binaries: &Path, user: Option<&Unprivileged>, directory: TempDir, port: u16) -> Result<Guarded, HarnessError> {
    start_by(Instant::now() + PATIENCE, binaries, user, directory, port)
}

fn start_by(
    deadline: Instant,
    binaries: &Path,
    user: Option<&Unprivileged>,
    directory: TempDir,
    port: u16,
) -> Result<Guarded, HarnessError> {
    let log = directory.path().join("server.log");
    let output = File::create(&log).map_err(HarnessError::io("creating PostgreSQL's log"))?;
    let mut command = as_user(user, &binaries.join(SERVER));
    command.arg("-D").arg(directory.path().join(DATA)).args(["-c", &format!("port={port}")]);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
        .current_dir(directory.path())
        .stdout(output.try_clone().map_err(HarnessError::io("opening PostgreSQL's log"))?)
        .stderr(output);
    // SIGQUIT is PostgreSQL's immediate shutdown: nobody needs this cluster again.
    let mut server =
        Guarded::start(&mut command, Signal::QUIT, Some(directory)).map_err(HarnessError::io("starting PostgreSQL"))?;
    loop {
        let said = fs::read_to_string(&log).unwrap_or_default();
        if said.contains(READY) {
            return Ok(server);
        }
        if server.ended().map_err(HarnessError::io("waiting for PostgreSQL"))?.is_some() {
            // The children of one that was killed live a moment longer, and hold its memory.
            if said.contains("is still in use")
                && Instant::now() < deadline
                && let Some(directory) = server.take_directory()
            {
                thread::sleep(Duration::from_millis(50));
                return start_by(deadline, binaries, user, directory, port);
            }
            return Err(HarnessError::Failed { program: SERVER.to_owned(), output: tail(&said, 2000) });
        }
        if Instant::now() > deadline {
            let output = tail(&said, 2000);
            return Err(HarnessError::Late { program: SERVER.to_owned(), after: PATIENCE, output });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Whom PostgreSQL runs as: it refuses root.
#[derive(Debug)]
pub(crate) struct Unprivileged {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

pub(crate) fn unprivileged() -> Result<Option<Unprivileged>, HarnessError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").map_err(HarnessError::io("reading /etc/passwd"))?;
    ["postgres", "nobody"]
        .iter()
        .find_map(|wanted| accounts.lines().find_map(|line| account(line, wanted)))
        .map(Some)
        .ok_or(HarnessError::Missing {
            program: "an account `postgres` or `nobody`",
            package: "postgresql",
            variable: URL_VARIABLE,
        })
}

fn account(line: &str, wanted: &str) -> Option<Unprivileged> {
    let mut fields = line.split(':');
    if fields.next()? != wanted {
        return None;
    }
    // The password field stands between the name and the ids.
    let mut ids = fields.skip(1);
    Some(Unprivileged { uid: ids.next()?.parse().ok()?, gid: ids.next()?.parse().ok()? })
}

/// `setpriv` replaces itself with the program, so that the pid is the server's own.
pub(crate) fn as_user(user: Option<&Unprivileged>, program: &Path) -> Command {
    let Some(user) = user else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups", "--"])
        .arg(program);
    command
}

fn binaries() -> Result<PathBuf, HarnessError> {
    let named = env::var_os(BINARIES_VARIABLE).map(PathBuf::from);
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    named
        .into_iter()
        .chain(installed())
        .chain(on_path)
        .find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())
        .ok_or(HarnessError::Missing { program: "initdb", package: "postgresql", variable: BINARIES_VARIABLE })
}

/// Debian keeps each version apart and off the `PATH`; the newest comes first.
fn installed() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or(0);
    let mut versions: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    versions.sort_by_key(version);
    versions.into_iter().rev().map(|version| version.join("bin")).collect()
}

fn create_data(binaries: &Path, user: Option<&Unprivileged>, directory: &Path) -> Result<(), HarnessError> {
    let made = as_user(user, &binaries.join("initdb"))
        .arg("-D")
        .arg(directory.join(DATA))
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
        .current_dir(directory)
        .output()
        .map_err(HarnessError::io("running initdb"))?;
    if made.status.success() {
        return Ok(());
    }
    let output = tail(&String::from_utf8_lossy(&made.stderr), 2000);
    Err(HarnessError::Failed { program: "initdb".to_owned(), output })
}
