//! A stuffing attack beside a thousand honest users, recorded and played back: who gets in, who is slowed, how many
//! passwords are looked at, and what the events tell of it.
//!
//! One service, in this process, on SQLite, under a clock that the recording moves. Hashes are counted by the metric
//! that the hash pool itself keeps, not by what the test believes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use authv2_core::{
    AuthenticationService, Code, Config,
    audit::Origin,
    authentication::Login,
    clock::{Clock as _, FakeClock, SystemClock, Timestamp},
    secret::Secret,
    security::{EventKind, SecurityEvent, SecurityEventSink, Severity, SinkError},
    store::{EventQuery, Risk, Transport},
    telemetry,
    user::NewAccount,
};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// The attack: so many attempts, from so many addresses, in so many seconds.
const ATTEMPTS: usize = 20_000;
const ADDRESSES: usize = 500;
const LASTS: u64 = 1_200;
/// How many of the addresses do as they are told, and come back after the wait with the same name.
const PATIENT: usize = 20;
/// How many of the names on the attackers' list are users here, and for how many of them it has the right password.
const LISTED: usize = 600;
const LEAKED: usize = 10;

const HONEST: usize = 1_000;

/// Counts what the hash pool says it has done.
#[derive(Debug, Default)]
struct Hashes(AtomicU64);

impl HistogramFn for Hashes {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Metrics(Arc<Hashes>);

impl Recorder for Metrics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == telemetry::HASH_SECONDS { Histogram::from_arc(Arc::clone(&self.0)) } else { Histogram::noop() }
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn happens(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What kind of user signs in during the attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// At home, where it has signed in before.
    AtHome,
    /// In an office of fifty behind one address, where it has signed in before.
    InOffice,
    /// One who has signed in before, elsewhere.
    Travelling,
    /// Fifty who have signed in before, behind one address where none of them has.
    InMovedOffice,
    /// For the first time.
    New,
}

struct Honest {
    email: String,
    password: String,
    kind: Kind,
    ip: IpAddr,
    /// How many attempts it will mistype yet.
    typos: usize,
    began: Option<Timestamp>,
    slowed: usize,
    got_in: Option<Timestamp>,
}

/// Somebody's next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Honest(usize),
    /// Of an address, with a name on the list.
    Attacker(usize, usize),
}

struct Play {
    auth: AuthenticationService,
    clock: Arc<FakeClock>,
    hashes: Arc<Hashes>,
    random: Random,
    honest: Vec<Honest>,
    list: Vec<(String, String)>,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Who)>>,
    turn: u64,
    attempts: usize,
    /// Of attackers, and of honest users: attempts whose password was looked at.
    judged: (u64, u64),
    taken_over: usize,
    detected_at: Option<usize>,
}

fn address(network: u8, number: usize) -> IpAddr {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    Ipv4Addr::new(network, high, low, 7).into()
}

fn moment() -> Timestamp {
    // On a full hour: the windows begin where they always do.
    Timestamp::from_seconds(SystemClock::wall().as_seconds() / 3600 * 3600)
}

impl Play {
    async fn prepare() -> Self {
        let hashes = Arc::new(Hashes::default());
        metrics::set_global_recorder(Metrics(Arc::clone(&hashes))).unwrap();
        let clock = Arc::new(FakeClock::at(moment()));
        let mut config = Config::development();
        config.store.url = Secret::from("sqlite::memory:");
        (config.password.memory_kib, config.password.iterations) = (8, 1);
        let builder = AuthenticationService::builder(config).clock(Arc::clone(&clock) as _);
        let auth = builder.build().await.unwrap();
        let mut play = Self {
            auth,
            clock,
            hashes,
            random: Random(6),
            honest: Vec::new(),
            list: Vec::new(),
            queue: BinaryHeap::new(),
            turn: 0,
            attempts: 0,
            judged: (0, 0),
            taken_over: 0,
            detected_at: None,
        };
        play.settle().await;
        play.make_list();
        play
    }

