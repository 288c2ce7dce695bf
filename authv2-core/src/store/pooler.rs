//! What stands between a node and its PostgreSQL.

/// How connections are shared before they reach PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pooler {
    /// Each connection is one to the server, for as long as it lasts. Also right for poolers in session mode.
    None,
    /// A pooler may choose another server connection for each transaction, as PgBouncer does with
    /// `pool_mode = transaction`. Every statement then runs in a transaction, with its time-outs set in it, and none is
    /// kept prepared: a read takes four round trips in place of one.
    Transaction,
}
