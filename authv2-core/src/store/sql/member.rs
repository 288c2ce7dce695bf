//! Members and their roles in SQL.

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    SqlStore,
    pool::{execute, read_within, within},
    scope::Scope,
    tx::Tx,
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::{MemberId, OrgId, RoleId, StoreId, UserId},
    store::{
        AccessRecord, Assignment, AtRevision, Holder, Joined, MemberKind, MemberPage, MemberRecord, MemberStore,
        MemberUser, NewMember, Revised, StoreError,
    },
};

/// Members with their accounts and roles: a row for each role, or one for a member without any.
macro_rules! members {
    ($which:literal) => {
        concat!(
            "SELECT listed.member_id, listed.kind, listed.service_name, listed.joined_at, listed.user_id,
                users.email, users.display_name, held.role_id, held.store_id
            FROM (SELECT * FROM members WHERE ",
            $which,
            ") listed
            LEFT JOIN users ON users.id = listed.user_id
            LEFT JOIN role_assignments held ON held.org_id = listed.org_id AND held.member_id = listed.member_id
            ORDER BY listed.joined_at, listed.member_id"
        )
    };
}

const ONE: &str = members!("org_id = $1 AND member_id = $2");

const PAGE: &str =
    members!("org_id = $1 AND kind = $2 AND (joined_at, member_id) > ($3, $4) ORDER BY joined_at, member_id LIMIT $5");

const ACCESS: &str = "SELECT organizations.revision, held.role_id, held.store_id
    FROM members
    JOIN organizations ON organizations.org_id = members.org_id
    LEFT JOIN role_assignments held ON held.org_id = members.org_id AND held.member_id = members.member_id
    WHERE members.org_id = $1 AND members.member_id = $2";

const HOLDERS: &str = "WITH RECURSIVE heirs (role_id) AS (
        SELECT role_id FROM roles WHERE org_id = $1 AND role_id = $2
        UNION
        SELECT role_inherits.role_id FROM heirs
        JOIN role_inherits ON role_inherits.org_id = $1 AND role_inherits.parent_id = heirs.role_id)
    SELECT members.member_id, COALESCE(users.status = 'active', FALSE) AS is_active_user, held.role_id, held.store_id
    FROM (SELECT DISTINCT member_id FROM role_assignments
        WHERE org_id = $1 AND role_id IN (SELECT role_id FROM heirs)) holding
    JOIN members ON members.org_id = $1 AND members.member_id = holding.member_id
    JOIN role_assignments held ON held.org_id = $1 AND held.member_id = holding.member_id
    LEFT JOIN users ON users.id = members.user_id
    ORDER BY members.member_id";

const INSERT: &str = "INSERT INTO members (org_id, member_id, kind, user_id, service_name, joined_at)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (org_id, member_id) DO NOTHING
    RETURNING member_id";

const IS_MEMBER: &str = "SELECT member_id FROM members WHERE org_id = $1 AND member_id = $2";

const ASSIGN: &str = "INSERT INTO role_assignments (org_id, member_id, role_id, store_id) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING";

const UNASSIGN: &str = "DELETE FROM role_assignments WHERE org_id = $1 AND member_id = $2";

const DELETE: &str = "DELETE FROM members WHERE org_id = $1 AND member_id = $2 RETURNING member_id";

const MEMBERSHIPS: &str = "SELECT org_id FROM members WHERE user_id = $1";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[ONE, PAGE, ACCESS, HOLDERS, IS_MEMBER, UNASSIGN, DELETE, MEMBERSHIPS];

#[derive(sqlx::FromRow)]
struct MemberRow {
    member_id: MemberId,
    #[sqlx(try_from = "String")]
    kind: MemberKind,
    service_name: Option<String>,
    joined_at: Timestamp,
    user_id: Option<UserId>,
    email: Option<String>,
    display_name: Option<String>,
    role_id: Option<RoleId>,
    store_id: Option<StoreId>,
}

#[derive(sqlx::FromRow)]
struct HolderRow {
    member_id: MemberId,
    is_active_user: bool,
    #[sqlx(flatten)]
    held: Assignment,
}

#[async_trait]
impl MemberStore for SqlStore {
    async fn member(&self, organization: OrgId, member: MemberId) -> Result<Option<MemberRecord>, StoreError> {
        let rows: Vec<MemberRow> = read_within!(self, Scope::Organization(organization), conn =>
            sqlx::query_as(ONE).bind(organization).bind(member).fetch_all(conn))?;
        Ok(grouped(rows)?.pop())
    }

