//! Organizations and their stores in SQL.

use async_trait::async_trait;

use super::{
    SqlStore,
    liveness::{live, not_ended, session_columns},
    pool::{execute, read_within, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::{MemberId, OrgId, SessionId, UserId},
    store::{
        Assignment, AtRevision, KEEP_DEAD_SESSIONS, Named, NewMember, NewOrganization, NewStore, OrganizationChange,
        OrganizationName, OrganizationRecord, OrganizationStore, Revised, SessionRecord, StoreError, StoreRecord,
    },
    tenant::Tenant,
};

const INSERT: &str = "INSERT INTO organizations (org_id, slug, name, time_zone, revision, created_at)
    VALUES ($1, $2, $3, $4, 1, $5)
    ON CONFLICT (slug) DO NOTHING
    RETURNING *";

const BY_ID: &str = "SELECT * FROM organizations WHERE org_id = $1";

const BY_SLUG: &str = "SELECT * FROM organizations WHERE slug = $1";

const OF_USER: &str = "SELECT organizations.* FROM members
    JOIN organizations ON organizations.org_id = members.org_id
    WHERE members.user_id = $1";

const UPDATE: &str = "UPDATE organizations
    SET name = COALESCE($2, name), time_zone = COALESCE($3, time_zone), mfa = COALESCE($4, mfa),
        mfa_roles = COALESCE($5, mfa_roles), revision = revision + 1
    WHERE org_id = $1
    RETURNING *";

/// The lock under which an organization's roles, members and keys are written.
const RAISE: &str =
    "UPDATE organizations SET revision = revision + 1 WHERE org_id = $1 AND revision = $2 RETURNING revision";

const RAISE_ANY: &str = "UPDATE organizations SET revision = revision + 1 WHERE org_id = $1 RETURNING revision";

const DELETE: &str = "DELETE FROM organizations WHERE org_id = $1";

const INSERT_STORE: &str = "INSERT INTO stores (store_id, org_id, slug, name, created_at)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (org_id, slug) DO NOTHING
    RETURNING *";

/// Bears the present generation from then on: what was ended there before concerns it no more than a new one.
const ENTER: &str = concat!(
    "UPDATE sessions SET org_id = $3, store_id = $4, generation = (SELECT counter FROM session_generation)
    WHERE session_id = $1 AND user_id = $2
      AND EXISTS (SELECT 1 FROM members WHERE org_id = $3 AND member_id = $2)
      AND ($4 IS NULL OR EXISTS (SELECT 1 FROM stores WHERE org_id = $3 AND store_id = $4))
      AND ",
    live!("$5"),
    " RETURNING ",
    session_columns!()
);

/// Leaves alone what was ended with the organization's sessions, which would come back to life in none; and what has
/// been dead for so long that only a purge still looks at it: the two would lock the same rows in different orders.
/// What ran out just now may be alive again once a late note of its use is written.
macro_rules! empty {
    ($whose:literal) => {
        concat!(
            "UPDATE sessions SET org_id = NULL, store_id = NULL
            WHERE org_id = $1 AND expires_at >= $2 AND idle_expires_at >= $2 AND ",
            not_ended!(),
            $whose
        )
    };
}

const EMPTY: &str = empty!("");
const EMPTY_OF_USER: &str = empty!(" AND user_id = $3 RETURNING session_id");

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] =
    &[BY_ID, BY_SLUG, OF_USER, UPDATE, RAISE, RAISE_ANY, DELETE, ENTER, EMPTY, EMPTY_OF_USER];

