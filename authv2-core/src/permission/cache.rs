//! What decisions are made from, at hand: compiled organizations and the roles of their members, kept right by the
//! change feed.

use std::{
    collections::BTreeSet,
    hash::BuildHasher as _,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use foldhash::fast::FixedState;
use quick_cache::sync::Cache;
use tokio::time::Instant;

use super::{
    followed::{Followed, Reach},
    model::Model,
    snapshot::{Rights, Snapshot},
};
use crate::{
    changes::{Change, Feed, Listener, Subject},
    clock::{Clock, Timestamp},
    id::{MemberId, OrgId, RoleId, StoreId},
    store::{
        AccessRecord, Assignment, SharedStore,
        cached::{Cached, Found, Missing, Weigh, bytes},
        shared::{Shared, SharedCache},
    },
};

/// How often a member's use of its rights is noted, at most.
const USE_RESOLUTION: Duration = Duration::from_secs(60);

/// A compiled organization.
#[derive(Debug)]
pub(super) struct Organization {
    /// Tells it from every other one compiled in this process.
    pub(super) serial: u64,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) followed: Arc<Followed>,
    bytes: u64,
}

/// A member's roles, and what they amount to in a compiled organization.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) organization: OrgId,
    pub(super) id: MemberId,
    pub(super) revision: i64,
    roles: Vec<Assignment>,
    resolved: Resolution,
    /// When its use of its rights was last noted, in microseconds.
    noted: AtomicI64,
}

/// Where a member stands in one compiled organization.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) rights: Rights,
    /// A number for the roles that count at the organization, the same for all members who hold just these, and for
    /// those that count at each store where it holds more.
    roles: u64,
    stores: Box<[(StoreId, u64)]>,
}

/// A standing, and the compiled organization that it is in: an idle member must not keep an old one in memory.
#[derive(Debug)]
struct Resolved {
    within: Weak<Organization>,
    standing: Arc<Standing>,
}

/// The standing last resolved.
#[derive(Debug, Default)]
pub(super) struct Resolution(RwLock<Option<Resolved>>);

/// The caches of one node.
#[derive(Debug)]
pub(super) struct Caches {
    store: SharedStore,
    shared: SharedCache,
    feed: Feed,
    clock: Arc<dyn Clock>,
    pub(super) organizations: Cached<OrgId, Organization>,
    pub(super) members: Cached<(OrgId, MemberId), Member>,
    followed: Cache<OrgId, Arc<Followed>>,
    serial: AtomicU64,
}

impl Caches {
    /// Empty caches over `store`, and what the nodes share of it, for about that many bytes in all.
    pub(super) fn new(
        store: SharedStore,
        shared: SharedCache,
        feed: Feed,
        clock: Arc<dyn Clock>,
        bytes: usize,
    ) -> Self {
        // A member with a few roles, and the compiled roles of a small organization.
        const MEMBER: usize = 400;
        const ORGANIZATION: usize = 16 * 1024;
        const FOLLOWED: usize = 64 * 1024;
        let half = bytes / 2;
        Self {
            store,
            shared,
            feed,
            clock,
            // Few shards, so that a large organization fits into one.
            organizations: Cached::new(half, ORGANIZATION, Some(4)),
            members: Cached::new(half, MEMBER, None),
            followed: Cache::new(FOLLOWED),
            serial: AtomicU64::new(1),
        }
    }

    /// The organization as it is at hand, or else as it is stored.
    pub(super) async fn organization(&self, id: OrgId) -> Found<Organization> {
        self.organizations.find(id, self.read_organization(id)).await
    }

    /// The member as it is at hand, or else as the nodes share it, if that holds up to the revision `wanted` by what
    /// was followed `before`, or else as it is stored.
    pub(super) async fn member(&self, organization: OrgId, id: MemberId, before: Reach, wanted: i64) -> Found<Member> {
        self.members.find((organization, id), self.read_member(organization, id, before, wanted)).await
    }

    /// A member whose rights are at hand.
    pub(super) fn at_hand(
        &self,
        organization: OrgId,
        id: MemberId,
    ) -> Option<(Arc<Organization>, Arc<Member>, Arc<Standing>)> {
        let now = Instant::now();
        let within = self.organizations.at_hand(&organization, now)?;
        let member = self.members.at_hand(&(organization, id), now)?;
        let standing = member.standing_in(&within)?;
        Some((within, member, standing))
    }

    /// Whether everything that is decided on in an organization holds at least up to `revision`.
    pub(super) fn has_reached(&self, organization: OrgId, revision: i64) -> bool {
        // What is at hand was kept right up to there, and what is not will be read after.
        let followed = self.followed(organization).covers(revision);
        let is_at_hand = |within: Arc<Organization>| within.followed.reach().extends(within.revision()) >= revision;
        followed || self.organizations.at_hand(&organization, Instant::now()).is_some_and(is_at_hand)
    }

