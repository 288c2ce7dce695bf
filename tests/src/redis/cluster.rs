//! A Redis Cluster for tests: masters that share the slots, each of them without a replica unless one is added.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{PATIENCE, Redis, cli};
use crate::{
    error::{HarnessError, tell_skipped},
    port,
};

/// How long a node may be silent before the others take it for dead, in milliseconds.
const NODE_TIMEOUT: &str = "1500";

/// The nodes of a Cluster, ended when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Three masters, or loud words that the test is skipped where Redis is not installed.
    ///
    /// # Errors
    /// When it is installed and they do not find together.
    pub fn start_or_skip(test: &str) -> Result<Option<Self>, HarnessError> {
        match Self::start() {
            Err(missing @ HarnessError::Missing { .. }) => {
                tell_skipped(test, &missing);
                Ok(None)
            }
            started => started.map(Some),
        }
    }

    fn start() -> Result<Self, HarnessError> {
        let nodes = (0..3).map(|_| start_node()).collect::<Result<Vec<_>, _>>()?;
        let cluster = Self { nodes };
        let addresses = cluster.nodes.iter().map(|node| node.port().map(|port| format!("127.0.0.1:{port}")));
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.push("--cluster-yes");
        cluster.node(0)?.cli(&create)?;
        cluster.settle()?;
        Ok(cluster)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The nodes, to kill, freeze or restart them.
    pub fn nodes_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// All nodes, as `redis://…` separated by commas.
    #[must_use]
    pub fn url(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }

    /// The node that has the slot of `key`, by its place in [`nodes`](Self::nodes).
    ///
    /// # Errors
    /// When no node is asked in vain.
    pub fn owner(&self, key: &str) -> Result<usize, HarnessError> {
        for (place, node) in self.nodes.iter().enumerate() {
            // The others answer with an error that names the owner.
            if node.cli(&["EXISTS", key]).is_ok() {
                return Ok(place);
            }
        }
        Err(HarnessError::Failed { program: "redis-cli".to_owned(), output: format!("nobody has {key}") })
    }

    /// Moves so many slots from one node to another, with what is in them.
    ///
    /// # Errors
    /// When `redis-cli` does.
    pub fn move_slots(&self, from: usize, to: usize, slots: u16) -> Result<(), HarnessError> {
        let (from, to) = (self.id(from)?, self.id(to)?);
        let address = format!("127.0.0.1:{}", self.node(0)?.port()?);
        self.node(0)?.cli(&[
            "--cluster",
            "reshard",
            &address,
            "--cluster-from",
            &from,
            "--cluster-to",
            &to,
            "--cluster-slots",
            &slots.to_string(),
            "--cluster-yes",
        ])?;
        Ok(())
    }

    /// Adds a replica of a node, which takes its place when it dies.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn add_replica(&mut self, of: usize) -> Result<(), HarnessError> {
        let replica = start_node()?;
        let (id, first) = (self.id(of)?, self.node(0)?);
        first.cli(&["CLUSTER", "MEET", "127.0.0.1", &replica.port()?.to_string(), &bus_port(&replica)?])?;
        eventually("the replica to join", || replica.cli(&["CLUSTER", "REPLICATE", &id]).is_ok())?;
        eventually("the replica to have what its master has", || {
            replica.cli(&["INFO", "replication"]).is_ok_and(|info| info.contains("master_link_status:up"))
        })?;
        self.nodes.push(replica);
        Ok(())
    }

    /// Waits until all nodes see all slots served.
    fn settle(&self) -> Result<(), HarnessError> {
        eventually("the Cluster to settle", || {
            self.nodes.iter().all(|node| {
                node.cli(&["CLUSTER", "INFO"]).is_ok_and(|info| {
                    info.contains("cluster_state:ok")
                        && info.contains(&format!("cluster_known_nodes:{}", self.nodes.len()))
                })
            })
        })
    }

    fn id(&self, place: usize) -> Result<String, HarnessError> {
        cli(self.node(place)?.port()?, &["CLUSTER", "MYID"])
    }

    fn node(&self, place: usize) -> Result<&Redis, HarnessError> {
        let missing =
            || HarnessError::Failed { program: "redis-server".to_owned(), output: format!("no node {place}") };
        self.nodes.get(place).ok_or_else(missing)
    }
}

/// The port on which other nodes speak to it, from a line such as `ID 127.0.0.1:PORT@BUS,HOST myself,master - …`.
fn bus_port(node: &Redis) -> Result<String, HarnessError> {
    let known = node.cli(&["CLUSTER", "NODES"])?;
    let own = known.lines().find(|line| line.contains("myself")).and_then(|line| line.split_once('@'));
    let port = own.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
    port.ok_or(HarnessError::Failed { program: "redis-cli".to_owned(), output: known })
}

fn start_node() -> Result<Redis, HarnessError> {
    // The nodes' own traffic has a port of its own; by default 10000 above, which may not be a port at all.
    let bus = port::free().map_err(HarnessError::io("looking for a free port"))?.to_string();
    Redis::start_with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        NODE_TIMEOUT,
        "--cluster-require-full-coverage",
        "no",
    ])
}

pub(super) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), HarnessError> {
    let deadline = Instant::now() + PATIENCE * 2;
    while !is_so() {
        if Instant::now() > deadline {
            let output = format!("waited for {what}");
            return Err(HarnessError::Late { program: "redis-server".to_owned(), after: PATIENCE * 2, output });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
