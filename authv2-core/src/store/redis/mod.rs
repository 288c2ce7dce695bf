//! The shared cache on Redis or Valkey: a copy that any node may lose at any time, never the only holder of a fact.
//!
//! Nothing here is an error to a caller. Each question waits at most the configured time-out, a breaker stops asking
//! a server that does not answer, and whatever comes back is believed only if this deployment sealed it for the very
//! name that it was found under.

mod address;
mod breakers;
mod codec;
mod connect;
mod entry;
mod limit;
mod link;
mod records;
mod script;
mod seal;
mod wake;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, cmd};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout},
};

pub(crate) use self::address::{Address, Fault};
use self::{
    breakers::Breakers,
    codec::Wire,
    connect::{Connection, Connector},
    entry::{Entry, Header, Kind},
    link::Link,
    script::{Key, Script},
    seal::Seal,
};
use crate::{
    clock::Timestamp,
    config::RedisConfig,
    id::{MemberId, OrgId, SessionId},
    master_key::MasterKey,
    store::{
        AccessRecord, SessionRecord, UserRecord,
        breaker::{BreakerHealth, jittered},
        shared::{BURIED_FOR, MAX_AGE, MAX_AHEAD, RedisError, Shared},
    },
    telemetry,
};

/// How often at most a refused command is complained of, in seconds.
const COMPLAINT_EVERY: u64 = 60;

/// A session and its user, as they are cached.
type SessionEntry = (SessionRecord, UserRecord);

/// The shared cache, connected or about to be.
pub(crate) struct Redis {
    prefix: String,
    timeout: Duration,
    connector: Arc<Connector>,
    link: Link,
    breakers: Breakers,
    seal: Seal,
    put: Script,
    limits: limit::Scripts,
    is_cluster: bool,
    subscriptions: Mutex<Vec<AbortHandle>>,
    began: Instant,
    /// Seconds from `began` to the last complaint, plus one; 0 for none.
    complained: AtomicU64,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The breaker did not let the question through.
    Refused,
    /// The server did not answer in time, could not, or would not.
    Failed,
}

impl Failure {
    const fn as_outcome(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Redis {
    /// Begins to connect, and does not wait for it.
    pub(crate) fn begin(address: Address, config: &RedisConfig, master_key: &MasterKey) -> Result<Self, RedisError> {
        let is_cluster = address.is_cluster();
        let connector = Arc::new(Connector::new(address, config.ca_file.as_deref(), config.timeout)?);
        let link = Link::new(connector.clone());
        link.begin();
        Ok(Self {
            prefix: config.key_prefix.clone(),
            timeout: config.timeout,
            connector,
            link,
            breakers: Breakers::new(is_cluster),
            seal: Seal::new(&master_key.derive("shared cache")),
            put: Script::new(entry::PUT),
            limits: limit::Scripts::new(),
            is_cluster,
            subscriptions: Mutex::default(),
            began: Instant::now(),
            complained: AtomicU64::new(0),
        })
    }

    pub(crate) async fn session(&self, id: SessionId, now: Timestamp) -> Option<Shared<SessionEntry>> {
        self.get("session", &self.session_key(id), now).await
    }

    pub(crate) async fn put_session(&self, id: SessionId, entry: &Shared<SessionEntry>, now: Timestamp) {
        let (_, user) = &entry.value;
        self.put("put_session", &self.session_key(id), user.version, entry, now).await;
    }

    pub(crate) async fn bury_session(&self, id: SessionId, at: Timestamp) {
        let tombstone = Header { kind: Kind::Tombstone, version: i64::MAX, read_at: at }.with(&[]);
        let key = self.session_key(id);
        let mut set = cmd("SET");
        set.arg(key.name()).arg(tombstone).arg("PX").arg(millis(BURIED_FOR));
        let buried: Result<(), _> = self.ask(Some(&key), set).await;
        telemetry::count_shared("bury_session", buried.map_or_else(Failure::as_outcome, |()| "stored"));
    }

    pub(crate) async fn member(
        &self,
        organization: OrgId,
        member: MemberId,
        now: Timestamp,
    ) -> Option<Shared<AccessRecord>> {
        self.get("member", &self.member_key(organization, member), now).await
    }

    pub(crate) async fn put_member(
        &self,
        organization: OrgId,
        member: MemberId,
        entry: &Shared<AccessRecord>,
        now: Timestamp,
    ) {
        self.put("put_member", &self.member_key(organization, member), entry.value.revision, entry, now).await;
    }

    pub(crate) async fn forget_member(&self, organization: OrgId, member: MemberId, revision: i64) {
        // The earliest time of its revision: an entry that was read at this revision knows what changed, and wins.
        let mark = Header { kind: Kind::Mark, version: revision, read_at: Timestamp::from_micros(0) };
        let key = self.member_key(organization, member);
        let outcome = self.write(&key, mark, &mark.with(&[]), BURIED_FOR).await;
        telemetry::count_shared("forget_member", outcome);
    }

    pub(crate) async fn wake_others(&self) -> bool {
        let mut publish = cmd("PUBLISH");
        publish.arg(self.channel()).arg("");
        let told: Result<i64, _> = self.ask(None, publish).await;
        telemetry::count_shared("wake", told.map_or_else(Failure::as_outcome, |_| "stored"));
        told.is_ok()
    }

    pub(crate) fn on_wake(&self, wake: impl Fn() + Send + Sync + 'static) {
        let following = tokio::spawn(wake::follow(self.connector.clone(), self.channel(), wake));
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).push(following.abort_handle());
    }

    pub(crate) fn health(&self) -> BreakerHealth {
        self.breakers.health()
    }

    pub(crate) async fn ping(&self) -> bool {
        self.ask::<redis::Value>(None, cmd("PING")).await.is_ok()
    }

    async fn get<T: Wire>(&self, operation: &'static str, key: &Key, now: Timestamp) -> Option<Shared<T>> {
        let mut get = cmd("GET");
        get.arg(key.name());
        let found: Result<Option<Vec<u8>>, _> = self.ask(Some(key), get).await;
        let (outcome, entry) = match found {
            Ok(Some(bytes)) => self.open(key, &bytes, now),
            Ok(None) => ("miss", None),
            Err(failure) => (failure.as_outcome(), None),
        };
        telemetry::count_shared(operation, outcome);
        entry
    }

    /// What is believed of what was found.
    fn open<T: Wire>(&self, key: &Key, bytes: &[u8], now: Timestamp) -> (&'static str, Option<Shared<T>>) {
        let Some(entry) = Entry::split(bytes) else { return ("unreadable", None) };
        let header = entry.header;
        if header.kind != Kind::Value {
            return ("miss", None);
        }
        // Before the seal is looked at: either way it is no answer.
        if now.since(header.read_at) > MAX_AGE || header.read_at.since(now) > MAX_AHEAD {
            return ("miss", None);
        }
        let opened = self.seal.open(key, &header, entry.payload);
        match opened.and_then(|plain| codec::read_all(&plain)) {
            Some(value) => ("hit", Some(Shared { value, read_at: header.read_at })),
            None => ("unreadable", None),
        }
    }

    async fn put<T: Wire>(&self, operation: &'static str, key: &Key, version: i64, entry: &Shared<T>, now: Timestamp) {
        let left = MAX_AGE.saturating_sub(now.since(entry.read_at));
        if left.is_zero() || entry.read_at.since(now) > MAX_AHEAD {
            return telemetry::count_shared(operation, "outdated");
        }
        let header = Header { kind: Kind::Value, version, read_at: entry.read_at };
        let Some(sealed) = self.seal.seal(key, &header, &codec::write_all(&entry.value)) else {
            return telemetry::count_shared(operation, "failed");
        };
        // Shorter by up to two fifths: what was written together must not expire together.
        let outcome = self.write(key, header, &header.with(&sealed), jittered(left).mul_f64(0.8)).await;
        telemetry::count_shared(operation, outcome);
    }

    /// Writes `bytes` unless what is there is newer than `header` or a tombstone; what came of it.
    async fn write(&self, key: &Key, header: Header, bytes: &[u8], ttl: Duration) -> &'static str {
        let call = self.put.call(std::slice::from_ref(key), |arguments| {
            arguments.arg(bytes).arg(header.version).arg(header.read_at.as_micros()).arg(millis(ttl));
        });
        let written: Result<bool, _> = self.ask_by(Some(key), async move |connection| call.run(connection).await).await;
        match written {
            Ok(true) => "stored",
            Ok(false) => "outdated",
            Err(failure) => failure.as_outcome(),
        }
    }

