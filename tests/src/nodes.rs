//! Several nodes of one deployment, on one PostgreSQL and one Redis, each behind networks that a test can break.

use std::{sync::Mutex, thread, time::Duration};

use reqwest::Url;

use crate::{
    client::Api,
    error::{HarnessError, tell_skipped},
    port,
    postgres::{Database, Postgres},
    proxy::{Mode, Proxy},
    redis::Redis,
    server::{Server, Settings, faketime},
};

/// Base64 of 32 bytes: all nodes decrypt the same signing keys.
const MASTER_KEY: &str = "b25lIG1hc3RlciBrZXkgZm9yIGFsbCB0aGUgbm9kZXM=";

/// What nodes are started with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of every node.
    pub settings: Settings,
    /// Whether a Redis connects them.
    pub redis: bool,
    /// How far each node's wall clock is off, in seconds: one node a number.
    pub clocks: Vec<i64>,
}

impl Plan {
    /// Three nodes whose passwords cost little, whose limits nobody reaches, and whose time-outs are short.
    #[must_use]
    pub fn three() -> Self {
        let settings = [
            ("AUTHV2_MASTER_KEY", MASTER_KEY),
            ("AUTHV2_ISSUER", "http://nodes.test"),
            ("AUTHV2_COOKIES__INSECURE", "true"),
            ("AUTHV2_PASSWORD__MEMORY_KIB", "8"),
            ("AUTHV2_PASSWORD__ITERATIONS", "1"),
            ("AUTHV2_STORE__ACQUIRE_TIMEOUT", "2"),
            // Outlasts a run, so that what ends a credential is what the test does.
            ("AUTHV2_TOKENS__ACCESS_TTL", "3600"),
            ("AUTHV2_SESSION__REFRESH_GRACE", "60"),
            ("AUTHV2_SESSION__MAX_PER_USER", "10000"),
            ("AUTHV2_THROTTLE__PAIR_LIMIT", "100000"),
            ("AUTHV2_THROTTLE__ACCOUNT_LIMIT", "100000"),
            ("AUTHV2_THROTTLE__NETWORK_LIMIT", "100000"),
        ];
        let settings = settings.into_iter().fold(Settings::new(), |settings, (name, value)| settings.with(name, value));
        Self { settings, redis: false, clocks: vec![0; 3] }
    }

    /// With a Redis between them.
    #[must_use]
    pub fn redis(self, redis: bool) -> Self {
        Self { redis, ..self }
    }

    /// With one more setting, for every node.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings = self.settings.with(name, value);
        self
    }

    /// With a node for each of these seconds, whose wall clock is that far off (libfaketime).
    #[must_use]
    pub fn clocks(self, clocks: &[i64]) -> Self {
        Self { clocks: clocks.to_vec(), ..self }
    }
}

/// A server behind the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The store.
    Postgres,
    /// The cache.
    Redis,
}

/// What happens to a [`Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is killed, and later started again: Redis empty, PostgreSQL on its data.
    Kill,
    /// It is frozen (`SIGSTOP`), and later goes on.
    Freeze,
    /// The network before it does this, and later passes again.
    Network(Mode),
}

/// A running deployment, ended when this is dropped.
#[derive(Debug)]
pub struct Nodes {
    // Ended in this order: nodes, networks, database, servers.
    nodes: Vec<Node>,
    database: Database,
    postgres: Mutex<Postgres>,
    redis: Option<Mutex<Redis>>,
}

/// One node, and the networks between it and the servers.
#[derive(Debug)]
struct Node {
    server: Mutex<Server>,
    url: String,
    to_postgres: Proxy,
    to_redis: Option<Proxy>,
}

