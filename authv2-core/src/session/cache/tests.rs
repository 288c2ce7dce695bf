//! Sessions at hand over a real store: what is asked of it, and that no ended session is ever used.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    audit::{Act, Actor, Origin},
    changes::Feed,
    clock::{Clock as _, FakeClock, Timestamp},
    config::SessionConfig,
    session::{SessionSecret, SessionService, SignIn},
    store::{
        Created, NewUser, Risk, SharedStore, Spends, Transport, UserStatus,
        shared::SharedCache,
        sql::{SqlOptions, SqlStore},
    },
    testing::counting::{Counter, Intercepted},
};

struct World {
    store: SharedStore,
    clock: Arc<FakeClock>,
    counter: Arc<Counter>,
    node: SessionService,
    user: UserId,
}

impl World {
    async fn new() -> Self {
        let feed = Feed::new();
        let store = SqlStore::open(&SqlOptions::new("sqlite::memory:"), feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        let store: SharedStore = Arc::new(store);
        let clock = Arc::new(FakeClock::at(Timestamp::from_seconds(1_700_000_000)));
        let counter = Arc::new(Counter::default());
        let watched: SharedStore = Arc::new(Intercepted::new(Arc::clone(&store), Arc::clone(&counter)));
        let config = SessionConfig::default();
        let node = SessionService::new(
            watched,
            SharedCache::none(),
            &feed,
            Arc::clone(&clock) as _,
            (config, false),
            [7; 32].into(),
        );
        let user = UserId::new();
        let new = NewUser {
            id: user,
            email: "ada@example.test".to_owned(),
            email_key: "ada@example.test".to_owned(),
            display_name: None,
            password_hash: Some(crate::store::Redacted("a hash".to_owned())),
            platform_admin: false,
            count_if_taken: Vec::new(),
        };
        let act = Act::new("user.created", Actor::System, clock.now(), &Origin::default());
        assert!(matches!(store.create_user(new, act).await.unwrap(), Created::New(_)));
        Self { store, clock, counter, node, user }
    }

    async fn sign_in(&self, transport: Transport) -> (SessionId, SessionSecret) {
        let sign_in = SignIn {
            user: self.user,
            transport,
            amr: vec!["pwd"],
            tenant: None,
            verified_hash: None,
            rehashed: None,
            network: None,
            device: None,
            browser: None,
            risk: Risk::Low,
            is_held: false,
            clear: Vec::new(),
            proof: None,
            spends: Spends::default(),
            notices: Vec::new(),
        };
        let opened = self.node.open(sign_in, &Origin::default()).await.unwrap();
        (opened.session.id, opened.secret)
    }

    fn act(&self) -> Act {
        Act::new("test", Actor::System, self.clock.now(), &Origin::default())
    }

    async fn is_live(&self, id: SessionId) -> bool {
        self.node.live(id).await.unwrap().is_some()
    }

    fn reads(&self) -> u64 {
        self.counter.take().get("session").copied().unwrap_or_default()
    }
}

#[tokio::test]
async fn asks_the_store_once_and_nothing_when_warm() {
    let world = World::new().await;
    let (id, _) = world.sign_in(Transport::Bearer).await;
    for _ in 0..100 {
        assert!(world.is_live(id).await);
    }
    assert_eq!(world.reads(), 1);
    let live = world.node.live(id).await.unwrap().unwrap();
    assert!(live.user().password_hash.is_none(), "it stays in the store");
}

#[tokio::test]
async fn an_ended_session_is_refused_at_once() {
    let world = World::new().await;
    for end in 0..4 {
        let (id, _) = world.sign_in(Transport::Bearer).await;
        assert!(world.is_live(id).await);
        match end {
            2 => drop(world.store.revoke_generation(None, world.act()).await.unwrap()),
            0 => assert!(world.store.revoke_session(world.user, id, world.act()).await.unwrap()),
            1 => assert_eq!(world.store.revoke_sessions(world.user, None, world.act()).await.unwrap(), 1),
            _ => drop(world.store.set_status(world.user, UserStatus::Disabled, None, world.act()).await.unwrap()),
        }
        assert!(!world.is_live(id).await, "{end}");
    }
}

#[tokio::test]
async fn a_changed_user_is_read_anew_with_all_its_sessions() {
    let world = World::new().await;
    let (one, other) = (world.sign_in(Transport::Bearer).await.0, world.sign_in(Transport::Bearer).await.0);
    assert!(world.is_live(one).await && world.is_live(other).await);
    world.reads();
    world.node.0.feed.publish(&[Change::UserChanged { user: world.user }]);
    assert!(world.is_live(one).await && world.is_live(other).await);
    assert_eq!(world.reads(), 2);
    world.node.0.feed.publish(&[Change::Everything]);
    assert!(world.is_live(one).await && world.is_live(other).await);
    assert_eq!(world.reads(), 2);
}

#[tokio::test]
async fn a_cookie_opens_its_own_session_only() {
    let world = World::new().await;
    let (id, secret) = world.sign_in(Transport::Cookie).await;
    let SessionSecret::Cookie(cookie) = secret else { panic!("no cookie") };
    let cookie = cookie.expose().as_str();
    let opened = |cookie: String| {
        let node = world.node.clone();
        async move { node.live_by_cookie(&cookie).await.unwrap().map(|live| live.session().id) }
    };
    assert_eq!(opened(cookie.to_owned()).await, Some(id));
    assert_eq!(opened(cookie.to_owned()).await, Some(id), "warm");
    let last = if cookie.ends_with('A') { "B" } else { "A" };
    assert_eq!(opened(format!("{}{last}", &cookie[..cookie.len() - 1])).await, None);
    for wrong in ["", "avs_", &cookie[..cookie.len() - 1], &format!("{cookie}A"), &cookie[4..]] {
        assert_eq!(opened(wrong.to_owned()).await, None, "{wrong}");
    }
    // A bearer session has no cookie that opens it.
    let (bearer, _) = world.sign_in(Transport::Bearer).await;
    let forged = super::super::lookup::cookie(bearer).unwrap();
    assert_eq!(opened(forged.expose().clone()).await, None);
}

#[tokio::test]
async fn another_node_may_have_moved_the_idle_deadline() {
    let world = World::new().await;
    let (id, _) = world.sign_in(Transport::Bearer).await;
    assert!(world.is_live(id).await);
    let SessionConfig { idle_ttl, .. } = SessionConfig::default();
    let later = world.clock.now() + idle_ttl / 2;
    let touch = crate::store::Touch { session: id, seen_at: later, idle_expires_at: Some(later + idle_ttl) };
    world.store.touch_sessions(vec![touch]).await.unwrap();
    world.clock.advance(idle_ttl + Duration::from_secs(1));
    assert!(world.is_live(id).await);
    world.clock.advance(idle_ttl);
    assert!(!world.is_live(id).await);
}

#[tokio::test]
async fn a_use_moves_the_idle_deadline_in_the_store() {
    let world = World::new().await;
    let (id, _) = world.sign_in(Transport::Bearer).await;
    let SessionConfig { idle_ttl, .. } = SessionConfig::default();
    world.clock.advance(idle_ttl / 2);
    assert!(world.is_live(id).await);
    let wanted = world.clock.now() + idle_ttl;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        if world.store.session(id).await.unwrap().unwrap().0.idle_expires_at == wanted {
            return;
        }
    }
    panic!("it was not moved");
}

