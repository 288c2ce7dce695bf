//! What the services ask of a database: records, atomic verbs, and the errors of both.
//!
//! SQL is the truth and everything else a copy. Every mutating verb is one transaction that carries the audit entry
//! and the changes of the act it performs, runs to its commit even when the caller stops waiting, and is applied to
//! this node's own memory (through [`crate::changes`]) before it answers.

pub mod breaker;
pub(crate) mod cached;
mod device;
mod error;
mod guarded;
mod intercepted;
mod mail;
mod mfa;
mod pooler;
mod record;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub mod shared;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

pub use self::{
    device::DeviceStore,
    error::StoreError,
    guarded::Guard,
    intercepted::{Intercepted, Interceptor},
    mail::{LinkStore, MailStore},
    mfa::{ChallengeStore, MfaStore},
    pooler::Pooler,
    record::*,
};
use crate::{
    audit::Act,
    calendar::Span,
    changes::Change,
    clock::Timestamp,
    id::{EventId, KeyId, MemberId, NodeId, OrgId, RoleId, SessionId, TokenId, UserId},
    secret::SecretHash,
    tenant::Tenant,
};

/// Users and their credentials.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Adds a user unless its e-mail is taken. The act is recorded either way, as a failure if it was.
    async fn create_user(&self, user: NewUser, act: Act) -> Result<Created, StoreError>;

    /// A user by id.
    async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError>;

    /// A user by e-mail, in its comparison form.
    async fn user_by_email(&self, email_key: &str) -> Result<Option<UserRecord>, StoreError>;

    /// Changes the profile. With `expected`, only the version given.
    async fn update_profile(
        &self,
        id: UserId,
        profile: ProfileChange,
        expected: Option<i64>,
        act: Act,
    ) -> Result<Updated<UserRecord>, StoreError>;

    /// Replaces the password if it is still the one verified as `current`, revokes every session but `keep`, and
    /// forgets every device but that one's.
    async fn change_password(
        &self,
        id: UserId,
        current: Option<String>,
        new: String,
        keep: Option<SessionId>,
        act: Act,
    ) -> Result<Updated<()>, StoreError>;

    /// Enables, disables or locks an account; anything but `Active` revokes all its sessions and
    /// forgets its devices.
    async fn set_status(
        &self,
        id: UserId,
        status: UserStatus,
        expected: Option<i64>,
        act: Act,
    ) -> Result<Updated<UserRecord>, StoreError>;

    /// Removes a user, its credentials, its sessions and its memberships for good. `memberships` are all the
    /// organizations it belongs to, as they were read when its removal was judged: if one of them has changed since,
    /// or it belongs to others, [`Updated::Stale`].
    async fn delete_user(&self, id: UserId, memberships: Vec<AtRevision>, act: Act) -> Result<Updated<()>, StoreError>;

    /// A user by the application's own id for it.
    async fn user_by_external_id(&self, external_id: &str) -> Result<Option<UserRecord>, StoreError>;
}

/// Sessions and their refresh tokens.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Opens a session for a verified sign-in: keeps the user's limit, notes the sign-in and its network, clears the
    /// counters of failed attempts, stores the first refresh token.
    async fn open_session(&self, session: NewSession, act: Act) -> Result<Opened, StoreError>;

    /// A session and its user, dead or alive.
    async fn session(&self, id: SessionId) -> Result<Option<(SessionRecord, UserRecord)>, StoreError>;

    /// The live sessions of a user, newest first.
    async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError>;

    /// Ends one live session of `user`. `false` if it has no such session.
    async fn revoke_session(&self, user: UserId, session: SessionId, act: Act) -> Result<bool, StoreError>;

    /// Ends every live session of `user` but `keep`; how many.
    async fn revoke_sessions(&self, user: UserId, keep: Option<SessionId>, act: Act) -> Result<u64, StoreError>;

    /// Notes that a live session of `user` is used in another context than it was opened in, and raises its risk: one
    /// kind of change to medium at least, both to high; the session from then on. `None`, and nothing written, where
    /// that was noted before or there is no such session.
    async fn note_context(
        &self,
        user: UserId,
        session: SessionId,
        change: ContextChange,
        act: Act,
    ) -> Result<Option<SessionRecord>, StoreError>;

    /// Notes that sessions were used: when last, and how far their idle deadline reaches now. Never shortens it.
    async fn touch_sessions(&self, touches: Vec<Touch>) -> Result<(), StoreError>;
}