#[async_trait]
impl OrganizationStore for SqlStore {
    async fn create_organization(
        &self,
        new: NewOrganization,
        act: Act,
    ) -> Result<Named<OrganizationRecord>, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.found(new, &act).await })).await
    }

    async fn organization(&self, name: &OrganizationName) -> Result<Option<OrganizationRecord>, StoreError> {
        match name {
            OrganizationName::Id(id) => read_within!(self, Scope::Organization(*id), conn =>
                sqlx::query_as(BY_ID).bind(id).fetch_optional(conn)),
            OrganizationName::Slug(slug) => read_within!(self, Scope::Slug(slug), conn =>
                sqlx::query_as(BY_SLUG).bind(slug).fetch_optional(conn)),
        }
    }

    async fn organizations_of(&self, user: UserId) -> Result<Vec<OrganizationRecord>, StoreError> {
        let mut found: Vec<OrganizationRecord> = read_within!(self, Scope::User(user), conn =>
            sqlx::query_as(OF_USER).bind(user).fetch_all(conn))?;
        // Not in SQL: there the order would be the database's collation's.
        found.sort_unstable_by(|one, other| one.slug.cmp(&other.slug));
        Ok(found)
    }

    async fn update_organization(
        &self,
        organization: OrgId,
        change: OrganizationChange,
        act: Act,
    ) -> Result<Option<OrganizationRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let roles = change.mfa.as_ref().map(|(_, roles)| serde_json::to_string(roles)).transpose();
                let roles = roles.map_err(|_| StoreError::corrupt("names without text"))?;
                tx.enter(Scope::Organization(organization)).await?;
                let updated: Option<OrganizationRecord> = within!(tx, conn => sqlx::query_as(UPDATE)
                    .bind(organization)
                    .bind(&change.name)
                    .bind(&change.time_zone)
                    .bind(change.mfa.as_ref().map(|(demand, _)| demand.as_str()))
                    .bind(&roles)
                    .fetch_optional(conn))?;
                if let Some(updated) = &updated {
                    tx.organization_changed(organization, updated.revision, &act).await?;
                }
                Ok(updated)
            })
        })
        .await
    }

    async fn delete_organization(&self, at: AtRevision, act: Act) -> Result<Revised<()>, StoreError> {
        let organization = at.organization;
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(organization)).await?;
                tx.lock_users_of(organization).await?;
                let revision = match tx.raise(at).await? {
                    Ok(revision) => revision,
                    Err(refused) => return Ok(refused),
                };
                tx.hold_floors().await?;
                execute!(tx, sqlx::query(EMPTY).bind(organization).bind(act.at - KEEP_DEAD_SESSIONS))?;
                execute!(tx, sqlx::query(DELETE).bind(organization))?;
                tx.organization_changed(organization, revision, &act).await?;
                Ok(Revised::Done { revision, value: () })
            })
        })
        .await
    }

    async fn create_store(
        &self,
        organization: OrgId,
        new: NewStore,
        act: Act,
    ) -> Result<Named<StoreRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(organization)).await?;
                let raised: Option<(i64,)> = within!(tx, conn =>
                    sqlx::query_as(RAISE_ANY).bind(organization).fetch_optional(conn))?;
                let Some((revision,)) = raised else { return Ok(Named::Missing) };
                let store: Option<StoreRecord> = within!(tx, conn => sqlx::query_as(INSERT_STORE)
                    .bind(new.id)
                    .bind(organization)
                    .bind(&new.slug)
                    .bind(&new.name)
                    .bind(act.at)
                    .fetch_optional(conn))?;
                let Some(store) = store else {
                    tx.abandon();
                    return Ok(Named::SlugTaken);
                };
                tx.organization_changed(organization, revision, &act).await?;
                Ok(Named::New(store))
            })
        })
        .await
    }

    async fn enter(
        &self,
        user: UserId,
        session: SessionId,
        tenant: Tenant,
        act: Act,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(tenant.organization)).await?;
                // Who is being removed from the organization at this moment has either left it by then, or is taken
                // out of it with this session.
                tx.lock_user(user).await?;
                tx.hold_floors().await?;
                let entered: Option<SessionRecord> = within!(tx, conn => sqlx::query_as(ENTER)
                    .bind(session)
                    .bind(user)
                    .bind(tenant.organization)
                    .bind(tenant.store)
                    .bind(act.at)
                    .fetch_optional(conn))?;
                if entered.is_some() {
                    tx.change(Change::SessionChanged { session, user }, act.at).await?;
                    tx.record(&act).await?;
                }
                Ok(entered)
            })
        })
        .await
    }
}