impl Nodes {
    /// Starts the servers, then one node after the other. None, and loud words, where a program is not installed.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start_or_skip(test: &str, plan: &Plan) -> Result<Option<Self>, HarnessError> {
        if plan.clocks.iter().any(|clock| *clock != 0)
            && let Err(missing) = faketime()
        {
            tell_skipped(test, &missing);
            return Ok(None);
        }
        let Some(postgres) = Postgres::start_own_or_skip(test)? else { return Ok(None) };
        let redis = if plan.redis {
            let Some(redis) = Redis::start_own_or_skip(test)? else { return Ok(None) };
            Some(redis)
        } else {
            None
        };
        let database = postgres.fresh_database().await?;
        let mut nodes = Vec::new();
        for clock in &plan.clocks {
            nodes.push(Node::start(plan, *clock, &database, &postgres, redis.as_ref())?);
        }
        Ok(Some(Self { nodes, database, postgres: Mutex::new(postgres), redis: redis.map(Mutex::new) }))
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// A client of each node.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn apis(&self) -> Result<Vec<Api>, HarnessError> {
        Ok(self.nodes.iter().map(|node| Api::new(&node.url)).collect::<Result<_, _>>()?)
    }

    /// The database that they share.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Begins a fault. Blocks until it has begun.
    ///
    /// # Errors
    /// The system's.
    pub fn strike(&self, backend: Backend, fault: Fault) -> Result<(), HarnessError> {
        match (fault, backend) {
            (Fault::Kill, Backend::Postgres) => lock(&self.postgres).kill_9(),
            (Fault::Freeze, Backend::Postgres) => lock(&self.postgres).freeze(),
            (Fault::Kill, Backend::Redis) => self.with_redis(Redis::kill_9),
            (Fault::Freeze, Backend::Redis) => self.with_redis(Redis::freeze),
            (Fault::Network(mode), _) => {
                self.network(backend, mode);
                Ok(())
            }
        }
    }

    /// Ends it. Blocks until the server takes connections again.
    ///
    /// # Errors
    /// When the server does not start again.
    pub fn heal(&self, backend: Backend, fault: Fault) -> Result<(), HarnessError> {
        match (fault, backend) {
            (Fault::Kill, Backend::Postgres) => lock(&self.postgres).restart(),
            (Fault::Freeze, Backend::Postgres) => lock(&self.postgres).thaw(),
            (Fault::Kill, Backend::Redis) => self.with_redis(Redis::restart),
            (Fault::Freeze, Backend::Redis) => self.with_redis(Redis::thaw),
            (Fault::Network(_), _) => {
                self.network(backend, Mode::Pass);
                Ok(())
            }
        }
    }

    /// What becomes of the bytes between one node and a server.
    pub fn network_of(&self, node: usize, backend: Backend, mode: Mode) {
        let proxy = self.nodes.get(node).and_then(|node| match backend {
            Backend::Postgres => Some(&node.to_postgres),
            Backend::Redis => node.to_redis.as_ref(),
        });
        if let Some(proxy) = proxy {
            proxy.set(mode);
        }
    }

    fn network(&self, backend: Backend, mode: Mode) {
        for node in 0..self.nodes.len() {
            self.network_of(node, backend, mode);
        }
    }

    fn with_redis(&self, act: fn(&mut Redis) -> Result<(), HarnessError>) -> Result<(), HarnessError> {
        self.redis.as_ref().map_or(Ok(()), |redis| act(&mut lock(redis)))
    }

    /// Ends a node in order (`SIGTERM`). Blocks until it has ended.
    ///
    /// # Errors
    /// The system's.
    pub fn stop(&self, node: usize) -> Result<(), HarnessError> {
        self.with_server(node, Server::stop)
    }

    /// Ends a node as a power cut would.
    ///
    /// # Errors
    /// The system's.
    pub fn kill_9(&self, node: usize) -> Result<(), HarnessError> {
        self.with_server(node, Server::kill_9)
    }

    /// Starts a node again under its address. Blocks until it listens.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&self, node: usize) -> Result<(), HarnessError> {
        self.with_server(node, Server::restart)
    }

    /// What a node has written to standard error.
    #[must_use]
    pub fn stderr(&self, node: usize) -> String {
        self.nodes.get(node).map_or_else(String::new, |node| lock(&node.server).stderr())
    }

    fn with_server(&self, node: usize, act: fn(&mut Server) -> Result<(), HarnessError>) -> Result<(), HarnessError> {
        self.nodes.get(node).map_or(Ok(()), |node| act(&mut lock(&node.server)))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // What a failed test left frozen could neither end nor be asked to drop the database. An error leaves it to the
        // watchdogs.
        let _thawed = self.heal(Backend::Postgres, Fault::Freeze);
        let _thawed = self.heal(Backend::Redis, Fault::Freeze);
    }
}

impl Node {
    fn start(
        plan: &Plan,
        clock: i64,
        database: &Database,
        postgres: &Postgres,
        redis: Option<&Redis>,
    ) -> Result<Self, HarnessError> {
        let to_postgres = Proxy::start(postgres.port())?;
        let to_redis = redis.map(|redis| redis.port().and_then(Proxy::start)).transpose()?;
        let mut settings = plan
            .settings
            .clone()
            .store(&through(&to_postgres, database.runtime_url())?)
            .with("AUTHV2_STORE__MIGRATE_URL", through(&to_postgres, database.url())?);
        if let Some(proxy) = &to_redis {
            settings = settings.with("AUTHV2_REDIS__URL", format!("redis://127.0.0.1:{}", proxy.port()));
        }
        if clock != 0 {
            settings = settings.clock(clock)?;
        }
        let server = start_on_a_port_of_its_own(&settings)?;
        Ok(Self { url: server.url().to_owned(), server: Mutex::new(server), to_postgres, to_redis })
    }
}

/// A port that stays the node's across its restarts. Another program may take it first: then another one is tried.
fn start_on_a_port_of_its_own(settings: &Settings) -> Result<Server, HarnessError> {
    let mut attempts = 3;
    loop {
        attempts -= 1;
        let port = port::free().map_err(HarnessError::io("looking for a free port"))?;
        match settings.clone().with("AUTHV2_LISTEN", format!("127.0.0.1:{port}")).start() {
            Err(HarnessError::Failed { output, .. }) if attempts > 0 && output.contains("in use") => {
                thread::sleep(Duration::from_millis(10));
            }
            started => return started,
        }
    }
}

/// The same database, reached through a proxy.
fn through(proxy: &Proxy, url: &str) -> Result<String, HarnessError> {
    let unusable = |why: &str| HarnessError::Setting { variable: crate::postgres::URL_VARIABLE, why: why.to_owned() };
    let mut url = Url::parse(url).map_err(|_| unusable("it is no URL"))?;
    url.set_port(Some(proxy.port())).map_err(|()| unusable("it has no place for a port"))?;
    Ok(url.to_string())
}

/// A test that panicked with it in hand has failed already, and its end is all that follows.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