/// Refresh tokens.
#[async_trait]
pub trait RefreshStore: Send + Sync {
    /// The session of a refresh token, used or not, and its user.
    async fn session_by_refresh(&self, token: SecretHash) -> Result<Option<(SessionRecord, UserRecord)>, StoreError>;

    /// Uses up a refresh token and stores its successor, exactly once, whoever else tries at the same time. Where the
    /// session is bound to a key, a proof of that key comes with it, and is used up as well.
    async fn rotate_refresh(&self, rotation: Rotation, act: Act) -> Result<Rotated, StoreError>;
}

/// Proofs of possession.
#[async_trait]
pub trait ProofStore: Send + Sync {
    /// Uses a proof up, exactly once, whoever else tries at the same time. `false` if it was used before.
    async fn use_proof(&self, proof: Proof) -> Result<bool, StoreError>;
}

/// Generations of sessions: any number of them ended by one write.
#[async_trait]
pub trait GenerationStore: Send + Sync {
    /// The least generations that live.
    async fn session_floors(&self) -> Result<Floors, StoreError>;

    /// Ends every session that is in `organization` now, or every one there is; the least generation that lives from
    /// then on. What is opened or comes into the organization after the answer is not touched, whatever the clocks
    /// say. `None` if there is no such organization.
    async fn revoke_generation(&self, organization: Option<OrgId>, act: Act) -> Result<Option<i64>, StoreError>;
}

/// Access tokens that were revoked one by one, kept until they would have expired.
#[async_trait]
pub trait RevocationStore: Send + Sync {
    /// Revokes a token that expires at `expires_at`. `false`, and nothing written, if it is revoked already.
    async fn revoke_token(&self, token: TokenId, expires_at: Timestamp, act: Act) -> Result<bool, StoreError>;

    /// The revoked tokens that expire after `after`, each with when, at most `limit` of them.
    async fn revoked_tokens(&self, after: Timestamp, limit: u32) -> Result<Vec<(TokenId, Timestamp)>, StoreError>;

    /// Whether a token is revoked.
    async fn is_token_revoked(&self, token: TokenId) -> Result<bool, StoreError>;
}

/// Statistics of sessions. Samples are taken once a minute, by whichever node claims the minute first.
#[async_trait]
pub trait SessionStatisticsStore: Send + Sync {
    /// How many sessions are live, by device and organization.
    async fn live_sessions(&self, now: Timestamp) -> Result<Vec<LiveSessions>, StoreError>;

    /// The median time from the opening of a session to its end, or to its last use where it ran out, over those that
    /// ended from `since` to `until` and are still stored. Those ended with their generation are left out.
    async fn median_session(&self, since: Timestamp, until: Timestamp) -> Result<Option<Duration>, StoreError>;

    /// Claims the sample of a minute since the epoch. `false` if it is claimed already.
    async fn claim_session_sample(&self, minute: i64) -> Result<bool, StoreError>;

    /// Notes the number of live sessions in a minute that was claimed.
    async fn note_session_sample(&self, minute: i64, active: i64) -> Result<(), StoreError>;

    /// The latest sample.
    async fn last_session_sample(&self) -> Result<Option<i64>, StoreError>;

    /// The highest samples since a minute, one for each span of `width` minutes in which there are any, oldest first.
    async fn session_peaks(&self, since_minute: i64, width: u32) -> Result<Vec<SessionPeak>, StoreError>;
}

/// Organizations and their stores. Like every verb below that touches what belongs to an organization, these take the
/// organization and carry it in their statements; on PostgreSQL row-level security stands behind that.
#[async_trait]
pub trait OrganizationStore: Send + Sync {
    /// Founds an organization with its built-in roles and its first owner, unless the slug is taken.
    async fn create_organization(
        &self,
        new: NewOrganization,
        act: Act,
    ) -> Result<Named<OrganizationRecord>, StoreError>;

    /// An organization by slug or id.
    async fn organization(&self, name: &OrganizationName) -> Result<Option<OrganizationRecord>, StoreError>;

    /// The organizations that a user belongs to, by slug.
    async fn organizations_of(&self, user: UserId) -> Result<Vec<OrganizationRecord>, StoreError>;

    /// Changes an organization.
    async fn update_organization(
        &self,
        organization: OrgId,
        change: OrganizationChange,
        act: Act,
    ) -> Result<Option<OrganizationRecord>, StoreError>;

    /// Removes an organization with everything in it; the sessions in it go on in none.
    async fn delete_organization(&self, at: AtRevision, act: Act) -> Result<Revised<()>, StoreError>;

