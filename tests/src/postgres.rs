//! A real PostgreSQL for tests: a cluster in a temporary directory, on a free loopback port, nothing synced to disk.

use std::{
    env,
    fs::{self, File},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use reqwest::Url;
use rustix::process::Signal;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, postgres::PgConnectOptions};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    error::{HarnessError, tail, tell_skipped},
    port,
    watchdog::Guarded,
};

/// Names a superuser's URL of a PostgreSQL that runs already, as `./test` starts one for the whole run.
pub const URL_VARIABLE: &str = "AUTHV2_TEST_POSTGRES_URL";
/// Says in which directory `initdb` and `postgres` are.
pub const BINARIES_VARIABLE: &str = "AUTHV2_TEST_POSTGRES_BIN";
const PATIENCE: Duration = Duration::from_secs(60);
/// The server's program.
const SERVER: &str = "postgres";
const READY: &str = "database system is ready to accept connections";
/// What the cluster trades for speed is durability through a power cut, which no test here asks for: the crash tests
/// kill the server under test, not the database.
const SETTINGS: [&str; 9] = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "max_wal_size=512MB",
    "lc_messages=C",
];

/// A PostgreSQL server, ended when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    admin: Url,
    server: Option<Guarded>,
}

impl Postgres {
    /// The server named by `AUTHV2_TEST_POSTGRES_URL`, else one started here.
    ///
    /// # Errors
    /// When the binaries are missing, the server does not get ready, or the variable is not a URL.
    pub fn start() -> Result<Self, HarnessError> {
        match env::var(URL_VARIABLE) {
            Ok(url) if !url.is_empty() => {
                let admin = Url::parse(&url)
                    .map_err(|error| HarnessError::Setting { variable: URL_VARIABLE, why: error.to_string() })?;
                Ok(Self { admin, server: None })
            }
            _ => Self::start_own(),
        }
    }

    /// The one server that all tests of this process share; it ends with the process.
    ///
    /// # Panics
    /// When it cannot be started: no test that asks for PostgreSQL may pass without one.
    #[allow(clippy::panic, reason = "a test that asks for a database it cannot have must fail, and say why")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("PostgreSQL for the tests: {error}")))
    }

    /// A server of the caller's own.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_own() -> Result<Self, HarnessError> {
        // Another program may take the free port first, so a failed start is tried again elsewhere.
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let free = port::free().map_err(HarnessError::io("looking for a free port"))?;
            match Self::start_on(free) {
                Err(HarnessError::Failed { program, .. }) if program == SERVER && attempts > 0 => {}
                started => return started,
            }
        }
    }

    /// A server on a given port. [`HarnessError::Failed`] when the port is taken.
    fn start_on(port: u16) -> Result<Self, HarnessError> {
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
        let data = directory.path().join("data");
        create_cluster(&binaries, user.as_ref(), directory.path(), &data)?;

        let log = directory.path().join("server.log");
        let output = File::create(&log).map_err(HarnessError::io("creating PostgreSQL's log"))?;
        let mut command = as_user(user.as_ref(), &binaries.join(SERVER));
        command.arg("-D").arg(&data).args(["-c", &format!("port={port}")]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command
            .current_dir(directory.path())
            .stdout(output.try_clone().map_err(HarnessError::io("opening PostgreSQL's log"))?)
            .stderr(output);
        let server = run(&mut command, directory, &log)?;
        let admin = Url::parse(&format!("postgres://postgres@127.0.0.1:{port}/postgres"))
            .map_err(|error| HarnessError::Setting { variable: URL_VARIABLE, why: error.to_string() })?;
        Ok(Self { admin, server: Some(server) })
    }

    /// A PostgreSQL of the caller's own, or loud words that the test is skipped where its binaries are not installed: the tests may
    /// run against a server elsewhere.
    ///
    /// # Errors
    /// When it is installed and does not start: that is a failure, not a reason to skip.
    pub fn start_own_or_skip(test: &str) -> Result<Option<Self>, HarnessError> {
        match Self::start_own() {
            Err(missing @ HarnessError::Missing { .. }) => {
                tell_skipped(test, &missing);
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    /// The superuser's URL of the maintenance database.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        self.admin.as_str()
    }

    /// The server's process id, where it was started here.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.server.as_ref().map(Guarded::id)
    }

    /// A new, empty database with two roles of its own, all dropped with the value.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn fresh_database(&self) -> Result<Database, HarnessError> {
        let name = format!("authv2_{}", Uuid::now_v7().simple());
        let (owner, runtime) = (format!("{name}_owner"), format!("{name}_app"));
        let secret = Uuid::now_v7().simple().to_string();
        let url = |role: &str| {
            let mut url = self.admin.clone();
            url.set_path(&name);
            // Only a URL without a host refuses a user name, and this one has connected already.
            let _host = url.set_username(role).and_then(|()| url.set_password(Some(&secret)));
            url.to_string()
        };
        let database = Database {
            url: url(&owner),
            runtime_url: url(&runtime),
            admin: self.admin.clone(),
            name: name.clone(),
            roles: [owner.clone(), runtime.clone()],
        };
        execute(
            &self.admin,
            &[
                format!("CREATE ROLE {owner} LOGIN PASSWORD '{secret}'"),
                format!("CREATE ROLE {runtime} LOGIN PASSWORD '{secret}'"),
                format!("CREATE DATABASE {name} OWNER {owner} TEMPLATE template0 ENCODING 'UTF8'"),
            ],
        )
        .await?;
        let mut inside = self.admin.clone();
        inside.set_path(&name);
        execute(
            &inside,
            &[
                format!(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {runtime}"
                ),
                format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT USAGE, SELECT ON SEQUENCES TO {runtime}"),
            ],
        )
        .await?;
        Ok(database)
    }
}

