//! The table of changes: how a node reads each of them once, whatever the order of the commits was.
//!
//! On SQLite one writer commits after the other, and a row's number says it all. On PostgreSQL numbers are drawn before
//! they are committed: there a position is the snapshot of the last reading, and what is new is what this one sees and
//! that one did not, which are the rows of transactions that were under way then, or begun since.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{Readers, execute, read, within},
    tx::Tx,
};
use crate::{
    changes::Change,
    clock::Timestamp,
    id::{KeyId, MemberId, OrgId, SessionId, TokenId, UserId},
    store::{Announcements, ChangeRecord, ChangeStore, Followed, Position, Read, StoreError},
};

/// More than this at once are not told one by one: reading everything anew is cheaper.
const MANY: i64 = 50_000;

macro_rules! columns {
    () => {
        "changes.seq, changes.at, changes.kind, changes.user_id, changes.session_id, changes.org_id, changes.member_id,
         changes.revision, changes.token_id, changes.expires_at, changes.key_id"
    };
}

const AFTER: &str = concat!("SELECT ", columns!(), " FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2");

const RECENT: &str = concat!("SELECT ", columns!(), " FROM changes WHERE at >= $1 ORDER BY at LIMIT $2");

/// Nothing is numbered before the first change; a number that is smaller than it was means another file.
#[cfg(feature = "sqlite")]
const HERE_SQLITE: &str = "SELECT COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0) AS head,
    (SELECT CAST(value AS INTEGER) FROM deployment WHERE name = 'changes_trimmed') AS trimmed";

#[cfg(feature = "sqlite")]
const FOLLOW_SQLITE: &str =
    concat!("SELECT ", columns!(), " FROM changes WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3");

#[cfg(feature = "postgres")]
macro_rules! here_postgres {
    () => {
        "SELECT CONCAT(pg_postmaster_start_time(), ' ', CAST('changes' AS regclass)::oid, ' ',
                pg_relation_filenode('changes')) AS run,
            CAST(pg_current_snapshot() AS TEXT) AS snapshot,
            (SELECT CAST(value AS BIGINT) FROM deployment WHERE name = 'changes_trimmed') AS trimmed"
    };
}

#[cfg(feature = "postgres")]
const HERE_POSTGRES: &str = here_postgres!();

/// Where the reading stands, and beside it what it found: all of it seen by one snapshot. Rows of transactions that are
/// yet to come were copied from another server.
#[cfg(feature = "postgres")]
const FOLLOW_POSTGRES: &str = concat!(
    "WITH here AS (",
    here_postgres!(),
    ")
    SELECT here.run, here.snapshot, here.trimmed, found.* FROM here LEFT JOIN (SELECT ",
    columns!(),
    " FROM changes
        WHERE (xid >= pg_snapshot_xmax(CAST($1 AS TEXT)::pg_snapshot)
            OR xid = ANY (ARRAY(SELECT pg_snapshot_xip(CAST($1 AS TEXT)::pg_snapshot))))
            AND xid < pg_snapshot_xmax(pg_current_snapshot())
        LIMIT $2) found ON TRUE
    ORDER BY found.seq"
);

#[cfg(feature = "postgres")]
const ANNOUNCE: &str = "NOTIFY authv2_changes";

#[cfg(feature = "sqlite")]
pub(super) const PURGE_SQLITE: &str =
    "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE at < $1 LIMIT 1000)
    RETURNING seq AS mark";

#[cfg(feature = "postgres")]
pub(super) const PURGE_POSTGRES: &str =
    "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE at < $1 LIMIT 1000)
    RETURNING CAST(CAST(xid AS TEXT) AS BIGINT) AS mark";

const TRIM: &str = "INSERT INTO deployment (name, value) VALUES ('changes_trimmed', $1)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value
    WHERE CAST(deployment.value AS BIGINT) < CAST(excluded.value AS BIGINT)";

