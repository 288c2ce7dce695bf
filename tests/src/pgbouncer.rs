//! A real PgBouncer for tests, in transaction mode: few server connections that many clients share.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::chown,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use reqwest::Url;
use rustix::process::Signal;

use crate::{
    error::{HarnessError, tail, tell_skipped},
    port,
    postgres::{Database, as_user, unprivileged},
    watchdog::Guarded,
};

/// Says where the binary is when it is neither on the `PATH` nor where Debian puts it.
pub const BINARY_VARIABLE: &str = "AUTHV2_TEST_PGBOUNCER";
const PROGRAM: &str = "pgbouncer";
const PATIENCE: Duration = Duration::from_secs(15);

/// A PgBouncer in front of one test's database, ended when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    runtime_url: String,
    server: Guarded,
}

impl PgBouncer {
    /// In front of `database`, with at most `connections` to the server for each role.
    ///
    /// # Errors
    /// When the binary is missing or does not get ready.
    pub fn start(database: &Database, connections: u32) -> Result<Self, HarnessError> {
        // Another program may take the free port first, so a failed start is tried again elsewhere.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let free = port::free().map_err(HarnessError::io("looking for a free port"))?;
            match Self::start_on(free, database, connections) {
                Err(HarnessError::Failed { .. }) if attempts > 0 => {}
                started => return started,
            }
        }
    }

    /// Likewise, or loud words that the test is skipped where it is not installed.
    ///
    /// # Errors
    /// When it is installed and does not start: that is a failure, not a reason to skip.
    pub fn start_or_skip(test: &str, database: &Database, connections: u32) -> Result<Option<Self>, HarnessError> {
        match Self::start(database, connections) {
            Err(missing @ HarnessError::Missing { .. }) => {
                tell_skipped(test, &missing);
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    fn start_on(port: u16, database: &Database, connections: u32) -> Result<Self, HarnessError> {
        let binary = binary()?;
        let user = unprivileged()?;
        let directory = tempfile::Builder::new()
            .prefix("authv2-pgbouncer-")
            .tempdir()
            .map_err(HarnessError::io("making a directory for PgBouncer"))?;
        let (settings, users) = (directory.path().join("pgbouncer.ini"), directory.path().join("users.txt"));
        let log = directory.path().join("pgbouncer.log");
        let server = parse(database.runtime_url())?;
        let host = format!("{}:{}", server.host_str().unwrap_or_default(), server.port().unwrap_or(5432));
        let write = |path: &PathBuf, text: String| {
            fs::write(path, text).map_err(HarnessError::io("writing PgBouncer's settings"))
        };
        let mut known = String::new();
        for url in [database.url(), database.runtime_url()] {
            let url = parse(url)?;
            known.push_str(&format!("\"{}\" \"{}\"\n", url.username(), url.password().unwrap_or_default()));
        }
        write(&users, known)?;
        let (host, server_port) = host.split_once(':').unwrap_or((&host, "5432"));
        write(
            &settings,
            format!(
                "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}\nlogfile = {}\n\
                 pool_mode = transaction\ndefault_pool_size = {connections}\nmax_client_conn = 500\n",
                users.display(),
                log.display(),
            ),
        )?;
        if let Some(user) = &user {
            for path in [directory.path(), &users, &settings] {
                chown(path, Some(user.uid), Some(user.gid))
                    .map_err(HarnessError::io("giving PgBouncer its directory"))?;
            }
        }
        let mut command = as_user(user.as_ref(), &binary);
        command.arg("--quiet").arg(&settings).current_dir(directory.path());
        let mut process = Guarded::start(&mut command, Signal::TERM, Some(directory))
            .map_err(HarnessError::io("starting PgBouncer"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = || tail(&fs::read_to_string(&log).unwrap_or_default(), 2000);
            if process.ended().map_err(HarnessError::io("waiting for PgBouncer"))?.is_some() {
                return Err(HarnessError::Failed { program: PROGRAM.to_owned(), output: said() });
            }
            // An open port alone may be somebody else's.
            if said().contains("process up") && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                break;
            }
            if Instant::now() > deadline {
                return Err(HarnessError::Late { program: PROGRAM.to_owned(), after: PATIENCE, output: said() });
            }
            thread::sleep(Duration::from_millis(10));
        }
        let mut runtime_url = server.clone();
        // Only a URL without a host refuses a port or a host, and this one has connected already.
        let _moved = (runtime_url.set_port(Some(port)), runtime_url.set_host(Some("127.0.0.1")));
        Ok(Self { runtime_url: runtime_url.to_string(), server: process })
    }

    /// The way through it for the role that serves.
    #[must_use]
    pub fn runtime_url(&self) -> &str {
        &self.runtime_url
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }
}

fn parse(url: &str) -> Result<Url, HarnessError> {
    Url::parse(url)
        .map_err(|error| HarnessError::Setting { variable: crate::postgres::URL_VARIABLE, why: error.to_string() })
}

fn binary() -> Result<PathBuf, HarnessError> {
    let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let debian = PathBuf::from("/usr/sbin");
    env::var_os(BINARY_VARIABLE)
        .map(PathBuf::from)
        .into_iter()
        .chain(on_path.into_iter().chain([debian]).map(|directory| directory.join(PROGRAM)))
        .find(|path| path.is_file())
        .ok_or(HarnessError::Missing { program: PROGRAM, package: "pgbouncer", variable: BINARY_VARIABLE })
}
