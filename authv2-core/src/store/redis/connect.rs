//! Opens connections: to one server, to the master that Sentinels name, to a Cluster.

use std::{fs, io, path::Path, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    RedisError as RedisFailure, RedisResult, ServerErrorKind, TlsCertificates, Value,
    aio::{MultiplexedConnection, PubSub},
    cluster::{ClusterClient, ClusterClientBuilder},
    cluster_async::ClusterConnection,
    cmd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::address::{Address, Servers};
use crate::store::shared::RedisError;

/// How long one server may take to be reached and to let in. Callers do not wait for it, only for their own time-out.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many commands wait to be written at once; beyond that callers wait, within their time-out.
const QUEUE: usize = 4096;
/// How often a question follows a Cluster that moves its slots.
const REDIRECTS: u32 = 3;

/// A connection that many use at once; a cheap clone.
#[derive(Clone)]
pub(super) enum Connection {
    Server(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        match self {
            Self::Server(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

/// Opens connections.
pub(super) struct Connector {
    servers: Servers,
    cluster: Option<ClusterClient>,
    ca: Option<TlsCertificates>,
}

impl Connector {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// When the CA file cannot be read or holds no certificate.
    pub(super) fn new(address: Address, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, RedisError> {
        if address.is_tls {
            choose_crypto();
        }
        let ca = ca_file.map(read_ca).transpose()?;
        let cluster = match &address.servers {
            Servers::Cluster(nodes) => Some(cluster_client(nodes, ca.clone(), timeout)?),
            Servers::Single(_) | Servers::Sentinel { .. } => None,
        };
        Ok(Self { servers: address.servers, cluster, ca })
    }

    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        if let Some(client) = &self.cluster {
            return client.get_async_connection().await.map(Connection::Cluster);
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // The caller's own time-out counts, and must not be raced by another.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        let client = self.server().await?;
        client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Server)
    }

    /// A subscription to `channel`, by a connection of its own. What is published anywhere in a Cluster reaches all of
    /// its nodes.
    pub(super) async fn subscribe(&self, channel: &str) -> RedisResult<PubSub> {
        let mut pubsub = self.server().await?.get_async_pubsub().await?;
        pubsub.subscribe(channel).await?;
        Ok(pubsub)
    }

    /// The one server, the master that the first Sentinel in reach names, or the first node in reach.
    async fn server(&self) -> RedisResult<Client> {
        let nodes = match &self.servers {
            Servers::Single(node) => return self.client(node.clone()),
            Servers::Sentinel { sentinels: nodes, .. } | Servers::Cluster(nodes) => nodes,
        };
        let mut last = RedisFailure::from((ErrorKind::Io, "there is no server to ask"));
        for node in nodes {
            match self.server_by(node).await {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn server_by(&self, node: &ConnectionInfo) -> RedisResult<Client> {
        let asked = self.client(node.clone())?;
        let mut connection = open(&asked).await?;
        let Servers::Sentinel { master, way_in, .. } = &self.servers else { return Ok(asked) };
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let address: Option<(String, u16)> = question.query_async(&mut connection).await?;
        let address = address.ok_or((ErrorKind::MasterNameNotFoundBySentinel, "no Sentinel knows the master"))?;
        let client = self.client(at(node, address).set_redis_settings(way_in.clone()))?;
        // A Sentinel that was cut off names one that was demoted since.
        let role: Vec<Value> = cmd("ROLE").query_async(&mut open(&client).await?).await?;
        match role.first() {
            Some(Value::BulkString(role)) if role == b"master" => Ok(client),
            _ => {
                Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "the server named by Sentinel is no master").into())
            }
        }
    }

    fn client(&self, node: ConnectionInfo) -> RedisResult<Client> {
        match &self.ca {
            Some(ca) => Client::build_with_tls(node, ca.clone()),
            None => Client::open(node),
        }
    }
}

async fn open(client: &Client) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(CONNECT_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// The same kind of connection to another address.
fn at(node: &ConnectionInfo, (host, port): (String, u16)) -> ConnectionInfo {
    let address = match node.addr() {
        ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        _ => ConnectionAddr::Tcp(host, port),
    };
    node.clone().set_addr(address)
}

fn cluster_client(
    nodes: &[ConnectionInfo],
    ca: Option<TlsCertificates>,
    timeout: Duration,
) -> Result<ClusterClient, RedisError> {
    let builder = ClusterClientBuilder::new(nodes.iter().cloned())
        .connection_timeout(CONNECT_TIMEOUT)
        .response_timeout(timeout)
        .retries(REDIRECTS)
        .min_retry_wait(1)
        .max_retry_wait(20);
    let builder = match ca {
        Some(ca) => builder.certs(ca),
        None => builder,
    };
    builder.build().map_err(|_| RedisError::Address { setting: "redis.url", reason: "the nodes make no Cluster" })
}

/// The certificates to trust instead of the system's.
fn read_ca(file: &Path) -> Result<TlsCertificates, RedisError> {
    let pem = fs::read(file).map_err(RedisError::CaFile)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    if certificates.is_ok_and(|certificates| !certificates.is_empty()) {
        Ok(TlsCertificates { client_tls: None, root_cert: Some(pem) })
    } else {
        Err(RedisError::CaFile(io::Error::new(io::ErrorKind::InvalidData, "it holds no PEM certificate")))
    }
}

/// The client takes the process's cryptography for TLS, and panics where none was chosen and the build has two. An
/// application's own choice stands.
fn choose_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Another thread may have chosen meanwhile.
        let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
