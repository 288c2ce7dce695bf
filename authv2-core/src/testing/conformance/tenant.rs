//! An organization under test, and everything that can be read of it.

use super::{
    act::{act, at, everywhere, new_account, new_member, new_organization, new_role, new_store},
    world::World,
};
use crate::{
    id::{MemberId, OrgId, RoleId, StoreId, UserId},
    store::{
        ApiKeyRecord, Assignment, AtRevision, DecisionCount, Joined, MemberKind, MemberPage, MemberRecord, Named,
        NewRole, NewStore, OrganizationName, OrganizationRecord, Revised, RoleBook, RoleRecord, Updated,
    },
};

/// An organization founded by [`World::found`]. A cheap clone.
#[derive(Clone)]
pub(super) struct Founded {
    pub(super) world: World,
    pub(super) id: OrgId,
    pub(super) owner: UserId,
    pub(super) owner_role: RoleId,
    pub(super) member_role: RoleId,
}

/// Everything that the verbs tell of an organization.
#[derive(Debug, PartialEq)]
pub(super) struct Contents {
    pub(super) book: Option<RoleBook>,
    pub(super) users: Vec<MemberRecord>,
    pub(super) accounts: Vec<MemberRecord>,
    pub(super) keys: Vec<(ApiKeyRecord, MemberKind)>,
    pub(super) counts: Vec<DecisionCount>,
}

impl World {
    /// Founds the organization `slug`; its owner is called after it.
    pub(super) async fn found(&self, slug: &str) -> Founded {
        let owner = self.user(&format!("owner-of-{slug}")).await.id;
        let new = new_organization(slug, owner);
        let (id, owner_role, member_role) = (new.id, new.owner_role, new.roles[1].id);
        let founded = self.store().create_organization(new, act("organization.created", at(0))).await.unwrap();
        assert!(matches!(founded, Named::New(_)), "{founded:?}");
        Founded { world: self.clone(), id, owner, owner_role, member_role }
    }

    /// The organizations of `user` as they are now: what its removal is judged by.
    pub(super) async fn memberships(&self, user: UserId) -> Vec<AtRevision> {
        let found = self.store().organizations_of(user).await.unwrap();
        found.into_iter().map(|found| AtRevision { organization: found.id, revision: found.revision }).collect()
    }

    /// Removes `user`, whatever it belongs to.
    pub(super) async fn remove(&self, user: UserId) {
        let memberships = self.memberships(user).await;
        let removed = self.store().delete_user(user, memberships, act("user.deleted", at(9))).await.unwrap();
        assert_eq!(removed, Updated::Done(()));
    }
}

impl Founded {
    pub(super) async fn record(&self) -> OrganizationRecord {
        let found = self.world.store().organization(&OrganizationName::Id(self.id)).await.unwrap();
        found.expect("the organization must be stored")
    }

    /// As it is now: what a write is decided on.
    pub(super) async fn now(&self) -> AtRevision {
        AtRevision { organization: self.id, revision: self.record().await.revision }
    }

    pub(super) async fn book(&self) -> RoleBook {
        self.world.store().role_book(self.id).await.unwrap().expect("the organization must be stored")
    }

    pub(super) async fn contents(&self) -> Contents {
        let store = self.world.store();
        Contents {
            book: store.role_book(self.id).await.unwrap(),
            users: self.members(MemberKind::User).await,
            accounts: self.members(MemberKind::ServiceAccount).await,
            keys: self.keys().await,
            counts: store.decision_counts(self.id, i64::MIN).await.unwrap(),
        }
    }

    /// All members of a kind.
    pub(super) async fn members(&self, kind: MemberKind) -> Vec<MemberRecord> {
        self.world.store().members(self.id, MemberPage { kind, after: None, limit: 10_000 }).await.unwrap()
    }

    /// The member, if it is one.
    pub(super) async fn member(&self, member: impl Into<MemberId>) -> Option<MemberRecord> {
        self.world.store().member(self.id, member.into()).await.unwrap()
    }

    /// Adds the user called `name` with `roles`.
    pub(super) async fn member_called(&self, name: &str, roles: Vec<Assignment>) -> UserId {
        let user = self.world.user(name).await.id;
        self.join(user, roles).await;
        user
    }

    /// Adds `user` with `roles`.
    pub(super) async fn join(&self, user: UserId, roles: Vec<Assignment>) -> MemberRecord {
        let joined =
            self.world.store().add_member(self.now().await, new_member(user, roles), act("member.added", at(1)));
        match written(joined.await.unwrap()).1 {
            Joined::New(member) => member,
            Joined::Already => panic!("it must not be a member yet"),
        }
    }

    /// Adds a service account that holds `role`.
    pub(super) async fn account(&self, name: &str, role: RoleId) -> MemberId {
        let mut new = new_account(name);
        new.roles = vec![everywhere(role)];
        let id = new.id;
        written(self.world.store().add_member(self.now().await, new, act("member.added", at(1))).await.unwrap());
        id
    }

    /// Adds a role that inherits from `parents`.
    pub(super) async fn role(&self, name: &str, parents: &[RoleId]) -> RoleId {
        let role = NewRole { inherits: parents.to_vec(), ..new_role(name) };
        self.put(role).await.id
    }

    pub(super) async fn put(&self, role: NewRole) -> RoleRecord {
        written(self.world.store().put_role(self.now().await, role, act("role.updated", at(1))).await.unwrap()).1
    }

    /// Opens the store `slug`.
    pub(super) async fn branch(&self, slug: &str) -> StoreId {
        let new: NewStore = new_store(slug);
        let id = new.id;
        let opened = self.world.store().create_store(self.id, new, act("store.created", at(1))).await.unwrap();
        assert!(matches!(opened, Named::New(_)), "{opened:?}");
        id
    }
}

/// The new revision, and what was written.
pub(super) fn written<T: std::fmt::Debug>(revised: Revised<T>) -> (i64, T) {
    match revised {
        Revised::Done { revision, value } => (revision, value),
        other => panic!("it must be written, not {other:?}"),
    }
}
