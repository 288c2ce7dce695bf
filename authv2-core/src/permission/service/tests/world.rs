//! An organization in a real store, with calls that are counted, held up or refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    clock::{Clock, FakeClock, Timestamp},
    config::PermissionConfig,
    id::{MemberId, OrgId, RoleId, UserId},
    permission::{
        Access, Decision, Effect, Grant, OWNER, Permission, PermissionService, Question, Role, StepUp, Subject,
        builtin_roles,
    },
    store::{
        Assignment, AtRevision, Created, Named, NewMember, NewOrganization, NewRole, NewUser, OrganizationName,
        Revised, SharedStore, StoreError,
        shared::SharedCache,
        sql::{SqlOptions, SqlStore},
    },
    testing::counting::{Counter, Intercepted, Interceptor},
};

/// Counts calls; refuses or holds up those of one verb where a test asks for it.
#[derive(Debug, Default)]
pub(in crate::permission) struct Probe {
    counter: Counter,
    refused: Mutex<Option<&'static str>>,
    held: Mutex<Option<(&'static str, Arc<Gate>)>>,
}

/// Where a call is held up after the store has answered it.
#[derive(Debug)]
pub(in crate::permission) struct Gate {
    arrived: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Waits until a call is held up.
    pub(in crate::permission) async fn arrived(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    /// Lets one call go on.
    pub(in crate::permission) fn open(&self) {
        self.open.add_permits(1);
    }
}

impl Probe {
    pub(in crate::permission) fn take(&self) -> BTreeMap<&'static str, u64> {
        self.counter.take()
    }

    pub(in crate::permission) fn refuse(&self, verb: impl Into<Option<&'static str>>) {
        *self.refused.lock().unwrap() = verb.into();
    }

    /// Holds up the next call of `verb`.
    pub(in crate::permission) fn hold(&self, verb: &'static str) -> Arc<Gate> {
        let gate = Arc::new(Gate { arrived: Semaphore::new(0), open: Semaphore::new(0) });
        *self.held.lock().unwrap() = Some((verb, Arc::clone(&gate)));
        gate
    }
}

impl Interceptor for Probe {
    async fn around<T: Send>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        self.counter.around(verb, async { Ok(()) }).await?;
        // A failure takes its time, so that others come to wait for the same answer.
        if *self.refused.lock().unwrap() == Some(verb) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Err(StoreError::unavailable("the test says so"));
        }
        let answer = call.await;
        let gate = self.held.lock().unwrap().take_if(|(held, _)| *held == verb).map(|(_, gate)| gate);
        if let Some(gate) = gate {
            gate.arrived.add_permits(1);
            gate.open.acquire().await.unwrap().forget();
        }
        answer
    }
}

/// An organization, its owner, and a node that serves it.
pub(in crate::permission) struct World {
    /// The store itself: what is asked here is not counted.
    pub(in crate::permission) store: SharedStore,
    pub(in crate::permission) feed: Feed,
    pub(in crate::permission) clock: Arc<FakeClock>,
    pub(in crate::permission) probe: Arc<Probe>,
    pub(in crate::permission) node: PermissionService,
    pub(in crate::permission) organization: OrgId,
    pub(in crate::permission) owner: MemberId,
}

impl World {
    pub(in crate::permission) async fn new() -> Self {
        Self::with(PermissionConfig::default()).await
    }