    /// How far the changes of an organization were followed.
    pub(super) fn followed(&self, organization: OrgId) -> Reach {
        self.followed.get(&organization).map_or(Reach::NOTHING, |followed| followed.reach())
    }

    /// Whether just this reading of an organization is at hand.
    pub(super) fn is_at_hand(&self, organization: &Arc<Organization>) -> bool {
        self.organizations.holds(&organization.id(), organization)
    }

    /// Whether just this reading of a member is at hand.
    pub(super) fn is_member_at_hand(&self, member: &Arc<Member>) -> bool {
        self.members.holds(&(member.organization, member.id), member)
    }

    /// Forgets an organization: the next one to ask reads it anew.
    pub(super) fn forget(&self, organization: OrgId) {
        self.organizations.forget(&organization);
    }

    /// Forgets exactly this reading of an organization.
    pub(super) fn forget_organization(&self, outdated: &Arc<Organization>) {
        self.organizations.forget_exactly(&outdated.id(), outdated);
    }

    /// Forgets a member: the next one to ask reads it anew.
    pub(super) fn forget_any_member(&self, organization: OrgId, id: MemberId) {
        self.members.forget(&(organization, id));
    }

    /// Forgets exactly this reading of a member.
    pub(super) fn forget_member(&self, outdated: &Arc<Member>) {
        self.members.forget_exactly(&(outdated.organization, outdated.id), outdated);
    }

    /// Forgets whatever was read so far, and what is being read: the next ones to ask read it anew.
    fn forget_everything(&self) {
        // A reading that is under way is refused because its place goes.
        // First: a reading that begins from here on does not begin with what was followed before.
        self.followed.clear();
        self.organizations.forget_everything();
        self.members.forget_everything();
    }

    async fn read_organization(&self, id: OrgId) -> Result<Organization, Missing> {
        let followed = self.followed_from_now(id);
        let book = self.store.role_book(id).await.map_err(Missing::Failed)?.ok_or(Missing::Absent)?;
        let snapshot = Snapshot::compile(Model::try_from(book).map_err(Missing::Failed)?);
        followed.begin(snapshot.model().revision);
        Ok(Organization {
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
            bytes: bytes(size_of::<Organization>() + snapshot.weight()),
            snapshot: Arc::new(snapshot),
            followed,
        })
    }

    async fn read_member(
        &self,
        organization: OrgId,
        id: MemberId,
        before: Reach,
        wanted: i64,
    ) -> Result<Member, Missing> {
        if let Some(record) = self.read_shared(organization, id).await
            && before.extends(record.revision) >= wanted
        {
            return Ok(Member::new(organization, id, record));
        }
        let read_at = self.clock.now();
        let record = self.store.access(organization, id).await.map_err(Missing::Failed)?.ok_or(Missing::Absent)?;
        if self.shared.is_there() {
            let (shared, entry) = (self.shared.clone(), Shared { value: record.clone(), read_at });
            tokio::spawn(async move { shared.put_member(organization, id, &entry, read_at).await });
        }
        Ok(Member::new(organization, id, record))
    }

    /// The member as another node read it up to a minute ago, unless it may have changed since: what this node heard
    /// of reaches further back.
    async fn read_shared(&self, organization: OrgId, id: MemberId) -> Option<AccessRecord> {
        let subject = Subject::Member(organization, id);
        if !self.shared.is_there() || self.feed.is_stale() || self.feed.changed_lately(subject) {
            return None;
        }
        let record = self.shared.member(organization, id, self.clock.now()).await?.value;
        // Judged after it was read: what changes from here on makes it be read anew.
        (!self.feed.changed_lately(subject)).then_some(record)
    }

    /// Notes the organization's changes from now on.
    fn followed_from_now(&self, organization: OrgId) -> Arc<Followed> {
        match self
            .followed
            .get_or_insert_with(&organization, || Ok::<_, std::convert::Infallible>(Arc::new(Followed::new())))
        {
            Ok(followed) => followed,
            Err(never) => match never {},
        }
    }
}

