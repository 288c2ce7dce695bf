//! What belongs to the deployment as a whole: signing keys, the feed's rows, the audit trail.

use super::stored_as_text;
use crate::{changes::Change, clock::Timestamp, id::OrgId, secret::Secret, store::StoreError};

/// Where a signing key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, does not sign yet.
    Pending,
    /// Signs.
    Active,
    /// Verifies only.
    Retiring,
    /// Refused.
    Retired,
}

/// A signing key as stored: its private half sealed under the master key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct SigningKeyRecord {
    /// The `kid`, generated here.
    pub kid: String,
    /// The JOSE algorithm, which belongs to the key.
    pub alg: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: KeyState,
    /// The private key, sealed; of one that is held elsewhere its public half. Empty once it is retired.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it signs from; while it is pending, from when on it may.
    pub activates_at: Timestamp,
    /// When it stops verifying.
    pub retires_at: Option<Timestamp>,
    /// What its material is known by, whatever its name; none for keys of before this was noted.
    pub fingerprint: Option<Vec<u8>>,
    /// What it is called where it is held, if that is not here.
    pub reference: Option<String>,
    /// Whether it was brought along, and not made here.
    pub imported: bool,
    /// The longest life of tokens that it signs, in seconds.
    pub token_life: i64,
    /// How long verifiers may keep a JWK Set that it is in, in seconds.
    pub jwks_max_age: i64,
    /// When it was revoked: refused from then on, and its material with it.
    pub revoked_at: Option<Timestamp>,
}

/// A change of the signing keys, judged by how they were seen.
#[derive(Debug, Clone, Default)]
pub struct KeyChange {
    /// All of them, as they were read.
    pub seen: Vec<SigningKeyRecord>,
    /// Those that are added, or are otherwise from then on.
    pub put: Vec<SigningKeyRecord>,
    /// The names of those that are removed.
    pub remove: Vec<String>,
    /// Fingerprints of material that is never to be taken again.
    pub refuse: Vec<Vec<u8>>,
}

/// What became of a change of the signing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysChanged {
    /// It was made; all keys as they are now.
    Done(Vec<SigningKeyRecord>),
    /// The keys are not as they were seen; nothing was done.
    Stale,
    /// A key to be added is of material that was refused for ever; nothing was done.
    RefusedMaterial,
}

/// A change as the feed's table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Its place in the table.
    pub seq: i64,
    /// When it was written.
    pub at: Timestamp,
    /// What changed.
    pub change: Change,
}

/// How far a node has read the table of changes: opaque, of the store that gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Tells one run of the database server, and one table, from another: what was read before a restart may have been
    /// lost in it, and what was read before a restore is not the same.
    pub(crate) run: String,
    pub(crate) at: Read,
}

/// What of the table has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// Everything up to this row: where one writer commits after the other.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only SQLite has one writer"))]
    Row(i64),
    /// Everything that this snapshot sees, as PostgreSQL writes it.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL has snapshots"))]
    Snapshot(String),
}

/// What a reading of the table of changes found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// These changes, once each.
    Changes {
        /// In the order of their rows, which is not always that of their commits.
        changes: Vec<ChangeRecord>,
        /// Where the next reading begins.
        position: Position,
    },
    /// The position is of no use: what followed it was removed already, or is too much, or the database was set back.
    Lost {
        /// Where to begin anew.
        position: Position,
    },
}

/// Words of other nodes that there is something to read.
pub type Announcements = futures_util::stream::BoxStream<'static, ()>;

/// An audit entry as stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// What, as `session.login`.
    pub action: String,
    /// `success`, `denied` or `failure`.
    pub outcome: String,
    /// What kind of actor: `user`, `anonymous`, `system`.
    pub actor_kind: String,
    /// Which actor.
    pub actor_id: Option<String>,
    /// In which organization, where it concerns one.
    #[sqlx(rename = "org_id")]
    pub organization: Option<OrgId>,
    /// On what: an id.
    pub target: Option<String>,
    /// From where.
    pub ip: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// Why, where it was not a success.
    pub reason: Option<String>,
}

/// What [`crate::store::Upkeep::purge`] may remove.
#[derive(Debug, Clone, Copy)]
pub struct PurgeBefore {
    /// Sessions dead since before this.
    pub sessions: Timestamp,
    /// Networks last signed in from before this.
    pub networks: Timestamp,
    /// Browsers last signed in on before this.
    pub devices: Timestamp,
    /// Counters untouched since before this, whose window and block were over before it.
    pub counters: Timestamp,
    /// Changes written before this.
    pub changes: Timestamp,
    /// Numbers of live sessions counted before this.
    pub samples: Timestamp,
    /// Revoked tokens, tokens of links, and mails, that expired before this.
    pub tokens: Timestamp,
    /// Proofs of possession that were too old before this.
    pub proofs: Timestamp,
    /// Sign-ins that were to show their second factor before this.
    pub challenges: Timestamp,
    /// Security events of before this.
    pub events: Timestamp,
}

/// The connection string, whose password must not be printed.
pub type StoreUrl = Secret;

stored_as_text!(KeyState { Pending = "pending", Active = "active", Retiring = "retiring", Retired = "retired" });
