//! Roles and resource types in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    pool::{execute, read_at_once, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    audit::Act,
    id::{OrgId, RoleId},
    store::{
        AtRevision, NewRole, OrganizationRecord, ResourceTypeRecord, Revised, RoleBook, RoleDeletion, RoleRecord,
        RoleStore, StoreError,
    },
};

const ORGANIZATION: &str = "SELECT * FROM organizations WHERE org_id = $1";
const ROLES: &str = "SELECT * FROM roles WHERE org_id = $1 ORDER BY role_id";
const INHERITS: &str = "SELECT role_id, parent_id FROM role_inherits WHERE org_id = $1 ORDER BY role_id, parent_id";
const RESOURCE_TYPES: &str = "SELECT name, attributes FROM resource_types WHERE org_id = $1";
const STORES: &str = "SELECT * FROM stores WHERE org_id = $1 ORDER BY created_at, store_id";

const INSERT: &str = "INSERT INTO roles (org_id, role_id, name, description, grants, builtin, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    RETURNING *";

const UPDATE: &str = "UPDATE roles
    SET name = $3, description = $4, grants = $5, builtin = $6, revision = $7
    WHERE org_id = $1 AND role_id = $2
    RETURNING *";

const INHERIT: &str = "INSERT INTO role_inherits (org_id, role_id, parent_id) VALUES ($1, $2, $3)
    ON CONFLICT DO NOTHING";

const DISINHERIT: &str = "DELETE FROM role_inherits WHERE org_id = $1 AND role_id = $2";

const DELETE: &str = "DELETE FROM roles
    WHERE org_id = $1 AND role_id = $2
      AND NOT EXISTS (SELECT 1 FROM role_assignments WHERE org_id = $1 AND role_id = $2)
      AND NOT EXISTS (SELECT 1 FROM role_inherits WHERE org_id = $1 AND parent_id = $2)
    RETURNING role_id";

const IS_ROLE: &str = "SELECT role_id FROM roles WHERE org_id = $1 AND role_id = $2";

const PUT_RESOURCE_TYPE: &str = "INSERT INTO resource_types (org_id, name, attributes) VALUES ($1, $2, $3)
    ON CONFLICT (org_id, name) DO UPDATE SET attributes = excluded.attributes";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[ORGANIZATION, ROLES, INHERITS, RESOURCE_TYPES, STORES, UPDATE, DISINHERIT, DELETE, IS_ROLE];

#[async_trait]
impl RoleStore for SqlStore {
    async fn role_book(&self, organization: OrgId) -> Result<Option<RoleBook>, StoreError> {
        let mut book: Option<RoleBook> = read_at_once!(self, Scope::Organization(organization), conn => async {
            let found: Option<OrganizationRecord> =
                sqlx::query_as(ORGANIZATION).bind(organization).fetch_optional(&mut *conn).await?;
            let Some(record) = found else { return Ok(None) };
            Ok::<_, sqlx::Error>(Some(RoleBook {
                organization: record,
                roles: sqlx::query_as(ROLES).bind(organization).fetch_all(&mut *conn).await?,
                inherits: sqlx::query_as(INHERITS).bind(organization).fetch_all(&mut *conn).await?,
                resource_types: sqlx::query_as(RESOURCE_TYPES).bind(organization).fetch_all(&mut *conn).await?,
                stores: sqlx::query_as(STORES).bind(organization).fetch_all(&mut *conn).await?,
            }))
        })?;
        if let Some(book) = &mut book {
            // Not in SQL: there the order would be the database's collation's.
            book.resource_types.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(book)
    }

    async fn put_role(&self, at: AtRevision, role: NewRole, act: Act) -> Result<Revised<RoleRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(at.organization)).await?;
                let revision = match tx.raise(at).await? {
                    Ok(revision) => revision,
                    Err(refused) => return Ok(refused),
                };
                let value = match tx.write_role(UPDATE, at.organization, revision, &role).await? {
                    Some(updated) => {
                        execute!(tx, sqlx::query(DISINHERIT).bind(at.organization).bind(role.id))?;
                        updated
                    }
                    None => tx.insert_role(at.organization, revision, &role).await?,
                };
                tx.inherit(at.organization, &role).await?;
                tx.organization_changed(at.organization, revision, &act).await?;
                Ok(Revised::Done { revision, value })
            })
        })
        .await
    }

    async fn delete_role(&self, at: AtRevision, role: RoleId, act: Act) -> Result<Revised<RoleDeletion>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(at.organization)).await?;
                let revision = match tx.raise(at).await? {
                    Ok(revision) => revision,
                    Err(refused) => return Ok(refused),
                };
                let deleted: Option<(RoleId,)> = within!(tx, conn =>
                    sqlx::query_as(DELETE).bind(at.organization).bind(role).fetch_optional(conn))?;
                if deleted.is_some() {
                    tx.organization_changed(at.organization, revision, &act).await?;
                    return Ok(Revised::Done { revision, value: RoleDeletion::Done });
                }
                tx.abandon();
                let there: Option<(RoleId,)> = within!(tx, conn =>
                    sqlx::query_as(IS_ROLE).bind(at.organization).bind(role).fetch_optional(conn))?;
                Ok(match there {
                    Some(_) => Revised::Done { revision: at.revision, value: RoleDeletion::InUse },
                    None => Revised::Missing,
                })
            })
        })
        .await
    }

    async fn put_resource_type(
        &self,
        at: AtRevision,
        resource_type: ResourceTypeRecord,
        act: Act,
    ) -> Result<Revised<()>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(at.organization)).await?;
                let revision = match tx.raise(at).await? {
                    Ok(revision) => revision,
                    Err(refused) => return Ok(refused),
                };
                execute!(
                    tx,
                    sqlx::query(PUT_RESOURCE_TYPE)
                        .bind(at.organization)
                        .bind(&resource_type.name)
                        .bind(&resource_type.attributes)
                )?;
                tx.organization_changed(at.organization, revision, &act).await?;
                Ok(Revised::Done { revision, value: () })
            })
        })
        .await
    }
}

impl Tx {
    /// Adds the roles of a new organization, which may inherit from each other.
    pub(super) async fn insert_roles(
        &mut self,
        organization: OrgId,
        revision: i64,
        roles: &[NewRole],
    ) -> Result<(), StoreError> {
        for role in roles {
            self.insert_role(organization, revision, role).await?;
        }
        for role in roles {
            self.inherit(organization, role).await?;
        }
        Ok(())
    }

    async fn insert_role(
        &mut self,
        organization: OrgId,
        revision: i64,
        role: &NewRole,
    ) -> Result<RoleRecord, StoreError> {
        let inserted = self.write_role(INSERT, organization, revision, role).await?;
        inserted.ok_or_else(|| StoreError::corrupt("a role that was just written is not there"))
    }

    async fn write_role(
        &mut self,
        sql: &'static str,
        organization: OrgId,
        revision: i64,
        role: &NewRole,
    ) -> Result<Option<RoleRecord>, StoreError> {
        within!(self, conn => sqlx::query_as(sql)
            .bind(organization)
            .bind(role.id)
            .bind(&role.name)
            .bind(&role.description)
            .bind(&role.grants)
            .bind(role.builtin)
            .bind(revision)
            .fetch_optional(conn))
    }

    async fn inherit(&mut self, organization: OrgId, role: &NewRole) -> Result<(), StoreError> {
        for parent in &role.inherits {
            execute!(self, sqlx::query(INHERIT).bind(organization).bind(role.id).bind(*parent))?;
        }
        Ok(())
    }
}
