//! A real Redis for tests: without persistence, on a free loopback port; Sentinels and Clusters of several.

mod cluster;
mod sentinel;

pub use self::{cluster::Cluster, sentinel::Watched};

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    error::{HarnessError, tail, tell_skipped},
    port,
    watchdog::Guarded,
};

/// Names a Redis that runs already, as `./test` starts one for the whole run.
pub const URL_VARIABLE: &str = "AUTHV2_TEST_REDIS_URL";
/// Says where the server binary is when it is not on the `PATH`.
const BINARY_VARIABLE: &str = "AUTHV2_TEST_REDIS_SERVER";
/// Says where Valkey's is.
const VALKEY_VARIABLE: &str = "AUTHV2_TEST_VALKEY_SERVER";
const PATIENCE: Duration = Duration::from_secs(15);
/// Without persistence, and without the wait in which Redis gathers replicas.
const IN_MEMORY: &str = "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n";

/// A Redis server, ended when this is dropped.
#[derive(Debug)]
pub struct Redis {
    url: String,
    server: Option<Guarded>,
    program: Program,
}

/// What runs, so that it can be started again.
#[derive(Debug, Clone)]
struct Program {
    binary: String,
    /// The content of its configuration file, where it needs one.
    config: Option<String>,
    options: Vec<String>,
}

impl Program {
    fn redis() -> Self {
        let binary = env::var(BINARY_VARIABLE).unwrap_or_else(|_| "redis-server".to_owned());
        Self { binary, config: Some(IN_MEMORY.to_owned()), options: Vec::new() }
    }

    fn valkey() -> Self {
        let binary = env::var(VALKEY_VARIABLE).unwrap_or_else(|_| "valkey-server".to_owned());
        Self { binary, ..Self::redis() }
    }

    fn missing(&self) -> HarnessError {
        if self.binary == Self::valkey().binary {
            HarnessError::Missing { program: "valkey-server", package: "valkey-server", variable: VALKEY_VARIABLE }
        } else {
            HarnessError::Missing { program: "redis-server", package: "redis-server", variable: BINARY_VARIABLE }
        }
    }
}

impl Redis {
    /// The Redis named by `AUTHV2_TEST_REDIS_URL`, else one started here.
    ///
    /// The named one is shared: a test keeps to keys of its own, and one that stops Redis or empties it takes
    /// [`start_own`](Self::start_own).
    ///
    /// # Errors
    /// When the binary is missing or does not get ready.
    pub fn start() -> Result<Self, HarnessError> {
        match env::var(URL_VARIABLE) {
            Ok(url) if !url.is_empty() => Ok(Self { url, server: None, program: Program::redis() }),
            _ => Self::start_own(),
        }
    }