/// A change spread over the columns of its row.
#[derive(Default, sqlx::FromRow)]
pub(super) struct ChangeColumns {
    pub(super) kind: String,
    pub(super) user_id: Option<UserId>,
    pub(super) session_id: Option<SessionId>,
    pub(super) org_id: Option<OrgId>,
    pub(super) member_id: Option<MemberId>,
    pub(super) revision: Option<i64>,
    pub(super) token_id: Option<TokenId>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) key_id: Option<KeyId>,
}

impl From<Change> for ChangeColumns {
    fn from(change: Change) -> Self {
        let of_kind = |kind: &str| Self { kind: kind.to_owned(), ..Self::default() };
        match change {
            Change::SessionRevoked { session, user } => {
                Self { user_id: Some(user), session_id: Some(session), ..of_kind("session_revoked") }
            }
            Change::SessionsRevoked { organization, generation } => {
                Self { org_id: organization, revision: Some(generation), ..of_kind("sessions_revoked") }
            }
            Change::TokenRevoked { token, expires_at } => {
                Self { token_id: Some(token), expires_at: Some(expires_at), ..of_kind("token_revoked") }
            }
            Change::SessionChanged { session, user } => {
                Self { user_id: Some(user), session_id: Some(session), ..of_kind("session_changed") }
            }
            Change::UserChanged { user } => Self { user_id: Some(user), ..of_kind("user_changed") },
            Change::SigningKeysChanged => of_kind("signing_keys_changed"),
            Change::OrganizationChanged { organization, revision } => {
                Self { org_id: Some(organization), revision: Some(revision), ..of_kind("organization_changed") }
            }
            Change::MemberChanged { organization, member, revision } => Self {
                org_id: Some(organization),
                member_id: Some(member),
                revision: Some(revision),
                ..of_kind("member_changed")
            },
            Change::ApiKeyChanged { organization, key, revision } => Self {
                org_id: Some(organization),
                key_id: Some(key),
                revision: Some(revision),
                ..of_kind("api_key_changed")
            },
            Change::Everything => of_kind("everything"),
        }
    }
}

impl From<ChangeColumns> for Change {
    fn from(columns: ChangeColumns) -> Self {
        let ChangeColumns { kind, user_id, session_id, org_id, member_id, revision, token_id, expires_at, key_id } =
            columns;
        if let ("token_revoked", Some(token), Some(expires_at)) = (kind.as_str(), token_id, expires_at) {
            return Self::TokenRevoked { token, expires_at };
        }
        if let ("api_key_changed", Some(organization), Some(key), Some(revision)) =
            (kind.as_str(), org_id, key_id, revision)
        {
            return Self::ApiKeyChanged { organization, key, revision };
        }
        match (kind.as_str(), user_id, session_id, org_id, member_id, revision) {
            ("session_revoked", Some(user), Some(session), ..) => Self::SessionRevoked { session, user },
            ("sessions_revoked", _, _, organization, _, Some(generation)) => {
                Self::SessionsRevoked { organization, generation }
            }
            ("session_changed", Some(user), Some(session), ..) => Self::SessionChanged { session, user },
            ("user_changed", Some(user), ..) => Self::UserChanged { user },
            ("signing_keys_changed", ..) => Self::SigningKeysChanged,
            ("organization_changed", _, _, Some(organization), _, Some(revision)) => {
                Self::OrganizationChanged { organization, revision }
            }
            ("member_changed", _, _, Some(organization), Some(member), Some(revision)) => {
                Self::MemberChanged { organization, member, revision }
            }
            // Of a kind that a newer build tells of, or unreadable: whatever it says, nothing in memory is older than
            // it after this.
            _ => Self::Everything,
        }
    }
}

#[derive(sqlx::FromRow)]
struct ChangeRow {
    seq: i64,
    at: Timestamp,
    #[sqlx(flatten)]
    columns: ChangeColumns,
}

impl From<ChangeRow> for ChangeRecord {
    fn from(row: ChangeRow) -> Self {
        Self { seq: row.seq, at: row.at, change: row.columns.into() }
    }
}