    /// Opens a store, unless the slug is taken in the organization.
    async fn create_store(
        &self,
        organization: OrgId,
        new: NewStore,
        act: Act,
    ) -> Result<Named<StoreRecord>, StoreError>;

    /// Takes a live session of a member into the organization, or into a store of it. `None` if there is no such
    /// session, member or store.
    async fn enter(
        &self,
        user: UserId,
        session: SessionId,
        tenant: Tenant,
        act: Act,
    ) -> Result<Option<SessionRecord>, StoreError>;
}

/// Members and the roles assigned to them.
#[async_trait]
pub trait MemberStore: Send + Sync {
    /// A member.
    async fn member(&self, organization: OrgId, member: MemberId) -> Result<Option<MemberRecord>, StoreError>;

    /// A page of members.
    async fn members(&self, organization: OrgId, page: MemberPage) -> Result<Vec<MemberRecord>, StoreError>;

    /// A member's roles, in one statement; `None` if it is no member.
    async fn access(&self, organization: OrgId, member: MemberId) -> Result<Option<AccessRecord>, StoreError>;

    /// Every member that holds `role`, or one that inherits it over any number of steps, with all its roles.
    async fn holders(&self, organization: OrgId, role: RoleId) -> Result<Vec<Holder>, StoreError>;

    /// Adds a member.
    async fn add_member(&self, at: AtRevision, new: NewMember, act: Act) -> Result<Revised<Joined>, StoreError>;

    /// Replaces a member's roles.
    async fn assign_roles(
        &self,
        at: AtRevision,
        member: MemberId,
        roles: Vec<Assignment>,
        act: Act,
    ) -> Result<Revised<MemberRecord>, StoreError>;

    /// Removes a member; the user's sessions in the organization go on in none.
    async fn remove_member(&self, at: AtRevision, member: MemberId, act: Act) -> Result<Revised<()>, StoreError>;
}

/// Roles and resource types.
#[async_trait]
pub trait RoleStore: Send + Sync {
    /// Everything that decisions in an organization are compiled from.
    async fn role_book(&self, organization: OrgId) -> Result<Option<RoleBook>, StoreError>;

    /// Writes a role: adds it, or replaces the one with its id.
    async fn put_role(&self, at: AtRevision, role: NewRole, act: Act) -> Result<Revised<RoleRecord>, StoreError>;

    /// Deletes a role that nobody holds or inherits.
    async fn delete_role(&self, at: AtRevision, role: RoleId, act: Act) -> Result<Revised<RoleDeletion>, StoreError>;

    /// Declares a resource type, or replaces its declaration.
    async fn put_resource_type(
        &self,
        at: AtRevision,
        resource_type: ResourceTypeRecord,
        act: Act,
    ) -> Result<Revised<()>, StoreError>;
}

/// API keys. Each write of one raises its organization's revision, as those of roles and members do.
#[async_trait]
pub trait ApiKeyStore: Send + Sync {
    /// Adds a key with its first secret, unless the organization has too many.
    async fn create_api_key(
        &self,
        at: AtRevision,
        new: NewApiKey,
        act: Act,
    ) -> Result<Revised<KeyCreation>, StoreError>;

    /// A key, and what kind of member bounds it.
    async fn api_key(&self, organization: OrgId, key: KeyId) -> Result<Option<(ApiKeyRecord, MemberKind)>, StoreError>;

    /// A page of keys.
    async fn api_keys(
        &self,
        organization: OrgId,
        page: ApiKeyPage,
    ) -> Result<Vec<(ApiKeyRecord, MemberKind)>, StoreError>;

    /// Everything that a request which presents this key is judged by, whatever organization it is of; without the
    /// secrets that have ended at `now`.
    async fn presented_key(&self, key: KeyId, now: Timestamp) -> Result<Option<PresentedKey>, StoreError>;

    /// Gives a key another secret, and another member to bound it.
    async fn rotate_api_key(
        &self,
        at: AtRevision,
        rotation: KeyRotation,
        act: Act,
    ) -> Result<Revised<ApiKeyRecord>, StoreError>;

    /// Deletes a key with every secret that it has.
    async fn delete_api_key(&self, at: AtRevision, key: KeyId, act: Act) -> Result<Revised<()>, StoreError>;

    /// Notes that keys were used: when last, and from where. What is older than what is known, or of a key that has
    /// gone or is being written, is left out.
    async fn note_key_uses(&self, uses: Vec<KeyUse>) -> Result<(), StoreError>;
}