    async fn ask<T: FromRedisValue>(&self, key: Option<&Key>, command: Cmd) -> Result<T, Failure> {
        self.ask_by(key, async move |mut connection: Connection| connection.query(&command).await).await
    }

    /// Asks the server that has `key`, or any, within the time-out and past the breaker.
    async fn ask_by<T>(
        &self,
        key: Option<&Key>,
        question: impl AsyncFnOnce(Connection) -> redis::RedisResult<T>,
    ) -> Result<T, Failure> {
        self.ask_within(self.timeout, key, question).await
    }

    async fn ask_within<T>(
        &self,
        patience: Duration,
        key: Option<&Key>,
        question: impl AsyncFnOnce(Connection) -> redis::RedisResult<T>,
    ) -> Result<T, Failure> {
        let pass = self.breakers.admit(key).map_err(|_| Failure::Refused)?;
        let mut used = None;
        let answer = timeout(patience, async {
            let open = self.link.open().await?;
            used = Some(open.number);
            Some(question(open.connection).await)
        });
        match answer.await {
            Ok(Some(Ok(value))) => {
                pass.succeeded();
                Ok(value)
            }
            Ok(Some(Err(error))) if !is_outage(&error) => {
                // It answers: to keep others from asking would help nobody.
                pass.succeeded();
                self.complain(&error);
                Err(Failure::Failed)
            }
            Ok(Some(Err(_)) | None) | Err(_) => {
                if let Some(number) = used {
                    self.link.replace(number);
                }
                pass.failed();
                Err(Failure::Failed)
            }
        }
    }

    fn complain(&self, error: &redis::RedisError) {
        let now = self.began.elapsed().as_secs() + 1;
        let last = self.complained.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= COMPLAINT_EVERY;
        if is_due && self.complained.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(%error, "Redis refused a command: see the ACL and the memory policy in docs/operations.md");
        }
    }

    fn session_key(&self, id: SessionId) -> Key {
        Key::new(&self.prefix, "session", &id)
    }

    fn member_key(&self, organization: OrgId, member: MemberId) -> Key {
        Key::new(&self.prefix, "member", &format_args!("{organization}:{member}"))
    }

    fn channel(&self) -> String {
        format!("{}:changes", self.prefix)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        for following in self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            following.abort();
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).field("health", &self.health()).finish_non_exhaustive()
    }
}

/// Whether the server cannot answer, as opposed to refusing this one command.
fn is_outage(error: &redis::RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        ),
        ErrorKind::Extension | ErrorKind::UnexpectedReturnType => false,
        _ => true,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
