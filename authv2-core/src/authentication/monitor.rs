//! The security monitor: what the flows tell it, what it makes of that, and what it does.
//!
//! Nothing here makes a request wait, or fail, for the sake of an event. What does refuse a sign-in is the rule of
//! strangers, while an attack is on.

use std::{
    hash::{BuildHasher as _, Hash, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::hmac;
use ipnet::IpNet;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    measures::{self, Measure},
    throttle::{Failures, REASKED_LIMIT, REASKED_WINDOW, Throttle},
};
use crate::{
    audit::Actor,
    client::Network,
    clock::{Clock, Timestamp},
    config::{Reaction, SecurityConfig, ThrottleConfig},
    error::{Code, Error, RatePolicy, Result},
    id::{EventId, KeyId, OrgId, SessionId, UserId},
    permission::Probe,
    secret::{NoRandomness, Secret, random_bytes},
    security::{
        BreachedPasswords, Cause, Delivery, EventKind, Finding, Rules, SecurityEvent, SecurityEventSink, Severity,
        SignIns, Signs, Strangers, Table, Try, sha1_of,
    },
    session::context::network_of,
    store::{ContextChange, EventQuery, KeyNetwork, SharedStore, StoreError},
    telemetry,
};

/// How many subjects are remembered for not telling of the same thing again and again.
const TOLD: usize = 8 * 1024;
/// How many pairs of key and network are known at hand, and how many are looked up at a time.
const KEY_NETWORKS: usize = 64 * 1024;
const LOOKUPS: usize = 8;
/// How long a pair is known at hand: its use is noted in the store that often, and it is forgotten there without.
const KEY_NETWORK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How many sprayed passwords of other nodes are looked at, of which some come from one place.
const SPRAYINGS: u32 = 20;
/// How far ahead the clock of another node may be.
const SKEW: Duration = Duration::from_secs(60);
/// How long a sign-in waits to learn whether its password was breached.
const BREACH_PATIENCE: Duration = Duration::from_millis(500);
/// How many streams of events this node serves at a time.
const STREAMS: usize = 32;

/// Watches over sign-ins, sessions and keys.
pub(crate) struct Monitor {
    config: SecurityConfig,
    throttle: ThrottleConfig,
    sign_ins: SignIns,
    strangers: Strangers,
    hasher: RandomState,
    /// Names passwords in memory, and dies with the process.
    password_key: hmac::Key,
    told: Arc<Told>,
    /// By pair, when it was looked up.
    key_networks: Arc<quick_cache::sync::Cache<(KeyId, IpNet), Timestamp>>,
    lookups: Arc<Semaphore>,
    breached: Option<Arc<dyn BreachedPasswords>>,
    delivery: Arc<Delivery>,
    measures: mpsc::Sender<Measure>,
    streams: Arc<Semaphore>,
    store: SharedStore,
    clock: Arc<dyn Clock>,
}

/// What was told of lately.
struct Told {
    hasher: RandomState,
    table: Mutex<Table<Option<Timestamp>>>,
}

impl Told {
    /// Whether a subject was not told of within `every`; from now on it was.
    fn is_news(&self, subject: impl Hash, every: Duration, now: Timestamp) -> bool {
        let key = self.hasher.hash_one(subject);
        self.table.lock().unwrap_or_else(PoisonError::into_inner).update(key, now, |told| {
            let is_news = told.is_none_or(|told| now.since(told) >= every);
            if is_news {
                *told = Some(now);
            }
            is_news
        })
    }
}

/// Whom and where an event concerns.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct About {
    pub(crate) user: Option<UserId>,
    pub(crate) organization: Option<OrgId>,
    pub(crate) ip: Option<IpAddr>,
}

/// A sign-in, as the monitor sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watched {
    attempt: Try,
    /// The account at this network, by keyed hash.
    stranger: u64,
    /// The widest network around it, which counts as one.
    around: Option<Network>,
    ip: Option<IpAddr>,
    /// Whether the account is known at the network.
    pub(super) is_known: bool,
    has_turn: bool,
}