/// Statistics of decisions, and the denials among them that are kept in the audit trail.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// Adds what was counted, and the audit entries of denials that were sampled. What belongs to an organization or
    /// a member that has gone is left out.
    async fn add_usage(&self, usage: Usage, denials: Vec<Act>) -> Result<(), StoreError>;

    /// The counts of an organization since a day, summed over the days: each with the first of them.
    async fn decision_counts(&self, organization: OrgId, since_day: i64) -> Result<Vec<DecisionCount>, StoreError>;

    /// The roles that some member holds, each once: as they were assigned, without what they inherit.
    async fn held_roles(&self, organization: OrgId) -> Result<Vec<RoleId>, StoreError>;

    /// Members that hold a role and have used no right since `before`, the longest idle first; those who joined after
    /// it are left out.
    async fn idle_members(
        &self,
        organization: OrgId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<IdleMember>, StoreError>;
}

/// Quotas of API keys. A node draws a block of requests, and serves them without asking again: what it has drawn and not
/// served when it dies is lost, so that a window is never overdrawn.
#[async_trait]
pub trait QuotaStore: Send + Sync {
    /// Draws a block in the window of the organization's time zone around `now`, or what is left in it. A window that
    /// has begun goes on to its end, whatever becomes of the time zone. `None` if there is no such key.
    async fn draw_quota(&self, draw: QuotaDraw) -> Result<Option<QuotaBlock>, StoreError>;

    /// Takes back what was drawn and not served, of windows that go on. Not to be tried again after an outage: it may
    /// have been done, and what is given back twice is served twice.
    async fn return_quota(&self, returns: Vec<QuotaReturn>) -> Result<(), StoreError>;
}

/// What API keys are used for, in hours and days of their organization's time zone.
#[async_trait]
pub trait KeyUsageStore: Send + Sync {
    /// Adds a batch, unless it was added before. What is of a key that has gone is left out.
    async fn add_key_usage(&self, batch: KeyUsageBatch) -> Result<(), StoreError>;

    /// The hours and days of a key that began in `span`, oldest first.
    async fn key_usage(&self, organization: OrgId, key: KeyId, span: Span) -> Result<Vec<KeyUsageRow>, StoreError>;

    /// Makes what is old smaller, of some keys after `after`; where to go on, `None` at the end.
    async fn tend_key_usage(&self, after: Option<KeyId>, before: KeyUsageBefore) -> Result<Option<KeyId>, StoreError>;
}

/// Counters of failed sign-ins.
#[async_trait]
pub trait ThrottleStore: Send + Sync {
    /// Everything a sign-in is judged by: the user of the e-mail, whether it signed in from this network lately, and
    /// the counters that exist among `buckets`.
    async fn sign_in_facts(&self, query: SignInQuery) -> Result<SignInFacts, StoreError>;

    /// The counters that exist among `buckets`.
    async fn attempts(&self, buckets: &[Bucket]) -> Result<Vec<Attempts>, StoreError>;

    /// Counts a failed attempt on each of `buckets`, and records the act.
    async fn count_failure(&self, buckets: Vec<BucketRule>, act: Act) -> Result<(), StoreError>;
}

/// What the security monitor writes and asks.
#[async_trait]
pub trait SecurityStore: Send + Sync {
    /// Writes events, each once, however often it is asked to.
    async fn add_security_events(&self, events: Vec<SecurityEvent>) -> Result<(), StoreError>;

    /// Events, newest first.
    async fn security_events(&self, query: EventQuery) -> Result<Vec<StoredEvent>, StoreError>;