    async fn members(&self, organization: OrgId, page: MemberPage) -> Result<Vec<MemberRecord>, StoreError> {
        // Before everybody: nobody joined at the smallest moment, and no id is nil.
        let first = (Timestamp::from_micros(i64::MIN), MemberId::from(Uuid::nil()));
        let (joined_at, id) = page.after.unwrap_or(first);
        let rows: Vec<MemberRow> = read_within!(self, Scope::Organization(organization), conn => sqlx::query_as(PAGE)
            .bind(organization)
            .bind(page.kind.as_str())
            .bind(joined_at)
            .bind(id)
            .bind(i64::from(page.limit))
            .fetch_all(conn))?;
        grouped(rows)
    }

    async fn access(&self, organization: OrgId, member: MemberId) -> Result<Option<AccessRecord>, StoreError> {
        let rows: Vec<(i64, Option<RoleId>, Option<StoreId>)> = read_within!(self, Scope::Organization(organization), conn =>
                sqlx::query_as(ACCESS).bind(organization).bind(member).fetch_all(conn))?;
        let Some(&(revision, ..)) = rows.first() else { return Ok(None) };
        let held = |(_, role, store): (i64, Option<RoleId>, Option<StoreId>)| Some(Assignment { role: role?, store });
        let mut roles: Vec<Assignment> = rows.into_iter().filter_map(held).collect();
        roles.sort_unstable();
        Ok(Some(AccessRecord { revision, roles }))
    }

    async fn holders(&self, organization: OrgId, role: RoleId) -> Result<Vec<Holder>, StoreError> {
        let rows: Vec<HolderRow> = read_within!(self, Scope::Organization(organization), conn =>
            sqlx::query_as(HOLDERS).bind(organization).bind(role).fetch_all(conn))?;
        let mut holders: Vec<Holder> = Vec::new();
        for HolderRow { member_id: member, is_active_user, held } in rows {
            match holders.last_mut() {
                Some(holder) if holder.member == member => holder.roles.push(held),
                _ => holders.push(Holder { member, is_active_user, roles: vec![held] }),
            }
        }
        holders.iter_mut().for_each(|holder| holder.roles.sort_unstable());
        Ok(holders)
    }

    async fn add_member(&self, at: AtRevision, new: NewMember, act: Act) -> Result<Revised<Joined>, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.join(at, &new, &act).await })).await
    }

    async fn assign_roles(
        &self,
        at: AtRevision,
        member: MemberId,
        roles: Vec<Assignment>,
        act: Act,
    ) -> Result<Revised<MemberRecord>, StoreError> {
        self.write(move |tx| Box::pin(async move { tx.reassign(at, member, &roles, &act).await })).await
    }

    async fn remove_member(&self, at: AtRevision, member: MemberId, act: Act) -> Result<Revised<()>, StoreError> {
        let organization = at.organization;
        self.write(move |tx| {
            Box::pin(async move {
                tx.enter(Scope::Organization(organization)).await?;
                // Of a service account there is no such user, and no session either.
                let user = UserId::from(member.as_uuid());
                tx.lock_user(user).await?;
                let revision = match tx.raise(at).await? {
                    Ok(revision) => revision,
                    Err(refused) => return Ok(refused),
                };
                if !tx.delete_member(organization, member).await? {
                    tx.abandon();
                    return Ok(Revised::Missing);
                }
                tx.leave(user, organization, act.at).await?;
                tx.change(Change::MemberChanged { organization, member, revision }, act.at).await?;
                tx.record(&act).await?;
                Ok(Revised::Done { revision, value: () })
            })
        })
        .await
    }
}

impl Tx {
    async fn join(&mut self, at: AtRevision, new: &NewMember, act: &Act) -> Result<Revised<Joined>, StoreError> {
        let organization = at.organization;
        self.enter(Scope::Organization(organization)).await?;
        if let Some(user) = new.user
            && !self.keep_user(user).await?
        {
            return Ok(Revised::Missing);
        }
        let revision = match self.raise(at).await? {
            Ok(revision) => revision,
            Err(refused) => return Ok(refused),
        };
        if !self.insert_member(organization, new, act.at).await? {
            self.abandon();
            return Ok(Revised::Done { revision: at.revision, value: Joined::Already });
        }
        let member = self.member(organization, new.id).await?;
        self.change(Change::MemberChanged { organization, member: new.id, revision }, act.at).await?;
        self.record(act).await?;
        Ok(Revised::Done { revision, value: Joined::New(member) })
    }