impl Monitor {
    pub(super) fn start(
        (config, throttle): (SecurityConfig, ThrottleConfig),
        store: &SharedStore,
        clock: &Arc<dyn Clock>,
        sinks: Vec<Arc<dyn SecurityEventSink>>,
        breached: Option<Arc<dyn BreachedPasswords>>,
    ) -> std::result::Result<Self, NoRandomness> {
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let rules = Rules {
            window: config.window,
            accounts: count(config.stuffing_accounts),
            of_network: count(config.network_accounts),
            of_password: count(config.spraying_accounts),
            pressure: config.pressure,
            slows: config.on_credential_stuffing == Reaction::Block,
        };
        let key: zeroize::Zeroizing<[u8; 32]> = zeroize::Zeroizing::new(random_bytes()?);
        Ok(Self {
            sign_ins: SignIns::new(rules),
            strangers: Strangers::new(),
            hasher: RandomState::new(),
            password_key: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()),
            told: Arc::new(Told { hasher: RandomState::new(), table: Mutex::new(Table::new(TOLD)) }),
            key_networks: Arc::new(quick_cache::sync::Cache::new(KEY_NETWORKS)),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            breached,
            delivery: Arc::new(Delivery::start(Arc::clone(store), Arc::clone(clock), sinks)),
            measures: measures::start(Arc::clone(store), Arc::clone(clock)),
            streams: Arc::new(Semaphore::new(STREAMS)),
            store: Arc::clone(store),
            clock: Arc::clone(clock),
            config,
            throttle,
        })
    }

    /// Tells of an event.
    pub(crate) fn tell(&self, kind: EventKind, severity: Severity, about: About, detail: Value) {
        let detail = match detail {
            Value::Object(detail) => detail,
            _ => serde_json::Map::new(),
        };
        let About { user: user_id, organization, ip } = about;
        let at = self.clock.now();
        self.delivery.tell(SecurityEvent { id: EventId::new(), at, kind, severity, user_id, organization, ip, detail });
    }

    /// Likewise, once in a while for the same subject; whether it was told.
    fn tell_once(
        &self,
        kind: EventKind,
        severity: Severity,
        about: About,
        (subject, every): (impl Hash, Duration),
        detail: Value,
    ) -> bool {
        let is_news = self.told.is_news((kind, severity, subject), every, self.clock.now());
        if is_news {
            self.tell(kind, severity, about, detail);
        }
        is_news
    }

    /// Is told whenever events of this node have been written.
    pub(crate) fn written(&self) -> watch::Receiver<()> {
        self.delivery.written()
    }

    /// The places of streams.
    pub(crate) fn streams(&self) -> Arc<Semaphore> {
        Arc::clone(&self.streams)
    }

    pub(super) async fn flush(&self) {
        self.delivery.flush().await;
    }

    /// A sign-in as it is counted. Neither its account nor its password can be read from that.
    pub(super) fn sign_in(&self, email_key: &str, password: &Secret, ip: Option<IpAddr>, is_known: bool) -> Watched {
        let network = ip.map(Network::of);
        let around = ip.map(around);
        let mut name = [0; 8];
        // Forty bits tell passwords apart well enough, and hardly what they are.
        let signed = hmac::sign(&self.password_key, password.expose().as_bytes());
        for (to, from) in name.iter_mut().zip(signed.as_ref().iter().take(5)) {
            *to = *from;
        }
        let attempt = Try {
            account: self.hasher.hash_one(email_key),
            network: self.hasher.hash_one(around),
            password: u64::from_le_bytes(name),
        };
        let stranger = self.hasher.hash_one((email_key, network));
        Watched { attempt, stranger, around, ip, is_known, has_turn: false }
    }

    /// Lets a sign-in's password be looked at, or has a stranger come back while an attack is on.
    ///
    /// # Errors
    /// [`Code::TooManyAttempts`] with the time to wait.
    pub(super) fn admit(&self, watched: &mut Watched) -> Result<()> {
        let now = self.clock.now();
        if watched.is_known || !self.sign_ins.is_slowed(now) {
            return Ok(());
        }
        let first_wait = self.config.stranger_wait;
        match self.strangers.admit(watched.stranger, watched.attempt.network, first_wait, now) {
            Ok(()) => {
                watched.has_turn = true;
                Ok(())
            }
            Err(wait) => {
                telemetry::count(telemetry::STRANGERS_SLOWED, "outcome", "refused");
                let found = self.sign_ins.turned_away(watched.attempt, now);
                self.act_on(found, watched);
                let policy = RatePolicy { name: "sign-in", quota: 1, window: wait };
                let error =
                    Error::new(Code::TooManyAttempts, "many sign-ins fail at present: come back after the wait");
                Err(error.with_retry_after(wait).with_policy(policy))
            }
        }
    }

    /// The password was not looked at after all.
    pub(super) fn came_to_nothing(&self, watched: &Watched) {
        if watched.has_turn {
            let (wait, now) = (self.config.stranger_wait, self.clock.now());
            self.strangers.was_nothing(watched.stranger, watched.attempt.network, wait, now);
        }
    }

    /// The password was wrong.
    pub(super) fn failed(&self, watched: &Watched, user: Option<UserId>, failures: Failures, throttle: &Throttle) {
        let now = self.clock.now();
        if !watched.is_known {
            let found = self.sign_ins.failed(watched.attempt, now);
            self.act_on(found, watched);
        }
        let about = About { user, ip: watched.ip, ..About::default() };
        let (account, pair) = (watched.attempt.account, (watched.attempt.account, watched.attempt.network));
        let (kind, every) = (EventKind::BruteForce, self.throttle.window);
        let window = every.as_secs();
        if failures.of_pair + 1 >= i64::from(self.throttle.pair_limit) {
            let detail = json!({"scope": "network", "failures": failures.of_pair + 1, "window_seconds": window});
            let is_news = self.tell_once(kind, Severity::Medium, about, (pair, every), detail);
            if is_news && self.config.on_brute_force == Reaction::Block {
                self.block(watched.around, watched.ip, throttle);
            }
        }
        if !watched.is_known && failures.of_account + 1 >= i64::from(self.throttle.account_limit) {
            let detail = json!({"scope": "account", "failures": failures.of_account + 1, "window_seconds": window});
            self.tell_once(kind, Severity::High, About { ip: None, ..about }, (account, every), detail);
        }
    }

    /// A code, or a password asked again, was wrong: so many of an account by now. Whoever tries has the first factor, or
    /// a session, and is no stranger: that tells of nothing but brute force.
    pub(super) fn failed_again(&self, about: About, failures: i64, throttle: &Throttle) {
        if failures < i64::from(REASKED_LIMIT) {
            return;
        }
        let detail = json!({"scope": "codes", "failures": failures, "window_seconds": REASKED_WINDOW.as_secs()});
        let (kind, every) = (EventKind::BruteForce, self.throttle.window);
        let is_news = self.tell_once(kind, Severity::High, about, (("codes", about.user), every), detail);
        if is_news && self.config.on_brute_force == Reaction::Block {
            self.block(about.ip.map(around), about.ip, throttle);
        }
    }

    fn act_on(&self, found: Vec<Finding>, watched: &Watched) {
        let from_there = About { ip: watched.ip, ..About::default() };
        let window = self.config.window.as_secs();
        for finding in found {
            match finding {
                Finding::Stuffing { accounts, networks } => {
                    telemetry::sign_in_pressure(true);
                    let detail = json!({
                        "scope": "deployment", "phase": "began",
                        "accounts": accounts, "networks": networks, "window_seconds": window,
                    });
                    self.tell(EventKind::CredentialStuffing, Severity::High, About::default(), detail);
                }
                Finding::StuffingGoesOn { refused, judged } => {
                    let detail =
                        json!({"scope": "deployment", "phase": "goes_on", "refused": refused, "judged": judged});
                    self.tell(EventKind::CredentialStuffing, Severity::High, About::default(), detail);
                }
                Finding::StuffingFrom { accounts } => {
                    let detail = json!({"scope": "network", "accounts": accounts, "window_seconds": window});
                    self.tell(EventKind::CredentialStuffing, Severity::Medium, from_there, detail);
                }
                Finding::Spraying { accounts, networks } => {
                    let is_from_several = Finding::is_from_several(networks);
                    let detail = json!({"accounts": accounts, "networks": networks, "window_seconds": window});
                    let about = if is_from_several { About::default() } else { from_there };
                    self.tell(EventKind::PasswordSpraying, Severity::High, about, detail);
                    // What comes from one place is no reason to slow everybody: the throttle stops it.
                    if is_from_several && self.config.on_password_spraying == Reaction::Block {
                        let now = self.clock.now();
                        self.sign_ins.press(Cause::Spraying, now + self.config.pressure, now);
                        telemetry::sign_in_pressure(true);
                    }
                }
            }
        }
    }

    /// Has a network wait, whatever account it tries. Accounts that are known there are left out.
    fn block(&self, around: Option<Network>, ip: Option<IpAddr>, throttle: &Throttle) {
        let rule = throttle.blocking(around, self.config.block_for);
        self.take_measure(Measure::Block { rule, ip });
    }

    fn take_measure(&self, measure: Measure) {
        if let Err(refused) = self.measures.try_send(measure) {
            tracing::warn!(%refused, "too many measures at once: one was not taken");
        }
    }

    /// Whether a right password is known from a breach. Where that cannot be told in time, it counts as not.
    pub(super) async fn is_breached(&self, password: &Secret) -> bool {
        let Some(breached) = &self.breached else { return false };
        let sha1 = zeroize::Zeroizing::new(sha1_of(password.expose()));
        match tokio::time::timeout(BREACH_PATIENCE, breached.contains(&sha1)).await {
            Ok(Ok(is_breached)) => is_breached,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a sign-in went on without knowing");
                false
            }
            Err(_) => {
                tracing::warn!("looking up breached passwords takes too long");
                false
            }
        }
    }

    /// The password was right. What is unusual about the sign-in, `signs` but for what only the monitor knows.
    pub(super) fn was_right(&self, watched: &Watched, signs: Signs, failures: Failures) -> Signs {
        let now = self.clock.now();
        if !watched.is_known {
            self.sign_ins.passed(watched.attempt, now);
            if watched.has_turn {
                self.strangers.was_right(watched.attempt.network, now);
            }
        }
        let is_attacked =
            self.sign_ins.is_pressed(now) || failures.of_account >= i64::from(self.throttle.account_limit);
        Signs { under_attack: is_attacked && !watched.is_known, is_held: self.holds(signs), ..signs }
    }

    /// Whether a session is held for what is unusual about its sign-in.
    pub(super) fn holds(&self, signs: Signs) -> bool {
        let config = &self.config;
        (signs.new_device && config.on_new_device == Reaction::StepUp)
            || (signs.new_network && config.on_new_network == Reaction::StepUp)
            || (signs.dormant && config.on_dormant_account_used == Reaction::StepUp)
    }

    /// Whether an account is dormant to whom nobody has signed in since `last`.
    pub(super) fn is_dormant(&self, last: Option<Timestamp>) -> bool {
        last.is_some_and(|last| self.clock.now().since(last) >= self.config.dormant_after)
    }

    /// Tells what was unusual about a sign-in that is complete.
    pub(super) fn signed_in(&self, about: About, signs: Signs, last: Option<Timestamp>) {
        let Signs { new_network, new_device, dormant, under_attack, breached, .. } = signs;
        let detail = || json!({"during_attack": under_attack});
        if new_device {
            let severity = if new_network { Severity::Medium } else { Severity::Low };
            self.tell(EventKind::NewDevice, severity, about, detail());
        }
        if new_network {
            let severity = if under_attack { Severity::Medium } else { Severity::Info };
            self.tell(EventKind::NewNetwork, severity, about, detail());
        }
        if dormant {
            let days = last.map(|last| self.clock.now().since(last).as_secs() / 86_400);
            self.tell(EventKind::DormantAccountUsed, Severity::Medium, about, json!({"days": days}));
        }
        if breached {
            // Whoever stuffs has just the passwords of breaches.
            let severity = if under_attack { Severity::Critical } else { Severity::High };
            self.tell(EventKind::BreachedPasswordUsed, severity, about, detail());
        }
    }

    /// A used refresh token came back; its session has been ended.
    pub(super) fn refresh_token_reused(&self, about: About, session: SessionId) {
        let detail = json!({"session_id": session});
        self.tell(EventKind::RefreshTokenReused, Severity::High, about, detail);
        if let (Reaction::Revoke, Some(user)) = (self.config.on_refresh_token_reused, about.user) {
            self.take_measure(Measure::EndSessions { user, reason: EventKind::RefreshTokenReused });
        }
    }

    /// A session is used from elsewhere than it was opened; `ended` if that has ended it.
    pub(super) fn session_moved(&self, about: About, session: SessionId, change: ContextChange, ended: bool) {
        if !change.network {
            return;
        }
        let severity = match (change.device, ended) {
            (false, false) => Severity::Low,
            (true, false) | (false, true) => Severity::Medium,
            (true, true) => Severity::High,
        };
        let detail = json!({"session_id": session, "device_changed": change.device, "session_ended": ended});
        self.tell(EventKind::SessionNetworkChanged, severity, about, detail);
    }

    /// Rights were given: to a member, or to all who hold a role. `owner` if whoever has them may do everything.
    pub(crate) fn privilege_changed(&self, about: About, (what, id): (&'static str, String), owner: bool) {
        let severity = if owner { Severity::High } else { Severity::Info };
        self.tell(EventKind::PrivilegeChanged, severity, about, json!({what: id, "owner": owner}));
    }

    /// A user or a key was denied one thing after the other. What a key does is not its maker's doing.
    pub(super) fn probed(&self, probe: Probe) {
        let Probe { organization, actor } = probe;
        let about = About { organization: Some(organization), ..About::default() };
        let (denials, window) = (self.config.probing_denials, self.config.window.as_secs());
        let (kind, severity) = (EventKind::PermissionProbing, Severity::Medium);
        let user = match actor {
            Actor::User(user) => user,
            Actor::ApiKey(key) => {
                let detail = json!({"key_id": key, "denials": denials, "window_seconds": window});
                return self.tell(kind, severity, about, detail);
            }
            Actor::Anonymous | Actor::System => return,
        };
        let detail = json!({"denials": denials, "window_seconds": window});
        self.tell(kind, severity, About { user: Some(user), ..about }, detail);
        match self.config.on_permission_probing {
            Reaction::Revoke => self.take_measure(Measure::EndSessions { user, reason: EventKind::PermissionProbing }),
            Reaction::StepUp => self.take_measure(Measure::HoldSessions { user }),
            Reaction::Notify | Reaction::Block => {}
        }
    }

    /// A key of an organization is used from an address. On a network at hand this costs a look into memory; another one
    /// is looked up beside the request.
    #[inline]
    pub(super) fn key_used(&self, key: KeyId, organization: OrgId, ip: Option<IpAddr>, now: Timestamp) {
        let Some(network) = ip.and_then(network_of) else { return };
        let seen = self.key_networks.get(&(key, network));
        if seen.is_none_or(|seen| now.since(seen) >= KEY_NETWORK_LIFE) {
            self.look_up_key_network(key, network, About { organization: Some(organization), ip, user: None });
        }
    }

    #[cold]
    fn look_up_key_network(&self, key: KeyId, network: IpNet, about: About) {
        // With too many at once the next use asks again.
        let Ok(permit) = Arc::clone(&self.lookups).try_acquire_owned() else { return };
        let (store, delivery, at) = (Arc::clone(&self.store), Arc::clone(&self.delivery), self.clock.now());
        let (told, at_hand, every) = (Arc::clone(&self.told), Arc::clone(&self.key_networks), self.config.window);
        at_hand.insert((key, network), at);
        tokio::spawn(async move {
            let noted = store.note_key_network(key, network.to_string(), at).await;
            drop(permit);
            match noted {
                // A key that is used from all over the world is news once in a while.
                Ok(KeyNetwork::New) if told.is_news((EventKind::ApiKeyNewNetwork, key), every, at) => {
                    delivery.tell(SecurityEvent {
                        id: EventId::new(),
                        at,
                        kind: EventKind::ApiKeyNewNetwork,
                        severity: Severity::Low,
                        user_id: None,
                        organization: about.organization,
                        ip: about.ip,
                        detail: serde_json::Map::from_iter([("key_id".to_owned(), json!(key))]),
                    });
                }
                Ok(KeyNetwork::New | KeyNetwork::Known | KeyNetwork::First) => {}
                Err(error) => {
                    // The next use asks again.
                    at_hand.remove(&(key, network));
                    tracing::warn!(%error, "the network of a key was not noted");
                }
            }
        });
    }

    /// What is due every few seconds: learns of attacks that other nodes found, and tells of one that is over.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn tick(&self) -> std::result::Result<(), StoreError> {
        let now = self.clock.now();
        if let Some(ended) = self.sign_ins.take_ended(now) {
            let detail = json!({
                "scope": "deployment", "phase": "ended",
                "seconds": ended.lasted.as_secs(), "refused": ended.refused, "judged": ended.judged,
            });
            self.tell(EventKind::CredentialStuffing, Severity::Info, About::default(), detail);
        }
        let found = |kind, limit| EventQuery {
            kind: Some(kind),
            severity: Some(Severity::High),
            from: Some(now - self.config.pressure),
            // What a clock that was ahead has told of does not hide what is true now.
            to: Some(now + SKEW),
            limit,
            ..EventQuery::default()
        };
        for stored in self.store.security_events(found(EventKind::CredentialStuffing, 1)).await? {
            self.sign_ins.press(Cause::Stuffing, stored.event.at + self.config.pressure, now);
        }
        if self.config.on_password_spraying == Reaction::Block {
            let sprayed = self.store.security_events(found(EventKind::PasswordSpraying, SPRAYINGS)).await?;
            let networks = |event: &SecurityEvent| event.detail.get("networks").and_then(Value::as_u64).unwrap_or(0);
            let is_from_several =
                |event: &SecurityEvent| usize::try_from(networks(event)).is_ok_and(Finding::is_from_several);
            if let Some(stored) = sprayed.iter().find(|stored| is_from_several(&stored.event)) {
                self.sign_ins.press(Cause::Spraying, stored.event.at + self.config.pressure, now);
            }
        }
        telemetry::sign_in_pressure(self.sign_ins.is_pressed(now));
        Ok(())
    }
}

/// The widest network around an address, which counts as one.
fn around(ip: IpAddr) -> Network {
    let network = Network::of(ip);
    network.wider().last().unwrap_or(network)
}
