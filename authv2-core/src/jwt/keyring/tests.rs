//! The key ring on a real store: what is written, by whom, and what two at once do.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;

use super::*;
use crate::{
    changes::Feed,
    id::{AuditId, UserId},
    jwt::{AccessClaims, Audience, Jwk, JwtService, MintError, SignerError, TokenRefusal},
    store::sql::{SqlOptions, SqlStore},
};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A clock that stands still until it is moved, or leaps by seconds when it has been read so often.
#[derive(Debug)]
struct Standing(Mutex<Timestamp>, Mutex<Option<(u32, u64)>>);

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        let mut leap = self.1.lock().unwrap();
        match &mut *leap {
            Some((0, seconds)) => {
                *now = *now + Duration::from_secs(*seconds);
                *leap = None;
            }
            Some((readings, _)) => *readings -= 1,
            None => {}
        }
        *now
    }
}

struct World {
    ring: KeyRing,
    store: SharedStore,
    clock: Arc<Standing>,
}

fn policy() -> KeyPolicy {
    KeyPolicy {
        alg: Algorithm::EdDSA,
        token_life: Duration::from_secs(600),
        jwks_max_age: Duration::from_secs(300),
        rotation_interval: Duration::from_secs(30 * 24 * 3600),
        staleness: Duration::from_secs(60),
    }
}

fn master() -> Arc<MasterKey> {
    Arc::new(MasterKey::from_bytes(&[1; 32]))
}

impl World {
    async fn empty() -> Self {
        let store = SqlStore::open(&SqlOptions::new("sqlite::memory:"), Feed::new()).await.unwrap();
        store.migrate().await.unwrap();
        let (store, clock): (SharedStore, _) = (Arc::new(store), Arc::new(Standing(Mutex::new(NOW), Mutex::new(None))));
        let ring = KeyRing::new(Arc::clone(&store), Arc::clone(&clock) as _, master(), policy());
        Self { ring, store, clock }
    }

    /// With one key that signs, and that is older than all that come.
    async fn founded() -> Self {
        let world = Self::empty().await;
        world.found(SigningKey::generate(Algorithm::EdDSA).unwrap()).await.unwrap();
        world.pass(1);
        world
    }

    async fn found(&self, key: SigningKey) -> Result<(), KeyChangeError> {
        self.ring.found(|| Ok::<_, KeyChangeError>(key), false).await
    }

    fn pass(&self, seconds: u64) {
        let mut now = self.clock.0.lock().unwrap();
        *now = *now + Duration::from_secs(seconds);
    }

    async fn states(&self) -> Vec<KeyState> {
        self.ring.keys().await.unwrap().iter().map(|key| key.state).collect()
    }

    async fn tokens(&self) -> JwtService {
        let records = self.store.signing_keys().await.unwrap();
        JwtService::new("issuer", "issuer", &records, master()).unwrap()
    }

    /// The actions that were recorded, newest first.
    async fn actions(&self) -> Vec<String> {
        self.store.recent_audit(20).await.unwrap().into_iter().map(|entry| entry.action).collect()
    }

    async fn create(&self) -> KeyStatus {
        self.ring.create(Algorithm::ES256, actor(), &Origin::default()).await.unwrap()
    }

    async fn rotate(&self, asked: Rotation) -> KeyStatus {
        self.ring.rotate(asked, actor(), &Origin::default()).await.unwrap()
    }

    async fn revoke(&self, kid: &str) -> Result<KeyStatus, KeyChangeError> {
        self.ring.revoke(kid, actor(), &Origin::default()).await
    }

    async fn import(&self, key: &SigningKey) -> Result<KeyStatus, KeyChangeError> {
        self.ring.import(key, actor(), &Origin::default()).await
    }
}

fn actor() -> Actor {
    Actor::User(UserId::new())
}

fn claims(now: Timestamp) -> AccessClaims {
    AccessClaims {
        iss: "issuer".to_owned(),
        aud: Audience::one("issuer"),
        sub: "authv2".to_owned(),
        exp: now + Duration::from_secs(600),
        iat: now,
        jti: AuditId::new().to_string(),
        client_id: "authv2".to_owned(),
        sid: None,
        org: None,
        store: None,
        amr: Vec::new(),
        acr: None,
        auth_time: None,
        scope: None,
        cnf: None,
    }
}