    async fn reassign(
        &mut self,
        at: AtRevision,
        member: MemberId,
        roles: &[Assignment],
        act: &Act,
    ) -> Result<Revised<MemberRecord>, StoreError> {
        let organization = at.organization;
        self.enter(Scope::Organization(organization)).await?;
        let revision = match self.raise(at).await? {
            Ok(revision) => revision,
            Err(refused) => return Ok(refused),
        };
        let there: Option<(MemberId,)> = within!(self, conn =>
            sqlx::query_as(IS_MEMBER).bind(organization).bind(member).fetch_optional(conn))?;
        if there.is_none() {
            self.abandon();
            return Ok(Revised::Missing);
        }
        execute!(self, sqlx::query(UNASSIGN).bind(organization).bind(member))?;
        self.assign(organization, member, roles).await?;
        let record = self.member(organization, member).await?;
        self.change(Change::MemberChanged { organization, member, revision }, act.at).await?;
        self.record(act).await?;
        Ok(Revised::Done { revision, value: record })
    }

    /// Adds a member with its roles. `false` if it is one already.
    pub(super) async fn insert_member(
        &mut self,
        organization: OrgId,
        new: &NewMember,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let kind = if new.user.is_some() { MemberKind::User } else { MemberKind::ServiceAccount };
        let inserted: Option<(MemberId,)> = within!(self, conn => sqlx::query_as(INSERT)
            .bind(organization)
            .bind(new.id)
            .bind(kind.as_str())
            .bind(new.user)
            .bind(&new.name)
            .bind(at)
            .fetch_optional(conn))?;
        if inserted.is_none() {
            return Ok(false);
        }
        self.assign(organization, new.id, &new.roles).await?;
        Ok(true)
    }

    async fn assign(&mut self, organization: OrgId, member: MemberId, roles: &[Assignment]) -> Result<(), StoreError> {
        for held in roles {
            execute!(self, sqlx::query(ASSIGN).bind(organization).bind(member).bind(held.role).bind(held.store))?;
        }
        Ok(())
    }

    /// The member as this transaction has written it.
    async fn member(&mut self, organization: OrgId, member: MemberId) -> Result<MemberRecord, StoreError> {
        let rows: Vec<MemberRow> = within!(self, conn =>
            sqlx::query_as(ONE).bind(organization).bind(member).fetch_all(conn))?;
        grouped(rows)?.pop().ok_or_else(|| StoreError::corrupt("a member that was just written is not there"))
    }

    async fn delete_member(&mut self, organization: OrgId, member: MemberId) -> Result<bool, StoreError> {
        let deleted: Option<(MemberId,)> = within!(self, conn =>
            sqlx::query_as(DELETE).bind(organization).bind(member).fetch_optional(conn))?;
        Ok(deleted.is_some())
    }

    /// Ends every membership of a user, one organization after the other in the order of their ids. `false`, and the
    /// transaction abandoned, unless it belongs to the organizations given and to no other, each at the revision
    /// given. Under the lock of the user's row, so that it joins nothing meanwhile.
    pub(super) async fn leave_all(
        &mut self,
        user: UserId,
        mut expected: Vec<AtRevision>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        self.enter(Scope::User(user)).await?;
        let mut found: Vec<(OrgId,)> = within!(self, conn => sqlx::query_as(MEMBERSHIPS).bind(user).fetch_all(conn))?;
        found.sort_unstable();
        expected.sort_unstable();
        if !found.into_iter().eq(expected.iter().map(|at| (at.organization,))) {
            self.abandon();
            return Ok(false);
        }
        let member = MemberId::from(user);
        for membership in expected {
            let organization = membership.organization;
            self.enter(Scope::Organization(organization)).await?;
            let Ok(revision) = self.raise::<()>(membership).await? else { return Ok(false) };
            self.delete_member(organization, member).await?;
            self.change(Change::MemberChanged { organization, member, revision }, at).await?;
        }
        Ok(true)
    }
}

/// Puts the rows of each member together; they follow each other.
fn grouped(rows: Vec<MemberRow>) -> Result<Vec<MemberRecord>, StoreError> {
    let mut members: Vec<MemberRecord> = Vec::new();
    for row in rows {
        let held = row.role_id.map(|role| Assignment { role, store: row.store_id });
        match members.last_mut() {
            Some(member) if member.id == row.member_id => member.roles.extend(held),
            _ => members.push(row.into_member(held)?),
        }
    }
    members.iter_mut().for_each(|member| member.roles.sort_unstable());
    Ok(members)
}

impl MemberRow {
    fn into_member(self, held: Option<Assignment>) -> Result<MemberRecord, StoreError> {
        let user = match (self.user_id, self.email) {
            (Some(id), Some(email)) => Some(MemberUser { id, email, display_name: self.display_name }),
            (None, _) => None,
            (Some(_), None) => return Err(StoreError::corrupt("a member without its account")),
        };
        Ok(MemberRecord {
            id: self.member_id,
            kind: self.kind,
            user,
            name: self.service_name,
            joined_at: self.joined_at,
            roles: held.into_iter().collect(),
        })
    }
}
