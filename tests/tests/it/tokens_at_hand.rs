//! Verified tokens at hand: nothing is asked for them, and nothing outlives a change.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use authv2_core::{
    AuthenticationService, Code, Config, Principal,
    api::Api,
    audit::{Act, Actor, Origin},
    authentication::{Credentials, Login},
    changes::{Change, Feed},
    clock::{Clock as _, FakeClock, SystemClock},
    permission,
    secret::Secret,
    store::{
        SharedStore, StoreError, Transport, UserStatus,
        sql::{SqlOptions, SqlStore},
    },
    testing::counting::{Counter, Intercepted, Interceptor},
    user::NewAccount,
};
use http::Request;
use serde_json::{Value, json};
use tokio::sync::Notify;

const EMAIL: &str = "ada@example.org";
const PASSWORD: &str = "correct horse battery";
/// What the store is asked to find out who calls.
const ASKED: [&str; 6] = ["session", "user", "role_book", "access", "signing_keys", "is_token_revoked"];

struct World {
    auth: AuthenticationService,
    store: SharedStore,
    feed: Feed,
    clock: Arc<FakeClock>,
    token: String,
    principal: Principal,
}

impl World {
    /// Ada, signed in to acme, which she owns, over a store whose calls go through `interceptor`.
    async fn with<I: Interceptor + 'static>(interceptor: Arc<I>) -> Self {
        let feed = Feed::new();
        let store = SqlStore::open(&SqlOptions::new("sqlite::memory:"), feed.clone()).await.unwrap();
        store.migrate().await.unwrap();
        let store: SharedStore = Arc::new(store);
        let watched: SharedStore = Arc::new(Intercepted::new(Arc::clone(&store), interceptor));
        let mut config = Config::development();
        (config.password.memory_kib, config.password.iterations) = (8, 1);
        let clock = Arc::new(FakeClock::at(SystemClock::wall()));
        let builder = AuthenticationService::builder(config).store(watched, feed.clone());
        let auth = builder.clock(Arc::clone(&clock) as _).build().await.unwrap();
        let password = Secret::from(PASSWORD);
        let account = NewAccount { email: EMAIL, password: &password, display_name: None };
        auth.register(account, &Origin::default()).await.unwrap();
        let outside = sign_in(&auth, None).await;
        call(&auth, &outside, "POST", "/auth/orgs", &json!({"slug": "acme", "name": "Acme"})).await;
        let token = sign_in(&auth, Some("acme")).await;
        let principal = auth.authenticate(&request(&token)).await.unwrap().unwrap();
        Self { auth, store, feed, clock, token, principal }
    }

    async fn new() -> Self {
        Self::with(Arc::new(Counter::default())).await
    }

    async fn ask(&self) -> authv2_core::Result<Principal> {
        self.auth.authenticate(&request(&self.token)).await.map(|principal| principal.expect("a token is no nobody"))
    }

    async fn is_refused(&self) -> bool {
        match self.ask().await {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.code(), Code::InvalidToken, "{error:?}");
                true
            }
        }
    }

    fn act(&self) -> Act {
        Act::new("test", Actor::System, self.clock.now(), &Origin::default())
    }
}

async fn sign_in(auth: &AuthenticationService, organization: Option<&str>) -> String {
    sign_in_as(auth, EMAIL, organization).await
}

async fn sign_in_as(auth: &AuthenticationService, email: &str, organization: Option<&str>) -> String {
    let login = Login {
        email: email.into(),
        password: PASSWORD.into(),
        organization: organization.map(str::to_owned),
        store: None,
        transport: Transport::Bearer,
        proof: None,
    };
    let signed_in = auth.login(login, &Origin::default()).await.unwrap();
    let Credentials::Tokens { access_token, .. } = signed_in.credentials else { panic!("no token") };
    access_token.expose().clone()
}

fn request(token: &str) -> Request<()> {
    Request::builder().header("authorization", format!("Bearer {token}")).body(()).unwrap()
}

async fn call(auth: &AuthenticationService, token: &str, method: &str, path: &str, body: &Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(body.to_string())
        .unwrap();
    let response = Api::new(auth.clone()).call(request).await;
    assert!(response.status().is_success(), "{method} {path}: {}", response.status());
}

#[tokio::test]
async fn nothing_is_asked_for_a_token_at_hand() {
    let counter = Arc::new(Counter::default());
    let world = World::with(Arc::clone(&counter)).await;
    let _ = counter.take();
    for _ in 0..100 {
        let principal = world.ask().await.unwrap();
        assert_eq!(principal.id(), world.principal.id());
        assert!(principal.check(permission!("orders:read")).allowed());
    }
    let asked = counter.take();
    assert!(ASKED.iter().all(|verb| !asked.contains_key(verb)), "{asked:?}");
}