    /// The events after a number, in the order of their numbers, at most `limit`.
    async fn security_events_after(&self, seq: i64, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// The number of an event that is stored.
    async fn security_event_number(&self, event: EventId) -> Result<Option<i64>, StoreError>;

    /// The greatest number of an event; zero where there is none.
    async fn last_security_event(&self) -> Result<i64, StoreError>;

    /// Notes that an API key is used from a network. Of those who note the same at once, one finds it new.
    async fn note_key_network(&self, key: KeyId, network: String, at: Timestamp) -> Result<KeyNetwork, StoreError>;

    /// Raises the risk of a live session of `user` to high. `false`, and nothing written, where it is so already or
    /// there is no such session.
    async fn raise_risk(&self, user: UserId, session: SessionId, act: Act) -> Result<bool, StoreError>;
}

/// What all nodes of one deployment share: signing keys, named values, leases.
#[async_trait]
pub trait DeploymentStore: Send + Sync {
    /// Keeps `value` under `name` unless there is one; the value that is there now.
    async fn keep_value(&self, name: &'static str, value: String) -> Result<String, StoreError>;

    /// All signing keys, oldest first.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError>;

    /// Changes the signing keys if they still are as they were seen.
    async fn change_signing_keys(&self, change: KeyChange, act: Act) -> Result<KeysChanged, StoreError>;

    /// Takes, or keeps, what one node at a time does for all: until a moment, or until it takes it again. `false` while
    /// another one has it. A holder that dies loses it by the clock.
    async fn take_lease(
        &self,
        name: &'static str,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Whether there is a platform administrator.
    async fn has_admin(&self) -> Result<bool, StoreError>;

    /// Adds the platform administrator unless there is one or its e-mail is taken.
    async fn found_admin(&self, user: NewUser, act: Act) -> Result<Created, StoreError>;
}

/// Care of the database itself.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// The database's present time; on SQLite the system's.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Answers if the database does.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Removes what has been of no use since before the moments given, at most a bounded number of rows of each kind;
    /// how many went.
    async fn purge(&self, before: PurgeBefore) -> Result<u64, StoreError>;

    /// The newest audit entries, newest first.
    async fn recent_audit(&self, limit: u32) -> Result<Vec<AuditRecord>, StoreError>;

    /// Stops taking writes, finishes those taken, closes the connections.
    async fn close(&self);
}

/// The table of changes, for the nodes that follow it.
#[async_trait]
pub trait ChangeStore: Send + Sync {
    /// Everything that has been committed since `position`, once each, whatever the order of the commits was; without
    /// a position nothing, and where to begin.
    async fn follow(&self, position: Option<&Position>) -> Result<Followed, StoreError>;

    /// The changes written at `since` or later, and any that were written before it and committed only now; `None` if
    /// they are too many to be told.
    async fn recent_changes(&self, since: Timestamp) -> Result<Option<Vec<Change>>, StoreError>;

    /// Tells the nodes that listen to the database that there is something to read. Where it cannot be told, they find
    /// it a little later.
    async fn announce(&self) -> Result<(), StoreError>;

    /// What other nodes announce, until the stream ends with its connection; `None` where the database tells nobody.
    async fn announcements(&self) -> Result<Option<Announcements>, StoreError>;

    /// The changes after a number of their own, oldest first, at most `limit`: for looking at the table. Who follows
    /// it must not go by numbers, since a smaller one may be committed later.
    async fn changes_after(&self, seq: i64, limit: u32) -> Result<Vec<ChangeRecord>, StoreError>;
}

/// The stores as one set over one database: what spans tables is one transaction.
pub trait Store:
    UserStore
    + SessionStore
    + RefreshStore
    + ProofStore
    + GenerationStore
    + RevocationStore
    + SessionStatisticsStore
    + OrganizationStore
    + MemberStore
    + RoleStore
    + ApiKeyStore
    + UsageStore
    + QuotaStore
    + KeyUsageStore
    + ThrottleStore
    + DeviceStore
    + MailStore
    + LinkStore
    + MfaStore
    + ChallengeStore
    + SecurityStore
    + DeploymentStore
    + ChangeStore
    + Upkeep
    + std::fmt::Debug
{
}

impl<T> Store for T where
    T: UserStore
        + SessionStore
        + RefreshStore
        + ProofStore
        + GenerationStore
        + RevocationStore
        + SessionStatisticsStore
        + OrganizationStore
        + MemberStore
        + RoleStore
        + ApiKeyStore
        + UsageStore
        + QuotaStore
        + KeyUsageStore
        + ThrottleStore
        + DeviceStore
        + MailStore
        + LinkStore
        + MfaStore
        + ChallengeStore
        + SecurityStore
        + DeploymentStore
        + ChangeStore
        + Upkeep
        + std::fmt::Debug
{
}

/// The stores of a deployment, shared.
pub type SharedStore = Arc<dyn Store>;

/// How long counters and dead sessions stay before [`Upkeep::purge`] takes them.
pub const KEEP_DEAD_SESSIONS: Duration = Duration::from_secs(7 * 24 * 3600);

/// Whether SQLite would keep this database in memory, or in a temporary file, which ends as it does.
pub(crate) fn is_in_memory(url: &str) -> bool {
    let rest = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let (file, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    file.is_empty() || file.contains(":memory:") || parameters.split('&').any(|p| p == "mode=memory")
}