#[async_trait]
impl ChangeStore for SqlStore {
    async fn follow(&self, position: Option<&Position>) -> Result<Followed, StoreError> {
        match &self.readers {
            #[cfg(feature = "sqlite")]
            Readers::Sqlite(_) => self.follow_sqlite(position).await,
            #[cfg(feature = "postgres")]
            Readers::Postgres(_) => self.follow_postgres(position).await,
        }
    }

    async fn recent_changes(&self, since: Timestamp) -> Result<Option<Vec<Change>>, StoreError> {
        let rows: Vec<ChangeRow> = read!(self, pool =>
            sqlx::query_as(RECENT).bind(since).bind(MANY + 1).fetch_all(pool))?;
        let is_all = i64::try_from(rows.len()).is_ok_and(|count| count <= MANY);
        Ok(is_all.then(|| rows.into_iter().map(|row| row.columns.into()).collect()))
    }

    async fn announce(&self) -> Result<(), StoreError> {
        match &self.readers {
            #[cfg(feature = "sqlite")]
            Readers::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Readers::Postgres(_) => {
                let lookout = self.on_the_lookout();
                read!(lookout, conn => async { sqlx::query(ANNOUNCE).execute(conn).await.map(|_| ()) })
            }
        }
    }

    async fn announcements(&self) -> Result<Option<Announcements>, StoreError> {
        match &self.readers {
            #[cfg(feature = "sqlite")]
            Readers::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Readers::Postgres(_) => match &self.direct_url {
                Some(url) => super::listen::announcements(url, self.patience).await.map(Some),
                // Through a pooler nothing would ever be heard.
                None => Ok(None),
            },
        }
    }

    async fn changes_after(&self, seq: i64, limit: u32) -> Result<Vec<ChangeRecord>, StoreError> {
        let rows: Vec<ChangeRow> = read!(self, pool =>
            sqlx::query_as(AFTER).bind(seq).bind(i64::from(limit)).fetch_all(pool))?;
        Ok(rows.into_iter().map(ChangeRecord::from).collect())
    }
}

#[cfg(feature = "sqlite")]
impl SqlStore {
    async fn follow_sqlite(&self, position: Option<&Position>) -> Result<Followed, StoreError> {
        let (head, trimmed): (i64, Option<i64>) = read!(self, pool => sqlx::query_as(HERE_SQLITE).fetch_one(pool))?;
        let here = Position { run: String::new(), at: Read::Row(head) };
        let Some(before) = position else { return Ok(Followed::Changes { changes: Vec::new(), position: here }) };
        let Read::Row(row) = before.at else { return Ok(Followed::Lost { position: here }) };
        if head < row || head - row > MANY || trimmed.is_some_and(|trimmed| trimmed > row) {
            return Ok(Followed::Lost { position: here });
        }
        if head == row {
            return Ok(Followed::Changes { changes: Vec::new(), position: here });
        }
        let rows: Vec<ChangeRow> = read!(self, pool =>
            sqlx::query_as(FOLLOW_SQLITE).bind(row).bind(head).bind(MANY).fetch_all(pool))?;
        Ok(Followed::Changes { changes: rows.into_iter().map(ChangeRecord::from).collect(), position: here })
    }
}

/// A row of a reading: where it stands, and a change if there is one.
#[cfg(feature = "postgres")]
#[derive(sqlx::FromRow)]
struct FollowedRow {
    run: String,
    snapshot: String,
    trimmed: Option<i64>,
    seq: Option<i64>,
    at: Option<Timestamp>,
    kind: Option<String>,
    user_id: Option<UserId>,
    session_id: Option<SessionId>,
    org_id: Option<OrgId>,
    member_id: Option<MemberId>,
    revision: Option<i64>,
    token_id: Option<TokenId>,
    expires_at: Option<Timestamp>,
    key_id: Option<KeyId>,
}

#[cfg(feature = "postgres")]
impl SqlStore {
    /// This store, asking on the connections that are kept for the feed.
    fn on_the_lookout(&self) -> Self {
        Self { readers: self.lookout.clone(), ..self.clone() }
    }