impl Tx {
    async fn found(&mut self, new: NewOrganization, act: &Act) -> Result<Named<OrganizationRecord>, StoreError> {
        self.enter(Scope::Organization(new.id)).await?;
        if !self.keep_user(new.owner).await? {
            return Ok(Named::Missing);
        }
        let founded: Option<OrganizationRecord> = within!(self, conn => sqlx::query_as(INSERT)
            .bind(new.id)
            .bind(&new.slug)
            .bind(&new.name)
            .bind(&new.time_zone)
            .bind(act.at)
            .fetch_optional(conn))?;
        let Some(founded) = founded else { return Ok(Named::SlugTaken) };
        self.insert_roles(new.id, founded.revision, &new.roles).await?;
        let member = MemberId::from(new.owner);
        let roles = vec![Assignment { role: new.owner_role, store: None }];
        self.insert_member(new.id, &NewMember { id: member, user: Some(new.owner), name: None, roles }, act.at).await?;
        let changed = Change::MemberChanged { organization: new.id, member, revision: founded.revision };
        self.change(changed, act.at).await?;
        self.organization_changed(new.id, founded.revision, act).await?;
        Ok(Named::New(founded))
    }

    /// Raises an organization's revision, which locks its row: nothing else of it is written until this transaction
    /// ends. Where the revision is another one, says so and abandons the transaction.
    pub(super) async fn raise<T>(&mut self, at: AtRevision) -> Result<Result<i64, Revised<T>>, StoreError> {
        let raised: Option<(i64,)> = within!(self, conn =>
            sqlx::query_as(RAISE).bind(at.organization).bind(at.revision).fetch_optional(conn))?;
        if let Some((revision,)) = raised {
            return Ok(Ok(revision));
        }
        self.abandon();
        let there: Option<OrganizationRecord> = within!(self, conn =>
            sqlx::query_as(BY_ID).bind(at.organization).fetch_optional(conn))?;
        Ok(Err(if there.is_some() { Revised::Stale } else { Revised::Missing }))
    }

    /// Tells the feed and the trail that something which decisions are compiled from has changed.
    pub(super) async fn organization_changed(
        &mut self,
        organization: OrgId,
        revision: i64,
        act: &Act,
    ) -> Result<(), StoreError> {
        self.change(Change::OrganizationChanged { organization, revision }, act.at).await?;
        self.record(act).await
    }

    /// Keeps a user from being removed until this transaction ends. `false` if there is no such user. Comes before an
    /// organization is locked, like every lock on a user.
    pub(super) async fn keep_user(&mut self, user: UserId) -> Result<bool, StoreError> {
        let sql = self.texts().keep_user;
        let kept: Option<(UserId,)> = within!(self, conn => sqlx::query_as(sql).bind(user).fetch_optional(conn))?;
        Ok(kept.is_some())
    }

    /// Locks the users of an organization, whose sessions are about to be changed. A member added meanwhile raises the
    /// revision.
    async fn lock_users_of(&mut self, organization: OrgId) -> Result<(), StoreError> {
        if let Some(sql) = self.texts().lock_users_of {
            let _: (i64,) = within!(self, conn => sqlx::query_as(sql).bind(organization).fetch_one(conn))?;
        }
        Ok(())
    }

    /// Takes the sessions of a user out of an organization. Under the lock of the user's row.
    pub(super) async fn leave(&mut self, user: UserId, organization: OrgId, at: Timestamp) -> Result<(), StoreError> {
        self.hold_floors().await?;
        let left: Vec<(SessionId,)> = within!(self, conn => sqlx::query_as(EMPTY_OF_USER)
            .bind(organization)
            .bind(at - KEEP_DEAD_SESSIONS)
            .bind(user)
            .fetch_all(conn))?;
        for (session,) in left {
            self.change(Change::SessionChanged { session, user }, at).await?;
        }
        Ok(())
    }
}
