//! Everything in which the two databases differ. All other SQL is the same text for both.

use super::{api_key, changes, mail, refresh, session, upkeep};

/// A database that this store speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// Statements that one database needs to say more about: SQLite has one writer and locks nothing less than that.
pub(super) struct Texts {
    /// Notes the use of a session unless somebody else is at its row.
    pub(super) touch_if_free: &'static str,
    /// Notes the use of a key unless somebody else is at its row.
    pub(super) note_key_use: &'static str,
    /// Reads a user's id and keeps its row.
    pub(super) lock_user: &'static str,
    /// Reads a user's id and keeps it from being removed.
    pub(super) keep_user: &'static str,
    /// Reads an organization's id and keeps it from being removed.
    pub(super) keep_organization: &'static str,
    /// Reads the time zone of a key's organization, and keeps both from being removed.
    pub(super) keep_key: &'static str,
    /// Locks the rows of all users in an organization, in the order of their ids.
    pub(super) lock_users_of: Option<&'static str>,
    /// Takes mails that are due.
    pub(super) claim_mails: &'static str,
    /// Removes counters that mean nothing anymore.
    pub(super) purge_counters: &'static str,
    /// Removes old changes, and names each by what positions are measured in.
    pub(super) purge_changes: &'static str,
    /// Reads a refresh token and keeps its session's row.
    pub(super) presented: &'static str,
    /// Reads the counter of generations and keeps it as it is.
    pub(super) hold_floors: &'static str,
}

/// The most counters that one statement names: `IN` takes a fixed list, since only one of the databases has arrays.
pub(super) const LISTED: usize = 13;

macro_rules! keep_key {
    () => {
        "SELECT organizations.time_zone FROM organizations JOIN api_keys ON api_keys.org_id = organizations.org_id
            WHERE organizations.org_id = $1 AND api_keys.key_id = $2"
    };
}

/// A setting of the transaction, as an id; nothing where it was never set, or has been set in an earlier transaction.
#[cfg(feature = "postgres")]
macro_rules! setting {
    ($name:literal) => {
        concat!("nullif(current_setting('authv2.", $name, "', true), '')")
    };
}

/// Shows the rows of tables to who acts for their organization, and takes none of another. Not forced: the owner, who
/// migrates and who checks references between tables, passes.
#[cfg(feature = "postgres")]
macro_rules! walled {
    ($($table:literal),+) => {
        concat!($(
            "ALTER TABLE ", $table, " ENABLE ROW LEVEL SECURITY;
             CREATE POLICY of_organization ON ", $table, " USING (org_id = ", setting!("org"), "::uuid);\n"
        ),+)
    };
}

