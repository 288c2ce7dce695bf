//! On whose behalf statements run: what row-level security on PostgreSQL is told. SQLite has no such wall.

use crate::id::{OrgId, UserId};
#[cfg(feature = "postgres")]
use crate::store::StoreError;

use super::tx::Tx;

/// Whose rows the statements of a transaction may see. It is the second wall: each of them names its tenant itself.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "only PostgreSQL reads it"))]
pub(super) enum Scope<'a> {
    /// Everything of one organization, to read and to write.
    Organization(OrgId),
    /// The memberships of one user and the organizations they are in, to read.
    User(UserId),
    /// The one organization of a slug, to read.
    Slug(&'a str),
}

#[cfg(feature = "postgres")]
impl Scope<'_> {
    /// Tells the database until the transaction ends. Ids and hexadecimal digits: nothing in it can end the literal.
    pub(super) fn setting(self) -> String {
        match self {
            Self::Organization(id) => format!("SET LOCAL authv2.org = '{id}'"),
            Self::User(id) => format!("SET LOCAL authv2.\"user\" = '{id}'"),
            Self::Slug(slug) => {
                let digits: String = slug.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("SET LOCAL authv2.slug = '{digits}'")
            }
        }
    }

    /// Begins a transaction and tells the database, in one round trip.
    pub(super) fn begin(self) -> sqlx::AssertSqlSafe<String> {
        sqlx::AssertSqlSafe(format!("BEGIN; {}", self.setting()))
    }

    /// Likewise, for reading everything as it was at one moment.
    pub(super) fn begin_at_once(self) -> sqlx::AssertSqlSafe<String> {
        sqlx::AssertSqlSafe(format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {}", self.setting()))
    }
}

impl Tx {
    /// From here on this transaction acts for `scope`.
    #[cfg_attr(not(feature = "postgres"), allow(clippy::unused_async, reason = "only PostgreSQL is told"))]
    pub(super) async fn enter(&mut self, scope: Scope<'_>) -> Result<(), crate::store::StoreError> {
        match &mut self.conn {
            #[cfg(feature = "sqlite")]
            super::pool::Conn::Sqlite(_) => {
                let _ = scope;
                Ok(())
            }
            #[cfg(feature = "postgres")]
            super::pool::Conn::Postgres(conn) => {
                let setting = sqlx::raw_sql(sqlx::AssertSqlSafe(scope.setting()));
                setting.execute(&mut **conn).await.map(|_| ()).map_err(StoreError::from)
            }
        }
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn no_slug_ends_the_literal_it_stands_in() {
        let setting = Scope::Slug("a'; DROP TABLE users; --é").setting();
        assert_eq!(setting, "SET LOCAL authv2.slug = '61273b2044524f50205441424c452075736572733b202d2dc3a9'");
    }
}