#[tokio::test]
async fn an_outage_is_no_ended_session() {
    let world = World::new().await;
    let (id, _) = world.sign_in(Transport::Bearer).await;
    world.store.close().await;
    assert!(matches!(world.node.live(id).await, Err(crate::session::SessionError::Store(StoreError::Unavailable(_)))));
}

#[tokio::test]
async fn who_knows_the_id_alone_does_not_keep_a_session_from_ending() {
    let world = World::new().await;
    let (id, _) = world.sign_in(Transport::Cookie).await;
    let before = world.store.session(id).await.unwrap().unwrap().0;
    let forged = super::super::lookup::cookie(id).unwrap();
    let SessionConfig { idle_ttl, .. } = SessionConfig::default();
    world.clock.advance(idle_ttl * 3 / 4);
    assert!(world.node.live_by_cookie(forged.expose()).await.unwrap().is_none());
    world.node.write_behind().await.unwrap();
    assert_eq!(world.store.session(id).await.unwrap().unwrap().0, before);
}

#[tokio::test]
async fn only_sessions_under_the_floor_are_read_anew() {
    let world = World::new().await;
    let (id, _) = world.sign_in(Transport::Bearer).await;
    assert!(world.is_live(id).await);
    world.reads();
    let organization = Some(crate::id::OrgId::new());
    world.node.0.feed.publish(&[Change::SessionsRevoked { organization, generation: 9 }]);
    assert!(world.is_live(id).await);
    assert_eq!(world.reads(), 0, "another organization's floor");
    world.node.0.feed.publish(&[Change::SessionsRevoked { organization: None, generation: 9 }]);
    assert!(world.is_live(id).await, "the store says so");
    assert_eq!(world.reads(), 1);
}
