//! The shared cache against real servers: what is believed, what is lost when they fail, and that it comes back.

mod cluster;
mod entries;
mod faults;
mod nodes;
mod races;
pub(crate) mod secured;
mod sentinel;
mod wake;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use authv2_core::{
    clock::Timestamp,
    config::RedisConfig,
    id::{MemberId, OrgId, RoleId, SessionId, StoreId, UserId},
    master_key::MasterKey,
    store::{
        AccessRecord, Assignment, DeviceKind, Redacted, Risk, SessionRecord, Transport, UserRecord, UserStatus,
        shared::{Shared, SharedCache},
    },
};
use tokio::time::{Instant, sleep};

const EMAIL: &str = "ada@example.org";
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g";
/// Longer than anything here may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a busy machine adds to a time-out.
const SLACK: Duration = Duration::from_millis(400);

type Session = (SessionRecord, UserRecord);

fn at(url: &str) -> RedisConfig {
    RedisConfig { url: Some(url.into()), timeout: Duration::from_millis(250), ..RedisConfig::default() }
}

/// A node's cache, once its server answers.
async fn connect(config: &RedisConfig) -> SharedCache {
    let cache = begin(config).await;
    until("the server to answer", async || cache.ping().await).await;
    cache
}

async fn begin(config: &RedisConfig) -> SharedCache {
    SharedCache::connect(config, &MasterKey::from_bytes(&[7; 32])).await.unwrap()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "waited for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Whether a session that is put comes back.
async fn works(cache: &SharedCache) -> bool {
    let key = SessionId::new();
    cache.put_session(key, &session(1, now()), now()).await;
    cache.session(key, now()).await.is_some()
}

/// As a database would tell it.
fn now() -> Timestamp {
    let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    Timestamp::from_micros(micros.try_into().unwrap())
}

fn session(version: i64, read_at: Timestamp) -> Shared<Session> {
    let user = UserRecord {
        id: UserId::new(),
        external_id: Some("4711".into()),
        email: EMAIL.into(),
        email_verified: true,
        display_name: Some("Ada".into()),
        status: UserStatus::Active,
        password_hash: Some(Redacted(HASH.into())),
        platform_admin: false,
        mfa_enabled: true,
        metadata: "{}".into(),
        version,
        created_at: read_at,
        updated_at: read_at,
        last_login_at: None,
    };
    let session = SessionRecord {
        id: SessionId::new(),
        user_id: user.id,
        transport: Transport::Cookie,
        cookie_hash: Some(vec![9; 32]),
        created_at: read_at,
        auth_time: read_at,
        last_seen_at: read_at,
        expires_at: read_at + Duration::from_secs(3600),
        idle_expires_at: read_at + Duration::from_secs(600),
        ip: Some("192.0.2.1".into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".into()),
        amr: "pwd".into(),
        acr: "urn:authv2:acr:pwd".into(),
        organization: Some(OrgId::new()),
        store: Some(StoreId::new()),
        risk: Risk::Low,
        revoked_at: None,
        generation: 3,
        device: DeviceKind::Desktop,
        network_changed: true,
        device_changed: false,
        key_thumbprint: None,
    };
    Shared { value: (session, user), read_at }
}

fn member(revision: i64, read_at: Timestamp) -> Shared<AccessRecord> {
    let roles = vec![
        Assignment { role: RoleId::new(), store: None },
        Assignment { role: RoleId::new(), store: Some(StoreId::new()) },
    ];
    Shared { value: AccessRecord { revision, roles }, read_at }
}

/// The name of a session's key.
fn name(id: SessionId) -> String {
    format!("authv2:session:{{{id}}}")
}

fn fresh() -> SessionId {
    SessionId::new()
}

fn somebody() -> (OrgId, MemberId) {
    (OrgId::new(), MemberId::new())
}
