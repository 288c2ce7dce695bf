//! A store whose calls all pass through one place.

use std::sync::Arc;

use async_trait::async_trait;

use super::*;
use crate::{
    id::{ClaimId, DeviceId, MailId},
    mail::Purpose,
};

/// What happens around each call of a store.
pub trait Interceptor: Send + Sync + std::fmt::Debug {
    /// Makes the call, or does not; `verb` is the name of the method.
    fn around<T: Send>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

/// A store whose calls go through an [`Interceptor`].
#[derive(Debug)]
pub struct Intercepted<I> {
    store: SharedStore,
    interceptor: Arc<I>,
}

impl<I: Interceptor> Intercepted<I> {
    /// `store` behind `interceptor`.
    #[must_use]
    pub fn new(store: SharedStore, interceptor: Arc<I>) -> Self {
        Self { store, interceptor }
    }
}

/// Passes every verb on. Each trait's verbs stand here once more, without `Result` and `StoreError`.
macro_rules! pass_on {
    ($($trait:ident {
        $($verb:ident($($name:ident: $type:ty),*) -> $answer:ty;)+
        $(+ $($more:item)+)?
    })+) => {$(
        #[async_trait]
        impl<I: Interceptor> $trait for Intercepted<I> {
            $(async fn $verb(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                self.interceptor.around(stringify!($verb), self.store.$verb($($name),*)).await
            })+
            $($($more)+)?
        }
    )+};
}

pass_on! {
    UserStore {
        create_user(user: NewUser, act: Act) -> Created;
        user(id: UserId) -> Option<UserRecord>;
        user_by_email(email_key: &str) -> Option<UserRecord>;
        update_profile(id: UserId, profile: ProfileChange, expected: Option<i64>, act: Act) -> Updated<UserRecord>;
        change_password(
            id: UserId,
            current: Option<String>,
            new: String,
            keep: Option<SessionId>,
            act: Act
        ) -> Updated<()>;
        set_status(id: UserId, status: UserStatus, expected: Option<i64>, act: Act) -> Updated<UserRecord>;
        delete_user(id: UserId, memberships: Vec<AtRevision>, act: Act) -> Updated<()>;
        user_by_external_id(external_id: &str) -> Option<UserRecord>;
    }
    SessionStore {
        open_session(session: NewSession, act: Act) -> Opened;
        session(id: SessionId) -> Option<(SessionRecord, UserRecord)>;
        sessions_of(user: UserId, now: Timestamp) -> Vec<SessionRecord>;
        revoke_session(user: UserId, session: SessionId, act: Act) -> bool;
        revoke_sessions(user: UserId, keep: Option<SessionId>, act: Act) -> u64;
        note_context(user: UserId, session: SessionId, change: ContextChange, act: Act) -> Option<SessionRecord>;
        touch_sessions(touches: Vec<Touch>) -> ();
    }
    RefreshStore {
        session_by_refresh(token: SecretHash) -> Option<(SessionRecord, UserRecord)>;
        rotate_refresh(rotation: Rotation, act: Act) -> Rotated;
    }
    ProofStore {
        use_proof(proof: Proof) -> bool;
    }
    GenerationStore {
        session_floors() -> Floors;
        revoke_generation(organization: Option<OrgId>, act: Act) -> Option<i64>;
    }
    RevocationStore {
        revoke_token(token: TokenId, expires_at: Timestamp, act: Act) -> bool;
        revoked_tokens(after: Timestamp, limit: u32) -> Vec<(TokenId, Timestamp)>;
        is_token_revoked(token: TokenId) -> bool;
    }
    SessionStatisticsStore {
        live_sessions(now: Timestamp) -> Vec<LiveSessions>;
        median_session(since: Timestamp, until: Timestamp) -> Option<Duration>;
        claim_session_sample(minute: i64) -> bool;
        note_session_sample(minute: i64, active: i64) -> ();
        last_session_sample() -> Option<i64>;
        session_peaks(since_minute: i64, width: u32) -> Vec<SessionPeak>;
    }
    OrganizationStore {
        create_organization(new: NewOrganization, act: Act) -> Named<OrganizationRecord>;
        organization(name: &OrganizationName) -> Option<OrganizationRecord>;
        organizations_of(user: UserId) -> Vec<OrganizationRecord>;
        update_organization(organization: OrgId, change: OrganizationChange, act: Act) -> Option<OrganizationRecord>;
        delete_organization(at: AtRevision, act: Act) -> Revised<()>;
        create_store(organization: OrgId, new: NewStore, act: Act) -> Named<StoreRecord>;
        enter(user: UserId, session: SessionId, tenant: Tenant, act: Act) -> Option<SessionRecord>;
    }
    MemberStore {
        member(organization: OrgId, member: MemberId) -> Option<MemberRecord>;
        members(organization: OrgId, page: MemberPage) -> Vec<MemberRecord>;
        access(organization: OrgId, member: MemberId) -> Option<AccessRecord>;
        holders(organization: OrgId, role: RoleId) -> Vec<Holder>;
        add_member(at: AtRevision, new: NewMember, act: Act) -> Revised<Joined>;
        assign_roles(at: AtRevision, member: MemberId, roles: Vec<Assignment>, act: Act) -> Revised<MemberRecord>;
        remove_member(at: AtRevision, member: MemberId, act: Act) -> Revised<()>;
    }
    RoleStore {
        role_book(organization: OrgId) -> Option<RoleBook>;
        put_role(at: AtRevision, role: NewRole, act: Act) -> Revised<RoleRecord>;
        delete_role(at: AtRevision, role: RoleId, act: Act) -> Revised<RoleDeletion>;
        put_resource_type(at: AtRevision, resource_type: ResourceTypeRecord, act: Act) -> Revised<()>;
    }
    ApiKeyStore {
        create_api_key(at: AtRevision, new: NewApiKey, act: Act) -> Revised<KeyCreation>;
        api_key(organization: OrgId, key: KeyId) -> Option<(ApiKeyRecord, MemberKind)>;
        api_keys(organization: OrgId, page: ApiKeyPage) -> Vec<(ApiKeyRecord, MemberKind)>;
        presented_key(key: KeyId, now: Timestamp) -> Option<PresentedKey>;
        rotate_api_key(at: AtRevision, rotation: KeyRotation, act: Act) -> Revised<ApiKeyRecord>;
        delete_api_key(at: AtRevision, key: KeyId, act: Act) -> Revised<()>;
        note_key_uses(uses: Vec<KeyUse>) -> ();
    }
    UsageStore {
        add_usage(usage: Usage, denials: Vec<Act>) -> ();
        decision_counts(organization: OrgId, since_day: i64) -> Vec<DecisionCount>;
        held_roles(organization: OrgId) -> Vec<RoleId>;
        idle_members(organization: OrgId, before: Timestamp, limit: u32) -> Vec<IdleMember>;
    }
    QuotaStore {
        draw_quota(draw: QuotaDraw) -> Option<QuotaBlock>;
        return_quota(returns: Vec<QuotaReturn>) -> ();
    }
    KeyUsageStore {
        add_key_usage(batch: KeyUsageBatch) -> ();
        key_usage(organization: OrgId, key: KeyId, span: Span) -> Vec<KeyUsageRow>;
        tend_key_usage(after: Option<KeyId>, before: KeyUsageBefore) -> Option<KeyId>;
    }
    ThrottleStore {
        sign_in_facts(query: SignInQuery) -> SignInFacts;
        attempts(buckets: &[Bucket]) -> Vec<Attempts>;
        count_failure(buckets: Vec<BucketRule>, act: Act) -> ();
    }
    DeviceStore {
        devices_of(user: UserId) -> Vec<DeviceRecord>;
        is_device_of(user: UserId, device: DeviceId) -> bool;
        forget_device(user: UserId, device: DeviceId, act: Act) -> bool;
    }
    MailStore {
        claim_mails(claim: MailClaim, limit: u32) -> Vec<WaitingMail>;
        keep_mail(mail: MailId, claim: ClaimId, until: Timestamp) -> bool;
        put_mail_off(mail: MailId, claim: ClaimId, due_at: Timestamp) -> bool;
        remove_mail(mail: MailId, claim: ClaimId, act: Option<Act>) -> bool;
        ready_link(link: NewLink) -> bool;
    }
    LinkStore {
        linked_user(token: SecretHash, purpose: Purpose, now: Timestamp) -> Option<UserRecord>;
        verify_email(token: SecretHash, act: Act) -> Option<UserRecord>;
        reset_password(token: SecretHash, new: String, act: Act) -> Option<UserRecord>;
        void_password(user: UserId, current: String, act: Act) -> ();
    }
    MfaStore {
        totp(user: UserId) -> Option<TotpRecord>;
        enrol_totp(user: UserId, sealed: Vec<u8>, act: Act) -> bool;
        confirm_totp(confirmation: TotpConfirmation, act: Act) -> bool;
        remove_mfa(user: UserId, factor: SecondFactor, act: Act) -> bool;
        replace_recovery_codes(user: UserId, factor: SecondFactor, codes: Vec<SecretHash>, act: Act) -> bool;
        step_up(proven: SteppingUp, act: Act) -> SteppedUp;
    }
    ChallengeStore {
        open_challenge(new: NewChallenge, act: Act) -> Challenged;
        challenge(token: SecretHash, now: Timestamp) -> Option<ChallengeRecord>;
        count_try(token: SecretHash, most: i64, now: Timestamp) -> bool;
    }
    SecurityStore {
        add_security_events(events: Vec<SecurityEvent>) -> ();
        security_events(query: EventQuery) -> Vec<StoredEvent>;
        security_events_after(seq: i64, limit: u32) -> Vec<StoredEvent>;
        security_event_number(event: EventId) -> Option<i64>;
        last_security_event() -> i64;
        note_key_network(key: KeyId, network: String, at: Timestamp) -> KeyNetwork;
        raise_risk(user: UserId, session: SessionId, act: Act) -> bool;
    }
    DeploymentStore {
        keep_value(name: &'static str, value: String) -> String;
        signing_keys() -> Vec<SigningKeyRecord>;
        change_signing_keys(change: KeyChange, act: Act) -> KeysChanged;
        take_lease(name: &'static str, holder: NodeId, now: Timestamp, until: Timestamp) -> bool;
        has_admin() -> bool;
        found_admin(user: NewUser, act: Act) -> Created;
    }
    ChangeStore {
        follow(position: Option<&Position>) -> Followed;
        recent_changes(since: Timestamp) -> Option<Vec<Change>>;
        announce() -> ();
        announcements() -> Option<Announcements>;
        changes_after(seq: i64, limit: u32) -> Vec<ChangeRecord>;
    }
    Upkeep {
        now() -> Timestamp;
        ping() -> ();
        purge(before: PurgeBefore) -> u64;
        recent_audit(limit: u32) -> Vec<AuditRecord>;
        +
        async fn close(&self) {
            self.store.close().await;
        }
    }
}