    /// A thousand users, seven hundred of whom will sign in where they are known.
    async fn settle(&mut self) {
        for number in 0..HONEST {
            let (kind, ip) = match number {
                0..500 => (Kind::AtHome, address(10, number)),
                500..700 => (Kind::InOffice, address(20, number / 50)),
                700..800 => (Kind::Travelling, address(30, number)),
                800..850 => (Kind::InMovedOffice, address(40, 1)),
                _ => (Kind::New, address(50, number)),
            };
            let (email, password) = (format!("user{number}@example.org"), format!("unlike any other {number}"));
            let new = NewAccount { email: &email, password: &Secret::from(password.as_str()), display_name: None };
            self.auth.register(new, &Origin { ip: Some(address(60, number)), ..Origin::default() }).await.unwrap();
            let home = match kind {
                Kind::AtHome | Kind::InOffice => Some(ip),
                Kind::Travelling | Kind::InMovedOffice => Some(address(70, number)),
                Kind::New => None,
            };
            if let Some(home) = home {
                self.sign_in(&email, &password, home).await.unwrap();
            }
            let typos = if self.random.happens(15) { 1 + self.random.below(2) } else { 0 };
            self.honest.push(Honest { email, password, kind, ip, typos, began: None, slowed: 0, got_in: None });
        }
        // The day after.
        self.clock.advance(Duration::from_secs(24 * 3600));
    }

    /// Names and passwords of some breach elsewhere.
    fn make_list(&mut self) {
        for entry in 0..ATTEMPTS {
            let (email, password) = match entry {
                0..LEAKED => (self.honest[entry].email.clone(), self.honest[entry].password.clone()),
                LEAKED..LISTED => (self.honest[entry].email.clone(), format!("leaked {}", self.random.below(5_000))),
                _ => {
                    let owner = self.random.below(15_000);
                    (format!("stranger{owner}@example.net"), format!("leaked {}", self.random.below(5_000)))
                }
            };
            self.list.push((email, password));
        }
        for entry in (1..ATTEMPTS).rev() {
            let other = self.random.below(entry + 1);
            self.list.swap(entry, other);
        }
    }

    fn at(&mut self, when: Timestamp, who: Who) {
        self.turn += 1;
        self.queue.push(Reverse((when, self.turn, who)));
    }

    async fn sign_in(&self, email: &str, password: &str, ip: IpAddr) -> authv2_core::Result<()> {
        let login = Login {
            email: email.into(),
            password: password.into(),
            organization: None,
            store: None,
            transport: Transport::Bearer,
            proof: None,
        };
        let origin = Origin { ip: Some(ip), ..Origin::default() };
        self.auth.login(login, &origin).await.map(|_| ())
    }

    async fn run(&mut self) {
        let begin = self.clock.now();
        let span = LASTS * 1_000_000;
        for attempt in 0..ATTEMPTS {
            let when = begin + Duration::from_micros(span * u64::try_from(attempt).unwrap() / ATTEMPTS as u64);
            self.at(when, Who::Attacker(attempt % ADDRESSES, attempt));
        }
        for number in 0..HONEST {
            let when = begin + Duration::from_micros(self.random.next() % span);
            self.at(when, Who::Honest(number));
        }
        while let Some(Reverse((when, _, who))) = self.queue.pop() {
            let behind = when.since(self.clock.now());
            self.clock.advance(behind);
            match who {
                Who::Honest(number) => self.honest_attempt(number).await,
                Who::Attacker(address, entry) => self.attack(address, entry).await,
            }
        }
    }

    async fn honest_attempt(&mut self, number: usize) {
        let now = self.clock.now();
        let user = &mut self.honest[number];
        user.began.get_or_insert(now);
        let is_typo = user.typos > 0;
        let password = if is_typo { format!("{}!", user.password) } else { user.password.clone() };
        let (email, ip) = (user.email.clone(), user.ip);
        match self.sign_in(&email, &password, ip).await {
            Ok(()) => {
                self.judged.1 += 1;
                self.honest[number].got_in = Some(now);
            }
            Err(error) if error.code() == Code::InvalidCredentials => {
                assert!(is_typo, "{email} was refused with the right password");
                self.judged.1 += 1;
                self.honest[number].typos -= 1;
                self.at(now + Duration::from_secs(5), Who::Honest(number));
            }
            Err(error) => {
                assert_eq!(error.code(), Code::TooManyAttempts, "{email}");
                self.honest[number].slowed += 1;
                // As a client does that reads the answer.
                let wait = error.retry_after().unwrap();
                assert!(wait <= Duration::from_secs(900), "{wait:?}");
                self.at(now + wait, Who::Honest(number));
            }
        }
    }