use KeyState::{Active, Pending, Retired, Retiring};

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_end_and_every_step_is_recorded() {
    let world = World::founded().await;
    let made = world.create().await;
    assert_eq!((made.state, made.alg.as_str()), (Pending, "ES256"));
    assert_eq!(world.states().await, [Active, Pending]);
    let rotated = world.rotate(Rotation::default()).await;
    assert_eq!((rotated.kid, rotated.activates_at), (made.kid, NOW + Duration::from_secs(362)));
    world.pass(361);
    assert_eq!(world.states().await, [Retiring, Active]);
    world.pass(600);
    assert_eq!(world.states().await, [Retired, Active]);
    assert!(!world.store.signing_keys().await.unwrap()[0].sealed.is_empty());
    world.pass(60);
    world.ring.take_steps().await.unwrap();
    assert!(world.store.signing_keys().await.unwrap()[0].sealed.is_empty(), "the private half is gone");
    world.pass(30 * 24 * 3600);
    world.ring.take_steps().await.unwrap();
    assert_eq!(world.states().await, [Active, Pending], "one is forgotten, and the schedule has made another");
    let mut expected =
        ["signing_key.created", "signing_key.created", "signing_key.rotated", "signing_key.retired"].to_vec();
    expected.extend(["signing_key.rotated", "signing_key.purged"]);
    let mut actions = world.actions().await;
    actions.reverse();
    expected.sort_unstable();
    actions.sort_unstable();
    assert_eq!(actions, expected);
    world.ring.take_steps().await.unwrap();
    assert_eq!(world.states().await.len(), 2, "a step that was taken is not taken again");
}

#[tokio::test]
async fn what_was_revoked_is_refused_at_once_and_never_comes_back() {
    let world = World::empty().await;
    let key = SigningKey::generate(Algorithm::EdDSA).unwrap();
    world
        .found(SigningKey::from_private_bytes(Algorithm::EdDSA, &key.private_bytes().unwrap()).unwrap())
        .await
        .unwrap();
    let kid = world.ring.keys().await.unwrap()[0].kid.clone();
    let token = world.tokens().await.mint(&claims(NOW), NOW).await.unwrap();
    world.pass(1);
    let now = world.clock.now();
    let revoked = world.revoke(&kid).await.unwrap();
    assert_eq!((revoked.state, revoked.retires_at), (Retired, Some(now)));
    assert_eq!(world.states().await, [Retired, Active], "another one signs from now on");
    let tokens = world.tokens().await;
    assert_eq!(tokens.verify(&token, now).unwrap_err(), TokenRefusal::RevokedKey);
    let fresh = tokens.mint(&claims(now), now).await.unwrap();
    assert!(tokens.verify(&fresh, now).is_ok());
    assert_eq!(world.revoke(&kid).await.unwrap().kid, kid, "twice is once");
    assert!(matches!(world.revoke("nobody").await, Err(KeyChangeError::Unknown)));
    assert!(matches!(world.import(&key).await, Err(KeyChangeError::Refused)));

    // Long after, when nothing is left of it but that.
    world.pass(40 * 24 * 3600);
    world.ring.take_steps().await.unwrap();
    assert!(world.ring.keys().await.unwrap().iter().all(|key| key.kid != kid));
    assert!(matches!(world.import(&key).await, Err(KeyChangeError::Refused)));
    // Nor with an emptied table and the file of the first key.
    let seen = world.store.signing_keys().await.unwrap();
    let remove = seen.iter().map(|key| key.kid.clone()).collect();
    let emptied = KeyChange { seen, remove, ..KeyChange::default() };
    let act = Act::new("signing_key.purged", Actor::System, NOW, &Origin::default());
    world.store.change_signing_keys(emptied, act).await.unwrap();
    assert!(matches!(world.found(key).await, Err(KeyChangeError::Refused)));
}

#[tokio::test]
async fn a_key_is_there_once_in_whatever_form_it_comes() {
    let world = World::founded().await;
    let key = SigningKey::generate(Algorithm::RS256).unwrap();
    let imported = world.import(&key).await.unwrap();
    let again = SigningKey::from_private_bytes(Algorithm::PS256, &key.private_bytes().unwrap()).unwrap();
    let refused = world.import(&again).await.unwrap_err();
    assert!(matches!(refused, KeyChangeError::Known { kid } if kid == imported.kid));
    world.rotate(Rotation { activate_now: true, overlap: None }).await;
    world.pass(400 * 24 * 3600);
    let step = world.ring.next_step().await.unwrap();
    assert!(!matches!(step, Some((_, Step::Rotate))), "what was brought along is replaced by no schedule: {step:?}");
}