#[tokio::test]
async fn a_token_at_hand_is_as_good_as_what_it_stands_for() {
    for end in 0..7 {
        let world = World::new().await;
        let (user, session) = (world.principal.user_id().unwrap(), world.principal.session_id().unwrap());
        let organization = world.principal.tenant().unwrap().organization;
        assert!(!world.is_refused().await && !world.is_refused().await);
        match end {
            0 => assert!(world.store.revoke_session(user, session, world.act()).await.unwrap()),
            1 => drop(world.store.set_status(user, UserStatus::Disabled, None, world.act()).await.unwrap()),
            2 => drop(world.auth.sessions().revoke_organization(organization, Actor::System, &Origin::default()).await),
            3 => drop(world.auth.sessions().revoke_everything(Actor::System, &Origin::default()).await),
            4 => {
                let claims = world.auth.jwt().verify(&world.token, world.clock.now()).unwrap();
                let (token, origin) = (claims.token_id(), Origin::default());
                assert!(world.auth.revoke_token(token, claims.exp, Actor::System, &origin).await.unwrap());
            }
            5 => world.clock.advance(Duration::from_secs(600)),
            _ => assert!(world.store.revoke_sessions(user, None, world.act()).await.unwrap() > 0),
        }
        assert!(world.is_refused().await, "{end}");
    }
}

#[tokio::test]
async fn a_token_at_hand_may_do_what_its_roles_say_now() {
    let world = World::new().await;
    let put = async |path: &str, body| call(&world.auth, &world.token, "PUT", path, &body).await;
    let password = Secret::from(PASSWORD);
    let bob = NewAccount { email: "bob@example.org", password: &password, display_name: None };
    let bob = world.auth.register(bob, &Origin::default()).await.unwrap().unwrap();
    let grants = json!({"inherits": [], "grants": [{"permission": "orders:read", "effect": "allow"}]});
    put("/auth/orgs/acme/roles/clerk", grants.clone()).await;
    let member = json!({"user_id": bob.id, "roles": [{"role": "clerk"}]});
    call(&world.auth, &world.token, "POST", "/auth/orgs/acme/members", &member).await;
    let token = sign_in_as(&world.auth, "bob@example.org", Some("acme")).await;
    let can_read = async || {
        let bob = world.auth.authenticate(&request(&token)).await.unwrap().unwrap();
        bob.check(permission!("orders:read")).allowed()
    };
    assert!(can_read().await && can_read().await);
    put("/auth/orgs/acme/roles/clerk", json!({"inherits": [], "grants": []})).await;
    assert!(!can_read().await, "the role changed");
    put("/auth/orgs/acme/roles/clerk", grants).await;
    assert!(can_read().await, "the role changed");
    let roles = format!("/auth/orgs/acme/members/{}/roles", bob.id);
    put(&roles, json!({"roles": []})).await;
    assert!(!can_read().await, "the member changed");
}

#[tokio::test]
async fn whatever_may_have_been_missed_is_found_out_anew() {
    let counter = Arc::new(Counter::default());
    let world = World::with(Arc::clone(&counter)).await;
    for change in [Change::Everything, Change::SigningKeysChanged] {
        assert!(world.ask().await.is_ok());
        let _ = counter.take();
        world.feed.publish(&[change]);
        assert!(world.ask().await.is_ok());
        let asked = counter.take();
        assert!(asked.contains_key("signing_keys"), "{change:?}: {asked:?}");
    }
}

/// Holds back what was read of a session, or fails it, when told to.
#[derive(Debug, Default)]
struct Hindered {
    holds: AtomicBool,
    fails: AtomicBool,
    read: Notify,
    goes_on: Notify,
    reads: Mutex<u32>,
}

impl Interceptor for Hindered {
    async fn around<T: Send>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if verb != "session" {
            return call.await;
        }
        *self.reads.lock().unwrap() += 1;
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the test says so"));
        }
        let found = call.await;
        if self.holds.swap(false, Ordering::SeqCst) {
            self.read.notify_one();
            self.goes_on.notified().await;
        }
        found
    }
}

#[tokio::test]
async fn what_is_revoked_while_it_is_read_is_not_kept() {
    let hindered = Arc::new(Hindered::default());
    let world = Arc::new(World::with(Arc::clone(&hindered)).await);
    world.feed.publish(&[Change::Everything]);
    hindered.holds.store(true, Ordering::SeqCst);
    let late = {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.is_refused().await })
    };
    hindered.read.notified().await;
    let (user, session) = (world.principal.user_id().unwrap(), world.principal.session_id().unwrap());
    assert!(world.store.revoke_session(user, session, world.act()).await.unwrap());
    hindered.goes_on.notify_one();
    // The late one began before the revocation: either answer is true of some moment of it.
    let _ = late.await.unwrap();
    assert!(world.is_refused().await, "what was read before the revocation was not kept");
}

#[tokio::test]
async fn an_outage_is_no_refusal_and_is_not_kept() {
    let hindered = Arc::new(Hindered::default());
    let world = World::with(Arc::clone(&hindered)).await;
    world.feed.publish(&[Change::Everything]);
    hindered.fails.store(true, Ordering::SeqCst);
    assert_eq!(world.ask().await.unwrap_err().code(), Code::Unavailable);
    hindered.fails.store(false, Ordering::SeqCst);
    assert!(world.ask().await.is_ok());
}

#[tokio::test]
async fn a_crowd_with_one_token_is_found_out_once() {
    let hindered = Arc::new(Hindered::default());
    let world = Arc::new(World::with(Arc::clone(&hindered)).await);
    world.feed.publish(&[Change::Everything]);
    *hindered.reads.lock().unwrap() = 0;
    hindered.holds.store(true, Ordering::SeqCst);
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.ask().await.is_ok() })
        })
        .collect();
    hindered.read.notified().await;
    hindered.goes_on.notify_one();
    for one in crowd {
        assert!(one.await.unwrap());
    }
    assert_eq!(*hindered.reads.lock().unwrap(), 1);
}