impl Listener for Caches {
    /// Whatever its revision says: what this node has just written holds, also where the database was set back.
    fn apply(&self, change: &Change) {
        let (organization, revision) = match *change {
            Change::OrganizationChanged { organization, revision }
            | Change::MemberChanged { organization, revision, .. }
            | Change::ApiKeyChanged { organization, revision, .. } => (organization, revision),
            Change::Everything => return self.forget_everything(),
            _ => return,
        };
        let followed = self.followed.get(&organization);
        match *change {
            Change::OrganizationChanged { .. } => self.organizations.forget(&organization),
            Change::MemberChanged { member, .. } => self.members.forget(&(organization, member)),
            // Keys are asked for elsewhere: here it only leaves no gap.
            _ => {}
        }
        // After the removal: whoever sees that the change was applied, finds nothing from before it.
        if let Some(followed) = followed {
            followed.applied(revision);
        }
    }

    /// Unless it came before: nothing that is decided on is older then.
    fn hear(&self, change: &Change) {
        let (Change::OrganizationChanged { organization, revision }
        | Change::MemberChanged { organization, revision, .. }
        | Change::ApiKeyChanged { organization, revision, .. }) = *change
        else {
            return self.apply(change);
        };
        if !self.followed(organization).covers(revision) {
            self.apply(change);
        }
    }
}

impl Organization {
    pub(super) fn id(&self) -> OrgId {
        self.snapshot.model().organization
    }

    /// The revision at which it was read.
    pub(super) fn revision(&self) -> i64 {
        self.snapshot.model().revision
    }
}

impl Member {
    fn new(organization: OrgId, id: MemberId, record: AccessRecord) -> Self {
        let AccessRecord { revision, roles } = record;
        Self { organization, id, revision, roles, resolved: Resolution::default(), noted: AtomicI64::new(i64::MIN) }
    }

    /// The roles it holds.
    pub(super) fn roles(&self) -> &[Assignment] {
        &self.roles
    }

    /// Its standing in this very organization, if that was resolved.
    pub(super) fn standing_in(&self, organization: &Arc<Organization>) -> Option<Arc<Standing>> {
        self.resolved.at_hand(organization)
    }

    /// Resolves its standing in an organization.
    pub(super) fn resolve(&self, organization: &Arc<Organization>) -> Arc<Standing> {
        self.resolved.put(organization, &self.roles)
    }

    /// Whether its use of a right now is worth a note, which it is once in a while.
    pub(super) fn is_use_due(&self, now: Timestamp) -> bool {
        let noted = self.noted.load(Ordering::Relaxed);
        let due = Timestamp::from_micros(noted) + USE_RESOLUTION;
        now >= due && self.noted.compare_exchange(noted, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Resolution {
    /// The standing in this very organization of whoever has `roles` there.
    pub(super) fn of(
        &self,
        organization: &Arc<Organization>,
        roles: impl FnOnce() -> Vec<Assignment>,
    ) -> Arc<Standing> {
        self.at_hand(organization).unwrap_or_else(|| self.put(organization, &roles()))
    }

    fn at_hand(&self, organization: &Arc<Organization>) -> Option<Arc<Standing>> {
        let resolved = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Resolved { within, standing } = resolved.as_ref()?;
        // The weak reference keeps the address from being used again.
        std::ptr::eq(within.as_ptr(), Arc::as_ptr(organization)).then(|| Arc::clone(standing))
    }

    fn put(&self, organization: &Arc<Organization>, roles: &[Assignment]) -> Arc<Standing> {
        let standing = Arc::new(Standing::new(organization.snapshot.rights(roles), roles));
        let resolved = Resolved { within: Arc::downgrade(organization), standing: Arc::clone(&standing) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(resolved);
        standing
    }
}

impl Standing {
    fn new(rights: Rights, assignments: &[Assignment]) -> Self {
        let number = |at: Option<StoreId>| {
            let reaches = |assignment: &&Assignment| assignment.store.is_none() || assignment.store == at;
            let roles: BTreeSet<RoleId> =
                assignments.iter().filter(reaches).map(|assignment| assignment.role).collect();
            FixedState::default().hash_one(roles)
        };
        let stores: BTreeSet<StoreId> = assignments.iter().filter_map(|assignment| assignment.store).collect();
        Self { rights, roles: number(None), stores: stores.into_iter().map(|at| (at, number(Some(at)))).collect() }
    }

    /// The number of the roles that count at a store, or at the organization.
    #[inline]
    pub(super) fn roles_at(&self, store: Option<StoreId>) -> u64 {
        let Some(store) = store else { return self.roles };
        let own = self.stores.binary_search_by_key(&store, |(at, _)| *at).ok();
        own.and_then(|place| self.stores.get(place)).map_or(self.roles, |(_, number)| *number)
    }
}

impl Weigh for Organization {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Weigh for Member {
    fn bytes(&self) -> u64 {
        // Its place in the cache, its resolved rights and the allocator's share.
        const AROUND: usize = 240;
        bytes(size_of::<Self>() + size_of_val(self.roles.as_slice()) + AROUND)
    }
}
