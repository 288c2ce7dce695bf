//! A real PostgreSQL for tests: a cluster in a temporary directory, on a free loopback port, nothing synced to disk.

mod cluster;

use std::{env, sync::OnceLock, thread};

use reqwest::Url;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, postgres::PgConnectOptions};
use uuid::Uuid;

use self::cluster::{Cluster, SERVER};
pub(crate) use self::cluster::{as_user, unprivileged};
use crate::{
    error::{HarnessError, tell_skipped},
    port,
};

/// Names a superuser's URL of a PostgreSQL that runs already, as `./test` starts one for the whole run.
pub const URL_VARIABLE: &str = "AUTHV2_TEST_POSTGRES_URL";
/// Says in which directory `initdb` and `postgres` are.
pub const BINARIES_VARIABLE: &str = "AUTHV2_TEST_POSTGRES_BIN";

/// A PostgreSQL server, ended when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    admin: Url,
    server: Option<Cluster>,
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
        let server = Cluster::create(port)?;
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
        self.server.as_ref().map(Cluster::id)
    }

    /// Its port, for a proxy in front of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.admin.port().unwrap_or(5432)
    }

    /// Kills the server and its backends as a crash would; what it has committed stays. Does nothing to one elsewhere.
    ///
    /// # Errors
    /// The system's.
    pub fn kill_9(&mut self) -> Result<(), HarnessError> {
        self.server.as_mut().map_or(Ok(()), Cluster::kill_9)
    }

    /// Starts it again on its port and its data, killing it first if it still runs, and waits until it has recovered.
    /// Does nothing to one elsewhere.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), HarnessError> {
        self.server.as_mut().map_or(Ok(()), Cluster::restart)
    }

    /// Stops the server and its backends where they are (`SIGSTOP`): connections stay open and nobody answers. Does
    /// nothing to one elsewhere.
    ///
    /// # Errors
    /// The system's.
    pub fn freeze(&mut self) -> Result<(), HarnessError> {
        self.server.as_mut().map_or(Ok(()), Cluster::freeze)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// The system's.
    pub fn thaw(&mut self) -> Result<(), HarnessError> {
        self.server.as_mut().map_or(Ok(()), Cluster::thaw)
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

    #[tokio::test]
    async fn a_killed_server_comes_back_with_what_it_had_committed() {
        let test = "a_killed_server_comes_back_with_what_it_had_committed";
        let Some(mut postgres) = Postgres::start_own_or_skip(test).unwrap() else { return };
        let database = postgres.fresh_database().await.unwrap();
        let url = Url::parse(database.url()).unwrap();
        execute(&url, &["CREATE TABLE things (name text)".to_owned()]).await.unwrap();
        for round in 0..2 {
            execute(&url, &[format!("INSERT INTO things VALUES ('{round}')")]).await.unwrap();
            postgres.kill_9().unwrap();
            assert!(execute(&url, &["SELECT 1".to_owned()]).await.is_err());
            postgres.restart().unwrap();
        }
        let mut connection = PgConnectOptions::from_url(&url).unwrap().connect().await.unwrap();
        let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM things").fetch_one(&mut connection).await.unwrap();
        assert_eq!(kept, 2);
    }

    #[tokio::test]
    async fn a_frozen_server_answers_nobody_until_it_thaws() {
        let test = "a_frozen_server_answers_nobody_until_it_thaws";
        let Some(mut postgres) = Postgres::start_own_or_skip(test).unwrap() else { return };
        let mut connection = PgConnectOptions::from_url(&postgres.admin).unwrap().connect().await.unwrap();
        postgres.freeze().unwrap();
        // Pinned, so that the statement goes on after the wait for it.
        let mut asked = std::pin::pin!(connection.execute("SELECT 1"));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(300), &mut asked).await.is_err());
        postgres.thaw().unwrap();
        asked.await.unwrap();
    }
}