    async fn follow_postgres(&self, position: Option<&Position>) -> Result<Followed, StoreError> {
        let lookout = self.on_the_lookout();
        let Some(Position { run, at: Read::Snapshot(before) }) = position else {
            let (run, snapshot, _): (String, String, Option<i64>) =
                read!(lookout, pool => sqlx::query_as(HERE_POSTGRES).fetch_one(pool))?;
            let position = Position { run, at: Read::Snapshot(snapshot) };
            return Ok(Followed::Changes { changes: Vec::new(), position });
        };
        let rows: Vec<FollowedRow> = read!(lookout, pool =>
            sqlx::query_as(FOLLOW_POSTGRES).bind(before).bind(MANY + 1).fetch_all(pool))?;
        let Some(here) = rows.first() else {
            return Err(StoreError::corrupt("a reading of the changes without a row"));
        };
        let position = Position { run: here.run.clone(), at: Read::Snapshot(here.snapshot.clone()) };
        let is_all = i64::try_from(rows.len()).is_ok_and(|count| count <= MANY);
        let (Some(was), Some(is)) = (Snapshot::read(before), Snapshot::read(&here.snapshot)) else {
            return Err(StoreError::corrupt("a snapshot that cannot be read"));
        };
        // A mark beyond what the server has come to is of another server, whose rows were copied.
        let is_trimmed = here.trimmed.is_some_and(|trimmed| trimmed < is.end && was.may_lack(trimmed, &is));
        let went_back = is.end < was.end;
        if here.run != *run || went_back || is_trimmed || !is_all {
            return Ok(Followed::Lost { position });
        }
        let record = |row: FollowedRow| {
            let FollowedRow { user_id, session_id, org_id, member_id, revision, token_id, expires_at, key_id, .. } =
                row;
            let kind = row.kind?;
            let columns =
                ChangeColumns { kind, user_id, session_id, org_id, member_id, revision, token_id, expires_at, key_id };
            Some(ChangeRecord { seq: row.seq?, at: row.at?, change: columns.into() })
        };
        Ok(Followed::Changes { changes: rows.into_iter().filter_map(record).collect(), position })
    }
}

/// What a snapshot of PostgreSQL sees: every transaction before the end but those that were under way.
#[cfg(feature = "postgres")]
struct Snapshot {
    end: i64,
    under_way: Vec<i64>,
}

#[cfg(feature = "postgres")]
impl Snapshot {
    /// From its text, `xmin:xmax:xip,…`.
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':').skip(1);
        let end = parts.next()?.parse().ok()?;
        let under_way = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        Some(Self { end, under_way: under_way.map(|xid| xid.parse().ok()).collect::<Option<_>>()? })
    }

    /// Whether a row that this does not see may be among those removed, which are of transactions up to `trimmed`. One
    /// that is under way even `now` has committed nothing that could have been removed.
    fn may_lack(&self, trimmed: i64, now: &Self) -> bool {
        trimmed >= self.end || self.under_way.iter().any(|xid| *xid <= trimmed && !now.under_way.contains(xid))
    }
}

impl Tx {
    /// Removes changes written before a moment, and notes up to which; how many went.
    pub(super) async fn trim_changes(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = self.texts().purge_changes;
        let gone: Vec<(i64,)> = within!(self, conn => sqlx::query_as(sql).bind(before).fetch_all(conn))?;
        let Some(mark) = gone.iter().map(|(mark,)| *mark).max() else { return Ok(0) };
        execute!(self, sqlx::query(TRIM).bind(mark.to_string()))?;
        Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_stays_open_makes_nothing_that_was_removed_missing() {
        let read = |text| Snapshot::read(text).unwrap();
        let was = read("5:20:5,9");
        assert!(was.may_lack(20, &read("5:30:5,9")), "begun since");
        assert!(!was.may_lack(19, &read("5:30:5,9")), "those under way then are so still");
        assert!(was.may_lack(19, &read("5:30:5")), "9 has ended since");
        assert!(!was.may_lack(8, &read("5:30:5")), "nothing of 9 was removed");
        assert!(!read("20:20:").may_lack(19, &read("30:30:")));
        assert!(Snapshot::read("5:x:").is_none() && Snapshot::read("").is_none());
    }
}