    pub(in crate::permission) async fn with(config: PermissionConfig) -> Self {
        let feed = Feed::new();
        let store = SqlStore::open(&SqlOptions::new("sqlite::memory:"), feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        let store: SharedStore = Arc::new(store);
        let clock = Arc::new(FakeClock::at(Timestamp::from_seconds(1_700_000_000)));
        let probe = Arc::new(Probe::default());
        let watched: SharedStore = Arc::new(Intercepted::new(Arc::clone(&store), Arc::clone(&probe)));
        let node =
            PermissionService::new(watched, SharedCache::none(), &feed, Arc::clone(&clock) as _, config, &[7; 32]);
        let organization = OrgId::new();
        let mut world = Self { store, feed, clock, probe, node, organization, owner: MemberId::new() };
        world.owner = world.user("owner").await;
        world.found().await;
        world
    }

    /// Another node on the same store, which hears of nothing.
    pub(in crate::permission) fn deaf_node(&self) -> (PermissionService, Feed) {
        let feed = Feed::new();
        let clock = Arc::clone(&self.clock) as _;
        let store = Arc::clone(&self.store);
        (PermissionService::new(store, SharedCache::none(), &feed, clock, PermissionConfig::default(), &[7; 32]), feed)
    }

    async fn found(&self) {
        let roles = builtin_roles();
        let owner_role = roles.iter().find(|role| role.name == OWNER).unwrap().id;
        let new = NewOrganization {
            id: self.organization,
            slug: "acme".to_owned(),
            name: "Acme".to_owned(),
            time_zone: "UTC".to_owned(),
            roles: roles.iter().map(|role| new_role(role, Vec::new())).collect(),
            owner: UserId::from(self.owner.as_uuid()),
            owner_role,
        };
        let founded = self.store.create_organization(new, self.act("organization.created")).await.unwrap();
        assert!(matches!(founded, Named::New(_)));
    }

    pub(in crate::permission) fn act(&self, action: &'static str) -> Act {
        Act::new(action, Actor::System, self.clock.now(), &Origin::default()).within(self.organization)
    }

    pub(in crate::permission) async fn revision(&self) -> i64 {
        let name = OrganizationName::Id(self.organization);
        self.store.organization(&name).await.unwrap().unwrap().revision
    }

    async fn at(&self) -> AtRevision {
        AtRevision { organization: self.organization, revision: self.revision().await }
    }

    async fn user(&self, name: &str) -> MemberId {
        let new = NewUser {
            id: UserId::new(),
            email: format!("{name}@example.test"),
            email_key: format!("{name}@example.test"),
            display_name: None,
            password_hash: None,
            platform_admin: false,
            count_if_taken: Vec::new(),
        };
        let id = new.id;
        let created = self.store.create_user(new, self.act("user.created")).await.unwrap();
        assert!(matches!(created, Created::New(_)));
        id.into()
    }

    /// Writes a role, new or not; the revision that this led to.
    pub(in crate::permission) async fn put_role(&self, role: &Role) -> i64 {
        let parents = self.node_book(&role.inherits).await;
        let role = new_role(role, parents);
        revision(&self.store.put_role(self.at().await, role, self.act("role.updated")).await.unwrap())
    }

    async fn node_book(&self, names: &[String]) -> Vec<RoleId> {
        if names.is_empty() {
            return Vec::new();
        }
        let book = self.store.role_book(self.organization).await.unwrap().unwrap();
        book.roles.iter().filter(|role| names.contains(&role.name)).map(|role| role.id).collect()
    }

    /// Adds a member with these roles at the organization.
    pub(in crate::permission) async fn join(&self, name: &str, roles: &[&Role]) -> MemberId {
        let member = self.user(name).await;
        let new = NewMember {
            id: member,
            user: Some(UserId::from(member.as_uuid())),
            name: None,
            roles: at_organization(roles),
        };
        revision(&self.store.add_member(self.at().await, new, self.act("member.added")).await.unwrap());
        member
    }

    /// Replaces a member's roles; the revision that this led to.
    pub(in crate::permission) async fn assign(&self, member: MemberId, roles: &[&Role]) -> i64 {
        let act = self.act("member.roles_changed");
        revision(&self.store.assign_roles(self.at().await, member, at_organization(roles), act).await.unwrap())
    }

    pub(in crate::permission) async fn access(&self, member: MemberId) -> Option<Access> {
        self.node.access(self.organization, member).await.unwrap()
    }

    /// Whether the node lets a member do this.
    pub(in crate::permission) async fn may(&self, member: MemberId, permission: &str) -> bool {
        may(&self.node, self.organization, member, permission).await
    }

    pub(in crate::permission) async fn decide(&self, member: MemberId, permission: &str) -> Decision {
        decide(&self.access(member).await.unwrap(), permission, self.clock.now())
    }
}

pub(in crate::permission) async fn may(
    node: &PermissionService,
    organization: OrgId,
    member: MemberId,
    permission: &str,
) -> bool {
    let access = node.access(organization, member).await.unwrap();
    access.is_some_and(|access| decide(&access, permission, Timestamp::from_seconds(1_700_000_000)).is_allowed())
}

pub(in crate::permission) fn decide(access: &Access, permission: &str, now: Timestamp) -> Decision {
    let permission: Permission = permission.parse().unwrap();
    access.decide(&Question::new(&permission), &Subject::default(), now)
}

fn at_organization(roles: &[&Role]) -> Vec<Assignment> {
    roles.iter().map(|role| Assignment { role: role.id, store: None }).collect()
}

fn revision<T>(revised: &Revised<T>) -> i64 {
    match revised {
        Revised::Done { revision, .. } => *revision,
        Revised::Stale | Revised::Missing => panic!("the write must be done"),
    }
}

fn new_role(role: &Role, inherits: Vec<RoleId>) -> NewRole {
    NewRole {
        id: role.id,
        name: role.name.clone(),
        description: None,
        grants: serde_json::to_string(&role.grants).unwrap(),
        inherits,
        builtin: role.builtin,
    }
}

/// A role: a grant that begins with `!` denies, one that begins with `?` wants a sign-in nobody has.
pub(in crate::permission) fn role(name: &str, grants: &[&str]) -> Role {
    let grant = |text: &&str| Grant {
        permission: text.trim_start_matches(['!', '?']).parse().unwrap(),
        effect: if text.starts_with('!') { Effect::Deny } else { Effect::Allow },
        when: None,
        step_up: text.starts_with('?').then_some(StepUp { max_age: Some(60), acr: None }),
    };
    Role {
        id: RoleId::new(),
        name: name.to_owned(),
        description: None,
        inherits: Vec::new(),
        grants: grants.iter().map(grant).collect(),
        builtin: false,
        revision: 0,
    }
}

/// The role with other grants.
pub(in crate::permission) fn with_grants(before: &Role, grants: &[&str]) -> Role {
    Role { grants: role("", grants).grants, ..before.clone() }
}