#[tokio::test]
async fn rotations_at_once_are_one_rotation() {
    let world = World::founded().await;
    let asked = (0..8).map(|_| world.rotate(Rotation::default()));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|key| *key == answers[0]), "{answers:?}");
    assert_eq!(world.states().await, [Active, Pending]);
}

#[tokio::test]
async fn a_change_that_took_long_to_commit_happens_later() {
    let world = World::founded().await;
    // Read to decide on a key, to make one, to judge; then it has been committed.
    *world.clock.1.lock().unwrap() = Some((3, 20));
    let rotated = world.rotate(Rotation::default()).await;
    assert!(world.clock.1.lock().unwrap().is_none());
    assert_eq!(rotated.activates_at, NOW + Duration::from_secs(1 + 20 + 361));
    let keys = world.ring.keys().await.unwrap();
    assert_eq!(keys[0].retires_at, Some(rotated.activates_at + Duration::from_secs(600)));
    assert_eq!(keys[1], rotated);
}

#[tokio::test]
async fn a_key_held_elsewhere_that_retired_does_not_come_back_with_its_signer() {
    let world = World::founded().await;
    let kms = Kms(SigningKey::generate(Algorithm::ES256).unwrap());
    world.ring.refer(&kms).await.unwrap();
    world.rotate(Rotation { activate_now: true, overlap: None }).await;
    world.rotate(Rotation { activate_now: true, overlap: None }).await;
    world.pass(400 * 24 * 3600);
    world.ring.take_steps().await.unwrap();
    let before = world.ring.keys().await.unwrap();
    world.ring.refer(&kms).await.unwrap();
    assert_eq!(world.ring.keys().await.unwrap(), before);
    assert!(before.iter().all(|key| key.alg != "ES256" || key.state == Retired), "{before:?}");
}

#[tokio::test]
async fn promises_are_kept_up_with_the_settings_of_every_node() {
    let world = World::founded().await;
    world.ring.promise().await.unwrap();
    assert_eq!(world.actions().await.len(), 1, "there was nothing to promise");
    let mut generous = world.ring.clone();
    generous.policy.token_life = Duration::from_secs(7200);
    generous.promise().await.unwrap();
    assert_eq!(world.tokens().await.token_life(NOW), Duration::from_secs(7200));
    world.ring.promise().await.unwrap();
    assert_eq!(world.tokens().await.token_life(NOW), Duration::from_secs(7200), "nobody takes it back");
}

/// A key held elsewhere that does what it is told to.
#[derive(Debug)]
struct Kms(SigningKey);

#[async_trait]
impl Signer for Kms {
    fn reference(&self) -> &str {
        "kms/1"
    }

    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    fn public_key(&self) -> Jwk {
        self.0.public_jwk("whatever it is called there").unwrap()
    }

    async fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignerError> {
        tokio::task::yield_now().await;
        self.0.sign(input).map_err(SignerError::failed)
    }
}

#[tokio::test]
async fn a_key_held_elsewhere_signs_and_is_verified_without_its_holder() {
    let world = World::empty().await;
    let kms = Arc::new(Kms(SigningKey::generate(Algorithm::ES256).unwrap()));
    for _ in 0..2 {
        world.ring.refer(&*kms).await.unwrap();
    }
    assert_eq!(world.states().await, [Active], "once, and the first key signs");
    let without = world.tokens().await;
    assert!(!without.can_sign(NOW));
    assert!(matches!(without.mint(&claims(NOW), NOW).await, Err(MintError::Signer(SignerError::Absent))));
    let tokens = world.tokens().await.with_signers(vec![kms.clone()]);
    assert!(tokens.can_sign(NOW));
    let token = tokens.mint(&claims(NOW), NOW).await.unwrap();
    assert!(without.verify(&token, NOW).is_ok());
    let published = serde_json::to_value(without.jwks(NOW)).unwrap();
    assert_eq!((&published["keys"][0]["alg"], &published["keys"][0]["use"]), (&"ES256".into(), &"sig".into()));
    assert_ne!(published["keys"][0]["kid"], "whatever it is called there");

    // Revoked, it is refused under this reference and any other.
    let kid = world.ring.keys().await.unwrap()[0].kid.clone();
    world.revoke(&kid).await.unwrap();
    assert!(matches!(world.ring.refer(&*kms).await, Err(KeyChangeError::Refused)));
    assert_eq!(world.tokens().await.verify(&token, NOW).unwrap_err(), TokenRefusal::RevokedKey);
}