/// One test's database. Dropping it drops the database, whoever is still connected, and its roles.
#[derive(Debug)]
pub struct Database {
    url: String,
    runtime_url: String,
    admin: Url,
    name: String,
    roles: [String; 2],
}

impl Database {
    /// The owner's URL: may migrate; owns the tables, so row level security does not bind it unless forced.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of a role that owns nothing and reads and writes what the owner makes: the one production wants.
    #[must_use]
    pub fn runtime_url(&self) -> &str {
        &self.runtime_url
    }

    /// A superuser's URL of this database, for looking where no tenant may.
    #[must_use]
    pub fn admin_url(&self) -> String {
        let mut url = self.admin.clone();
        url.set_path(&self.name);
        url.to_string()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let mut statements = vec![format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)];
        statements.extend(self.roles.iter().map(|role| format!("DROP ROLE IF EXISTS {role}")));
        let admin = self.admin.clone();
        // A thread of its own, since a test's runtime may not be blocked on from inside. A failure is nobody's: the
        // server was stopped first, or goes away with the run.
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let _dropped = runtime.block_on(execute(&admin, &statements));
            Ok::<_, std::io::Error>(())
        });
        let _joined = dropped.join();
    }
}

async fn execute(url: &Url, statements: &[String]) -> Result<(), HarnessError> {
    let mut connection = PgConnectOptions::from_url(url)?.connect().await?;
    for statement in statements {
        connection.execute(AssertSqlSafe(statement.clone())).await?;
    }
    Ok(connection.close().await?)
}

/// Whom PostgreSQL runs as: it refuses root.
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

fn create_cluster(
    binaries: &Path,
    user: Option<&Unprivileged>,
    directory: &Path,
    data: &Path,
) -> Result<(), HarnessError> {
    let made = as_user(user, &binaries.join("initdb"))
        .arg("-D")
        .arg(data)
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

fn run(command: &mut Command, directory: TempDir, log: &Path) -> Result<Guarded, HarnessError> {
    // SIGQUIT is PostgreSQL's immediate shutdown: nobody needs this cluster again.
    let mut server =
        Guarded::start(command, Signal::QUIT, Some(directory)).map_err(HarnessError::io("starting PostgreSQL"))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        if said.contains(READY) {
            return Ok(server);
        }
        if server.ended().map_err(HarnessError::io("waiting for PostgreSQL"))?.is_some() {
            return Err(HarnessError::Failed { program: SERVER.to_owned(), output: tail(&said, 2000) });
        }
        if Instant::now() > deadline {
            let output = tail(&said, 2000);
            return Err(HarnessError::Late { program: SERVER.to_owned(), after: PATIENCE, output });
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_ends_the_server_so_that_another_can_be_tried() {
        let taken = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
        match Postgres::start_on(taken.local_addr().unwrap().port()) {
            Err(HarnessError::Failed { program, .. }) => assert_eq!(program, SERVER),
            Err(missing @ HarnessError::Missing { .. }) => {
                tell_skipped("a_taken_port_ends_the_server_so_that_another_can_be_tried", &missing);
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn gives_each_test_a_database_of_its_own_and_drops_it() {
        let postgres = Postgres::shared();
        let database = postgres.fresh_database().await.unwrap();
        let url = Url::parse(database.url()).unwrap();
        let create = "CREATE TABLE things (id bigint GENERATED BY DEFAULT AS IDENTITY, name text)".to_owned();
        execute(&url, &[create, "INSERT INTO things (name) VALUES ('one')".to_owned()]).await.unwrap();
        drop(database);
        assert!(execute(&url, &["SELECT 1".to_owned()]).await.is_err());
    }

    #[tokio::test]
    async fn lets_the_runtime_role_write_rows_but_not_change_tables() {
        let database = Postgres::shared().fresh_database().await.unwrap();
        let owner = Url::parse(database.url()).unwrap();
        let runtime = Url::parse(database.runtime_url()).unwrap();
        execute(&owner, &["CREATE TABLE things (id bigserial, name text)".to_owned()]).await.unwrap();
        execute(&runtime, &["INSERT INTO things (name) VALUES ('one')".to_owned()]).await.unwrap();
        assert!(execute(&runtime, &["DROP TABLE things".to_owned()]).await.is_err());
        assert!(execute(&runtime, &["CREATE TABLE others (id bigint)".to_owned()]).await.is_err());
    }
}
