//! What the role that serves requests must not be able to do on PostgreSQL.
//!
//! Row-level security binds no owner, no superuser and no role with BYPASSRLS, and an owner may change the
//! append-only audit table: a role that is none of these keeps a wrong query from becoming a breach.

#[cfg(feature = "postgres")]
use super::pool::read;
use super::{SqlStore, pool::Readers};
use crate::store::StoreError;

/// A right that the serving role, or a role that it may become, should not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExcessRight {
    /// Nothing in the database binds it.
    #[error("its role is a superuser")]
    Superuser,
    /// Row-level security does not bind it.
    #[error("its role has BYPASSRLS")]
    BypassesRowSecurity,
    /// It may change the schema, and row-level security does not bind it.
    #[error("its role owns the tables: let another one migrate, in `store.migrate_url`")]
    Owner,
}

#[cfg(feature = "postgres")]
const RIGHTS: &str = "SELECT COALESCE(bool_or(rolsuper), FALSE), COALESCE(bool_or(rolbypassrls), FALSE), EXISTS (
        SELECT 1 FROM pg_class
        WHERE oid IN (to_regclass('users'), to_regclass('audit')) AND pg_has_role(current_user, relowner, 'MEMBER'))
    FROM pg_roles WHERE pg_has_role(current_user, pg_roles.oid, 'MEMBER')";

impl SqlStore {
    /// The gravest right that the serving role has and should not have. SQLite knows no roles.
    ///
    /// # Errors
    /// The database's failure.
    pub async fn excess_right(&self) -> Result<Option<ExcessRight>, StoreError> {
        match &self.readers {
            #[cfg(feature = "sqlite")]
            Readers::Sqlite(_) => Ok(None),
            #[cfg(feature = "postgres")]
            Readers::Postgres(_) => {
                let (superuser, bypasses, owns): (bool, bool, bool) =
                    read!(self, pool => sqlx::query_as(RIGHTS).fetch_one(pool))?;
                let rights = [
                    (superuser, ExcessRight::Superuser),
                    (bypasses, ExcessRight::BypassesRowSecurity),
                    (owns, ExcessRight::Owner),
                ];
                Ok(rights.into_iter().find(|(has, _)| *has).map(|(_, right)| right))
            }
        }
    }
}