    async fn attack(&mut self, from: usize, entry: usize) {
        if self.attempts == ATTEMPTS {
            return;
        }
        self.attempts += 1;
        let (email, password) = self.list[entry].clone();
        match self.sign_in(&email, &password, address(90, from)).await {
            Ok(()) => {
                self.judged.0 += 1;
                self.taken_over += 1;
            }
            Err(error) if error.code() == Code::InvalidCredentials => self.judged.0 += 1,
            Err(error) => {
                assert_eq!(error.code(), Code::TooManyAttempts);
                if from < PATIENT {
                    let back = self.clock.now() + error.retry_after().unwrap();
                    self.at(back, Who::Attacker(from, entry));
                }
            }
        }
        if self.detected_at.is_none()
            && self.attempts <= 600
            && !self.told(EventKind::CredentialStuffing).await.is_empty()
        {
            self.detected_at = Some(self.attempts);
        }
    }

    /// The events of a kind that are written by now, oldest first.
    async fn told(&self, kind: EventKind) -> Vec<SecurityEvent> {
        // Written beside the request, a moment later: what is told of is what was noticed.
        self.auth.flush_events().await;
        let query = EventQuery { kind: Some(kind), limit: 10_000, ..EventQuery::default() };
        let mut events: Vec<_> =
            self.auth.store().security_events(query).await.unwrap().into_iter().map(|stored| stored.event).collect();
        events.reverse();
        events
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuffing_attack_is_noticed_and_slowed_and_nobody_is_locked_out() {
    let mut play = Play::prepare().await;
    let (before, began) = (play.hashes.0.load(Ordering::Relaxed), play.clock.now());
    play.run().await;
    let hashes = play.hashes.0.load(Ordering::Relaxed) - before;
    let (of_attackers, of_honest) = play.judged;
    println!(
        "{} attempts, {of_attackers} judged, {} taken over; {of_honest} judged of honest users; {hashes} hashes; detected at attempt {:?}",
        play.attempts, play.taken_over, play.detected_at,
    );

    // The metric and the answers agree, and few passwords of the attack were looked at.
    assert_eq!(play.attempts, ATTEMPTS);
    assert_eq!(hashes, of_attackers + of_honest);
    assert!(of_attackers < ATTEMPTS as u64 / 50, "{of_attackers} of {ATTEMPTS}");
    assert!(play.detected_at.unwrap() <= 500, "{:?}", play.detected_at);

    // Everybody got in; who is known where it was, as if nothing were the matter.
    let mut slowest: BTreeMap<Kind, (usize, Duration)> = BTreeMap::new();
    for user in &play.honest {
        let took = user.got_in.expect(&user.email).since(user.began.unwrap());
        let (slowed, longest) = slowest.entry(user.kind).or_default();
        *slowed += usize::from(user.slowed > 0);
        *longest = took.max(*longest);
        if matches!(user.kind, Kind::AtHome | Kind::InOffice) {
            assert_eq!((user.slowed, took.as_secs() <= 10), (0, true), "{} {:?}", user.email, user.kind);
        }
    }
    println!("slowed, and the longest way in: {slowest:?}");
    for kind in [Kind::Travelling, Kind::New] {
        assert!(slowest[&kind].1 <= Duration::from_secs(300), "{kind:?}: {:?}", slowest[&kind]);
    }
    assert!(slowest[&Kind::InMovedOffice].1 <= Duration::from_secs(1_200), "{:?}", slowest[&Kind::InMovedOffice]);

    tells_the_story(&play, began).await;
}

/// What an administrator reads afterwards.
async fn tells_the_story(play: &Play, began: Timestamp) {
    // The attack ends, and is told to have ended, ten minutes after its last sign.
    play.clock.advance(Duration::from_secs(700));
    let phase = |event: &SecurityEvent| event.detail.get("phase").and_then(|phase| phase.as_str().map(str::to_owned));
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    let stuffing = loop {
        let told = play.told(EventKind::CredentialStuffing).await;
        if told.iter().any(|event| phase(event).as_deref() == Some("ended")) {
            break told;
        }
        assert!(std::time::Instant::now() < deadline, "{told:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let of_deployment: Vec<_> = stuffing.iter().filter_map(|event| Some((phase(event)?, event))).collect();
    let phases: Vec<&str> = of_deployment.iter().map(|(phase, _)| phase.as_str()).collect();
    assert_eq!((phases.first(), phases.last()), (Some(&"began"), Some(&"ended")), "{phases:?}");
    assert!(phases[1..phases.len() - 1].iter().all(|phase| *phase == "goes_on"), "{phases:?}");
    let first = of_deployment[0].1;
    assert_eq!((first.severity, first.ip), (Severity::High, None));
    assert!(first.at.since(began) < Duration::from_secs(30), "{first:?}");
    assert!(first.detail["accounts"].as_u64().unwrap() >= 100, "{first:?}");
    assert!(first.detail["networks"].as_u64().unwrap() >= 50, "{first:?}");
    let last = of_deployment.last().unwrap().1;
    assert!(last.detail["refused"].as_u64().unwrap() > 15_000, "{last:?}");

    // Those who got in from where they are not known, and nobody else.
    let elsewhere = play.told(EventKind::NewNetwork).await;
    let strangers = play.honest.iter().filter(|user| matches!(user.kind, Kind::Travelling | Kind::InMovedOffice));
    assert_eq!(elsewhere.len(), strangers.count() + play.taken_over, "{}", elsewhere.len());

    // No name, no password.
    let query = EventQuery { limit: 100_000, ..EventQuery::default() };
    for stored in play.auth.store().security_events(query).await.unwrap() {
        let text = serde_json::to_string(&stored.event).unwrap();
        assert!(!text.contains('@') && !text.contains("leaked") && !text.contains("unlike any"), "{text}");
    }
}

/// Somebody who is told of events.
#[derive(Debug, Default)]
struct Pager(Mutex<Vec<SecurityEvent>>);

#[async_trait]
impl SecurityEventSink for Pager {
    async fn deliver(&self, event: &SecurityEvent) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[tokio::test]
async fn a_sign_in_to_a_dormant_account_is_told_to_the_store_and_to_sinks() {
    let clock = Arc::new(FakeClock::at(moment()));
    let mut config = Config::development();
    config.store.url = Secret::from("sqlite::memory:");
    (config.password.memory_kib, config.password.iterations) = (8, 1);
    let pager = Arc::new(Pager::default());
    let builder = AuthenticationService::builder(config).clock(Arc::clone(&clock) as _);
    let auth = builder.security_event_sink(Arc::clone(&pager) as _).build().await.unwrap();
    let (email, password) = ("ada@example.org", Secret::from("correct horse battery"));
    let origin = Origin { ip: Some(address(10, 1)), ..Origin::default() };
    let new = NewAccount { email, password: &password, display_name: None };
    auth.register(new, &origin).await.unwrap();
    let mut risks = Vec::new();
    for days in [0, 89, 91] {
        clock.advance(Duration::from_secs(days * 24 * 3600));
        let login = Login {
            email: email.into(),
            password: password.clone(),
            organization: None,
            store: None,
            transport: Transport::Bearer,
            proof: None,
        };
        risks.push(auth.login(login, &origin).await.unwrap().session.risk);
    }
    // After ninety days its network is new as well.
    assert_eq!(risks, [Risk::Low, Risk::Low, Risk::Medium]);
    auth.flush_events().await;
    let query = EventQuery { kind: Some(EventKind::DormantAccountUsed), limit: 10, ..EventQuery::default() };
    let stored = auth.store().security_events(query).await.unwrap();
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert_eq!(stored[0].event.detail["days"], 91);
    let begun = std::time::Instant::now();
    while !pager.0.lock().unwrap().contains(&stored[0].event) {
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
}