    /// A Redis of the caller's own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_own() -> Result<Self, HarnessError> {
        Self::start_with(&[])
    }

    /// A Redis of the caller's own, with further options, as in `["--cluster-enabled", "yes"]`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(options: &[&str]) -> Result<Self, HarnessError> {
        Self::start_program(&Program { options: options.iter().map(ToString::to_string).collect(), ..Program::redis() })
    }

    /// A Valkey of the caller's own, or loud words that the test is skipped where `AUTHV2_TEST_VALKEY_SERVER` names
    /// none and none is on the `PATH`.
    ///
    /// # Errors
    /// When it is installed and does not start.
    pub fn start_valkey_or_skip(test: &str) -> Result<Option<Self>, HarnessError> {
        or_skip(test, Self::start_program(&Program::valkey()))
    }

    fn start_program(program: &Program) -> Result<Self, HarnessError> {
        // Another program may take the free port first, so a failed start is tried again elsewhere.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let free = port::free().map_err(HarnessError::io("looking for a free port"))?;
            match Self::start_at(free, program.clone()) {
                Err(HarnessError::Failed { .. }) if attempts > 0 => {}
                started => return started,
            }
        }
    }

    /// A Redis of the caller's own, or loud words that the test is skipped where its binary is not installed: the tests may
    /// run against a server elsewhere.
    ///
    /// # Errors
    /// When it is installed and does not start: that is a failure, not a reason to skip.
    pub fn start_own_or_skip(test: &str) -> Result<Option<Self>, HarnessError> {
        or_skip(test, Self::start_own())
    }

    /// A Redis on a given port, so that a test can let one die and come back under the same address.
    ///
    /// # Errors
    /// As [`start`](Self::start); [`HarnessError::Failed`] also when the port is taken.
    pub fn start_on(port: u16) -> Result<Self, HarnessError> {
        Self::start_at(port, Program::redis())
    }

    fn start_at(port: u16, program: Program) -> Result<Self, HarnessError> {
        let directory = tempfile::Builder::new()
            .prefix("authv2-redis-")
            .tempdir()
            .map_err(HarnessError::io("making a directory"))?;
        let log = directory.path().join("redis.log");
        let output = File::create(&log).map_err(HarnessError::io("creating Redis' log"))?;
        let mut command = Command::new(&program.binary);
        if let Some(config) = &program.config {
            // A Sentinel writes to its file.
            let file = directory.path().join("redis.conf");
            fs::write(&file, config).map_err(HarnessError::io("writing Redis' configuration"))?;
            command.arg(file);
        }
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no"])
            .args(&program.options)
            .current_dir(directory.path())
            .stderr(output.try_clone().map_err(HarnessError::io("opening Redis' log"))?)
            .stdout(output);
        let mut server = Guarded::start(&mut command, Signal::TERM, Some(directory)).map_err(|_| program.missing())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = || tail(&fs::read_to_string(&log).unwrap_or_default(), 2000);
            if server.ended().map_err(HarnessError::io("waiting for Redis"))?.is_some() {
                return Err(HarnessError::Failed { program: program.binary, output: said() });
            }
            if ping(port) {
                return Ok(Self { url: format!("redis://127.0.0.1:{port}"), server: Some(server), program });
            }
            if Instant::now() > deadline {
                return Err(HarnessError::Late { program: program.binary, after: PATIENCE, output: said() });
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What `redis-cli` answers to a command at this server, without the last line's end.
    ///
    /// # Errors
    /// When it is not installed, or the server refuses the command.
    pub fn cli(&self, arguments: &[&str]) -> Result<String, HarnessError> {
        cli(self.port()?, arguments)
    }

    /// Where it listens, as `redis://…`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its port, for a proxy in front of it.
    ///
    /// # Errors
    /// When its URL names none.
    pub fn port(&self) -> Result<u16, HarnessError> {
        let url = reqwest::Url::parse(&self.url).ok();
        url.map(|url| url.port().unwrap_or(6379))
            .ok_or_else(|| HarnessError::Setting { variable: URL_VARIABLE, why: "it is no URL".to_owned() })
    }

    /// Kills this Redis as a crash would: nobody listens any more, and what it held is gone. Does nothing to a shared one.
    ///
    /// # Errors
    /// The system's.
    pub fn kill_9(&mut self) -> Result<(), HarnessError> {
        match &mut self.server {
            Some(server) => server.kill_9().map(drop).map_err(HarnessError::io("killing Redis")),
            None => Ok(()),
        }
    }

    /// Starts it again on its port, empty, ending it first if it still runs. Does nothing to a shared one.
    ///
    /// # Errors
    /// As [`start_on`](Self::start_on).
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        if self.server.take().is_some() {
            *self = Self::start_at(self.port()?, self.program.clone())?;
        }
        Ok(())
    }

    /// Stops it where it is (`SIGSTOP`): its connections stay open and nobody answers. Does nothing to a shared one.
    ///
    /// # Errors
    /// The system's.
    pub fn freeze(&mut self) -> Result<(), HarnessError> {
        match &mut self.server {
            Some(server) => server.freeze().map_err(HarnessError::io("freezing Redis")),
            None => Ok(()),
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// The system's.
    pub fn thaw(&mut self) -> Result<(), HarnessError> {
        match &mut self.server {
            Some(server) => server.thaw().map_err(HarnessError::io("thawing Redis")),
            None => Ok(()),
        }
    }
}

fn or_skip(test: &str, started: Result<Redis, HarnessError>) -> Result<Option<Redis>, HarnessError> {
    match started {
        Err(missing @ HarnessError::Missing { .. }) => {
            tell_skipped(test, &missing);
            Ok(None)
        }
        started => started.map(Some),
    }
}

fn cli(port: u16, arguments: &[&str]) -> Result<String, HarnessError> {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string(), "-e"])
        .args(arguments)
        .output()
        .map_err(|_| HarnessError::Missing { program: "redis-cli", package: "redis-tools", variable: "PATH" })?;
    let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() {
        Ok(said)
    } else {
        let output = format!("{said} {}", String::from_utf8_lossy(&output.stderr));
        Err(HarnessError::Failed { program: "redis-cli".to_owned(), output: tail(&output, 2000) })
    }
}

/// Whether a Redis answers there: an open port alone may be somebody else's.
fn ping(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return false };
    let asked = stream.set_read_timeout(Some(Duration::from_secs(1))).and_then(|()| stream.write_all(b"PING\r\n"));
    let mut answer = String::new();
    asked.is_ok() && BufReader::new(stream).read_line(&mut answer).is_ok() && answer.starts_with("+PONG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_a_redis_and_leaves_none_behind() {
        let Some(redis) = Redis::start_own_or_skip("starts_a_redis_and_leaves_none_behind").unwrap() else { return };
        let port: u16 = redis.url().rsplit(':').next().unwrap().parse().unwrap();
        assert!(ping(port));
        drop(redis);
        assert!(!ping(port));
    }

    #[test]
    fn a_killed_redis_comes_back_empty_and_a_frozen_one_goes_on() {
        let test = "a_killed_redis_comes_back_empty_and_a_frozen_one_goes_on";
        let Some(mut redis) = Redis::start_own_or_skip(test).unwrap() else { return };
        let port = redis.port().unwrap();
        let say = |line: &str| {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).map(|_| answer.trim().to_owned())
        };
        assert_eq!(say("SET key value").unwrap(), "+OK");
        redis.freeze().unwrap();
        assert!(say("EXISTS key").is_err());
        redis.thaw().unwrap();
        assert_eq!(say("EXISTS key").unwrap(), ":1");
        redis.kill_9().unwrap();
        assert!(!ping(port));
        redis.restart().unwrap();
        assert_eq!(say("EXISTS key").unwrap(), ":0");
    }
}
