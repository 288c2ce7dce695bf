//! What the cases feed to the verbs: moments, acts, users, sessions, tokens, rotations and repeatable chance.

use std::time::Duration;

use crate::{
    audit::{Act, Actor, Origin},
    clock::Timestamp,
    id::{MemberId, OrgId, RequestUuid, RoleId, SessionId, StoreId, UserId},
    secret::SecretHash,
    store::{
        Assignment, Bucket, DeviceKind, NewMember, NewOrganization, NewRole, NewSession, NewStore, NewUser, OverLimit,
        PurgeBefore, Redacted, Risk, Rotation, SessionRecord, Spends, Transport,
    },
};

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// The idle time of the sessions opened here.
pub(super) const IDLE: Duration = Duration::from_secs(DAY);
/// The absolute life of the sessions opened here.
pub(super) const LIFE: Duration = Duration::from_secs(30 * DAY);
/// The grace window of the rotations made here.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// A purge of what is older than the test's time: of nothing.
pub(super) fn of_nothing() -> PurgeBefore {
    let (sessions, networks, devices, counters, changes, samples) = (at(0), at(0), at(0), at(0), at(0), at(0));
    let [tokens, proofs, challenges, events] = [at(0); 4];
    PurgeBefore { sessions, networks, devices, counters, changes, samples, tokens, proofs, challenges, events }
}

/// The moment `seconds` after the beginning of the test's time. No case reads a clock.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000) + Duration::from_secs(seconds)
}

/// An act by nobody in particular. Its request id is unique, so that its audit entries can be told from all others.
pub(super) fn act(action: &'static str, at: Timestamp) -> Act {
    let origin = Origin {
        ip: Some([203, 0, 113, 7].into()),
        user_agent: Some("conformance".to_owned()),
        request_id: Some(RequestUuid::new().to_string()),
        language: None,
        device: None,
    };
    Act::new(action, Actor::Anonymous, at, &origin)
}

/// The hash that [`new_user`] gives to the user called `name`.
pub(super) fn hash_of(name: &str) -> Redacted {
    Redacted(format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdA${name}"))
}

/// The e-mail of the user called `name`.
pub(super) fn email_of(name: &str) -> String {
    format!("{name}@example.test")
}

pub(super) fn new_user(name: &str) -> NewUser {
    NewUser {
        id: UserId::new(),
        email: email_of(name),
        email_key: email_of(name),
        display_name: Some(name.to_owned()),
        password_hash: Some(hash_of(name)),
        platform_admin: false,
        count_if_taken: Vec::new(),
    }
}

/// Sixteen bytes that nothing else here has.
pub(super) fn unique_bytes() -> [u8; 16] {
    *RequestUuid::new().as_uuid().as_bytes()
}

/// The hash of a token that was never used before.
pub(super) fn new_token() -> SecretHash {
    SecretHash::of(&unique_bytes())
}

/// A counter that was never used before.
pub(super) fn new_bucket() -> Bucket {
    unique_bytes()
}

/// A bearer session of `user`, to be opened at `at`, far from any limit.
pub(super) fn new_session(user: UserId, at: Timestamp) -> NewSession {
    let record = SessionRecord {
        id: SessionId::new(),
        user_id: user,
        transport: Transport::Bearer,
        cookie_hash: None,
        created_at: at,
        auth_time: at,
        last_seen_at: at,
        expires_at: at + LIFE,
        idle_expires_at: at + IDLE,
        ip: Some("203.0.113.7".to_owned()),
        user_agent: Some("conformance".to_owned()),
        amr: "pwd".to_owned(),
        acr: "urn:authv2:acr:pwd".to_owned(),
        organization: None,
        store: None,
        risk: Risk::Low,
        revoked_at: None,
        generation: 0,
        device: DeviceKind::Other,
        network_changed: false,
        device_changed: false,
        key_thumbprint: None,
    };
    NewSession {
        record,
        refresh: Some(new_token()),
        max_per_user: 1_000,
        over_limit: OverLimit::EvictOldest,
        is_held: false,
        network: None,
        device: None,
        browser: None,
        verified_hash: None,
        rehashed: None,
        clear: Vec::new(),
        proof: None,
        spends: Spends::default(),
    }
}

/// A use of `presented` with a salt and a successor of its own.
pub(super) fn rotation(presented: SecretHash) -> Rotation {
    Rotation { presented, salt: unique_bytes(), successor: new_token(), grace: GRACE, idle_ttl: IDLE, proof: None }
}

/// An organization of `owner` with two built-in roles, `owner` and `member`.
pub(super) fn new_organization(slug: &str, owner: UserId) -> NewOrganization {
    let builtin = |name| NewRole { builtin: true, ..new_role(name) };
    let roles = vec![builtin("owner"), builtin("member")];
    let owner_role = roles[0].id;
    let (name, time_zone) = (format!("{slug} Ltd"), "Europe/Vienna".to_owned());
    NewOrganization { id: OrgId::new(), slug: slug.to_owned(), name, time_zone, roles, owner, owner_role }
}

/// A role that inherits nothing.
pub(super) fn new_role(name: &str) -> NewRole {
    NewRole {
        id: RoleId::new(),
        name: name.to_owned(),
        description: None,
        grants: format!(r#"[{{"permission":"{name}:read","effect":"allow"}}]"#),
        inherits: Vec::new(),
        builtin: false,
    }
}

pub(super) fn new_store(slug: &str) -> NewStore {
    NewStore { id: StoreId::new(), slug: slug.to_owned(), name: format!("Store {slug}") }
}

/// `user` as a member with `roles`.
pub(super) fn new_member(user: UserId, roles: Vec<Assignment>) -> NewMember {
    NewMember { id: user.into(), user: Some(user), name: None, roles }
}

/// A service account without a role.
pub(super) fn new_account(name: &str) -> NewMember {
    NewMember { id: MemberId::from(UserId::new()), user: None, name: Some(name.to_owned()), roles: Vec::new() }
}

/// `role`, held at the organization.
pub(super) fn everywhere(role: RoleId) -> Assignment {
    Assignment { role, store: None }
}

/// `role`, held at one store.
pub(super) fn only_at(store: StoreId, role: RoleId) -> Assignment {
    Assignment { role, store: Some(store) }
}

/// A generator of numbers that are the same in every run (`SplitMix64`).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A place in a list of `len` members.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }
}