/// The second wall between tenants. What is looked up by user or by slug has yet to learn its organization.
#[cfg(feature = "postgres")]
const ROW_LEVEL_SECURITY: &str = concat!(
    walled!(
        "organizations",
        "stores",
        "members",
        "roles",
        "role_inherits",
        "role_assignments",
        "resource_types",
        "decision_counts"
    ),
    "CREATE POLICY of_user ON members FOR SELECT USING (user_id = ",
    setting!("user"),
    "::uuid);
     CREATE POLICY of_user ON organizations FOR SELECT USING (EXISTS (SELECT 1 FROM members
        WHERE members.org_id = organizations.org_id AND members.user_id = ",
    setting!("user"),
    "::uuid));
     CREATE POLICY by_slug ON organizations FOR SELECT USING (slug = convert_from(decode(",
    setting!("slug"),
    ", 'hex'), 'UTF8'));"
);

#[cfg(feature = "postgres")]
const ROW_LEVEL_SECURITY_OF_KEYS: &str =
    walled!("api_keys", "api_key_secrets", "key_quotas", "key_usage_hours", "key_usage_days");

impl Dialect {
    /// Fills in the words that a schema statement leaves open.
    pub(super) fn schema(self, sql: &str) -> String {
        let mut sql = sql.to_owned();
        for (name, words) in self.words() {
            sql = sql.replace(name, words);
        }
        sql
    }

    fn words(self) -> &'static [(&'static str, &'static str)] {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => &[
                ("{strict}", "STRICT"),
                ("{uuid}", "BLOB"),
                ("{bytes}", "BLOB"),
                ("{bool}", "INTEGER"),
                ("{bigint}", "INTEGER"),
                ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
                ("{xid_column}", ""),
                ("{changes_index}", ""),
                ("{drop_changes_index}", ""),
                (
                    "{append_only_audit}",
                    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
                     CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;",
                ),
                ("{drop_append_only_audit}", ""),
                ("{row_level_security}", ""),
                ("{drop_row_level_security}", ""),
                ("{row_level_security_of_keys}", ""),
            ],
            #[cfg(feature = "postgres")]
            Self::Postgres => &[
                ("{strict}", ""),
                ("{uuid}", "UUID"),
                ("{bytes}", "BYTEA"),
                ("{bool}", "BOOLEAN"),
                ("{bigint}", "BIGINT"),
                ("{serial}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
                // Sequences commit out of order; followers read by transaction id, not by number.
                ("{xid_column}", "xid XID8 NOT NULL DEFAULT pg_current_xact_id(),"),
                ("{changes_index}", "CREATE INDEX changes_by_transaction ON changes (xid);"),
                ("{drop_changes_index}", "DROP INDEX changes_by_transaction;"),
                (
                    "{append_only_audit}",
                    "CREATE FUNCTION authv2_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN RAISE EXCEPTION 'audit is append-only'; END $$;
                     CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
                     FOR EACH ROW EXECUTE FUNCTION authv2_audit_append_only();
                     CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
                     FOR EACH STATEMENT EXECUTE FUNCTION authv2_audit_append_only();",
                ),
                ("{drop_append_only_audit}", "DROP FUNCTION authv2_audit_append_only();"),
                ("{row_level_security}", ROW_LEVEL_SECURITY),
                ("{row_level_security_of_keys}", ROW_LEVEL_SECURITY_OF_KEYS),
                // The others go with their tables; this one would keep another table from going.
                ("{drop_row_level_security}", "DROP POLICY of_user ON organizations;"),
            ],
        }
    }

    /// Counts the tables that hold the versions: one, or none where nothing was ever migrated.
    pub(super) const fn migrations_table(self) -> &'static str {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'schema_migrations'",
            #[cfg(feature = "postgres")]
            Self::Postgres => "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE oid = to_regclass('schema_migrations')",
        }
    }

    pub(super) const fn texts(self) -> Texts {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => Texts {
                touch_if_free: session::TOUCH,
                note_key_use: api_key::NOTE_USE,
                lock_user: "SELECT id FROM users WHERE id = $1",
                keep_user: "SELECT id FROM users WHERE id = $1",
                keep_organization: "SELECT org_id FROM organizations WHERE org_id = $1",
                keep_key: keep_key!(),
                lock_users_of: None,
                claim_mails: mail::CLAIM,
                purge_counters: upkeep::PURGE_COUNTERS,
                purge_changes: changes::PURGE_SQLITE,
                presented: refresh::PRESENTED,
                hold_floors: "SELECT counter FROM session_generation",
            },
            #[cfg(feature = "postgres")]
            Self::Postgres => Texts {
                touch_if_free: session::TOUCH_IF_FREE,
                note_key_use: api_key::NOTE_USE_IF_FREE,
                lock_user: "SELECT id FROM users WHERE id = $1 FOR UPDATE",
                keep_user: "SELECT id FROM users WHERE id = $1 FOR KEY SHARE",
                keep_organization: "SELECT org_id FROM organizations WHERE org_id = $1 FOR KEY SHARE",
                // The organization before the key: whoever removes it takes it first, too.
                keep_key: concat!(keep_key!(), " FOR KEY SHARE"),
                lock_users_of: Some(
                    "SELECT count(*) FROM (SELECT id FROM users
                        WHERE id IN (SELECT user_id FROM members WHERE org_id = $1) ORDER BY id FOR UPDATE) locked",
                ),
                claim_mails: mail::CLAIM_IF_FREE,
                purge_counters: upkeep::PURGE_FREE_COUNTERS,
                purge_changes: changes::PURGE_POSTGRES,
                presented: refresh::PRESENTED_AND_LOCKED,
                hold_floors: "SELECT counter FROM session_generation FOR SHARE",
            },
        }
    }

    /// Takes the lock under which one process migrates, inside its transaction.
    pub(super) const fn migration_lock(self) -> Option<&'static str> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite => None,
            #[cfg(feature = "postgres")]
            // An arbitrary constant of ours: "authv2" in ASCII.
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(107135026955826)"),
        }
    }
}
