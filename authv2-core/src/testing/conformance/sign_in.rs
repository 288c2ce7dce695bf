//! Sign-ins: what opening a session stores, notes and clears, and when a sign-in is void.

use super::{
    Case,
    act::{HOUR, act, at, email_of, hash_of, new_bucket, new_session, new_token, unique_bytes},
    room,
    world::World,
};
use crate::{
    clock::Timestamp,
    id::{OrgId, SessionId, StoreId, UserId},
    secret::SecretHash,
    store::{Bucket, BucketRule, NewSession, Opened, Risk, SignInQuery, Transport, Updated, UserStatus},
};

pub(super) const CASES: &[Case] = room!["sign_in":
    stores_the_session_as_given,
    keeps_the_hash_of_a_cookie,
    answers_with_the_user_as_it_is_now,
    replaces_the_hash_by_the_one_under_present_parameters,
    is_void_once_the_verified_password_was_replaced,
    is_void_for_an_account_that_may_not_sign_in,
    clears_the_counters_named_and_no_others,
    remembers_the_network_of_a_sign_in,
];

fn opened(answer: Opened) -> crate::store::UserRecord {
    match answer {
        Opened::New(opened) => opened.user,
        other => panic!("the session must open, not {other:?}"),
    }
}

async fn stores_the_session_as_given(world: World) {
    let user = world.user("ada").await;
    let mut full = new_session(user.id, at(100));
    full.record.auth_time = at(90);
    full.record.organization = Some(OrgId::new());
    full.record.store = Some(StoreId::new());
    full.record.risk = Risk::High;
    full.record.amr = "pwd otp mfa".to_owned();
    let mut bare = new_session(user.id, at(200));
    (bare.record.ip, bare.record.user_agent) = (None, None);
    bare.record.risk = Risk::Medium;
    for session in [full, bare] {
        let login = act("session.login", session.record.created_at);
        world.news();
        let answer = opened(world.store().open_session(session.clone(), login.clone()).await.unwrap());
        assert_eq!(world.news(), [], "nothing ended");
        let (record, owner) = world.store().session(session.record.id).await.unwrap().unwrap();
        assert_eq!(record, session.record);
        assert_eq!(owner, answer);
        let by_refresh = world.store().session_by_refresh(session.refresh.unwrap()).await.unwrap();
        assert_eq!(by_refresh, Some((record, owner)));
        world.expect_entry(&login, "success").await;
    }
    assert_eq!(world.store().session(SessionId::new()).await.unwrap(), None);
    assert_eq!(world.store().session_by_refresh(new_token()).await.unwrap(), None);
}

async fn keeps_the_hash_of_a_cookie(world: World) {
    let user = world.user("ada").await;
    let cookie = new_token();
    let mut session = new_session(user.id, at(1));
    session.record.transport = Transport::Cookie;
    (session.record.cookie_hash, session.refresh) = (Some(cookie.as_bytes().to_vec()), None);
    let login = act("session.login", at(1));
    let owner = opened(world.store().open_session(session.clone(), login).await.unwrap());
    assert_eq!(world.store().session(session.record.id).await.unwrap(), Some((session.record.clone(), owner)));
    assert_eq!(world.store().session_by_refresh(cookie).await.unwrap(), None, "a cookie is no refresh token");

    assert!(world.store().revoke_session(user.id, session.record.id, act("session.revoked", at(2))).await.unwrap());
    let (dead, _) = world.store().session(session.record.id).await.unwrap().expect("dead sessions are found too");
    assert_eq!(dead.revoked_at, Some(at(2)));
}

async fn answers_with_the_user_as_it_is_now(world: World) {
    let user = world.user("ada").await;
    assert_eq!(user.last_login_at, None);
    for second in [10, 20] {
        let session = new_session(user.id, at(second));
        let answer = opened(world.store().open_session(session, act("session.login", at(second))).await.unwrap());
        assert_eq!(answer.last_login_at, Some(at(second)));
        assert_eq!(world.reread(user.id).await, answer);
    }
}

async fn replaces_the_hash_by_the_one_under_present_parameters(world: World) {
    let user = world.user("ada").await;
    let mut session = new_session(user.id, at(1));
    (session.verified_hash, session.rehashed) = (Some(hash_of("ada")), Some(hash_of("stronger")));
    let answer = opened(world.store().open_session(session, act("session.login", at(1))).await.unwrap());
    assert_eq!(answer.password_hash, Some(hash_of("stronger")));
    assert_eq!(world.reread(user.id).await.password_hash, Some(hash_of("stronger")));
}

/// Requires that `session` is refused and that the refusal left no trace.
async fn expect_void(world: &World, session: NewSession, now: Timestamp) {
    let counted = new_bucket();
    count(world, counted, now).await;
    let mut session = session;
    session.clear = vec![counted];
    session.network = Some("refused network".to_owned());
    let before = world.store().user(session.record.user_id).await.unwrap();
    let login = act("session.login", now);
    world.news();
    assert_eq!(world.store().open_session(session.clone(), login.clone()).await.unwrap(), Opened::Void);
    assert_eq!(world.news(), []);
    assert_eq!(world.store().session(session.record.id).await.unwrap(), None);
    assert_eq!(world.store().session_by_refresh(session.refresh.unwrap()).await.unwrap(), None);
    assert_eq!(world.store().user(session.record.user_id).await.unwrap(), before);
    assert_eq!(world.store().attempts(&[counted]).await.unwrap().len(), 1, "a void sign-in clears nothing");
    assert!(!known(world, "ada", Some("refused network"), at(0)).await);
    world.expect_no_success(&login).await;
}

async fn is_void_once_the_verified_password_was_replaced(world: World) {
    let user = world.user("ada").await;
    let mut session = new_session(user.id, at(1));
    (session.verified_hash, session.rehashed) = (Some(hash_of("old")), Some(hash_of("old, stronger")));
    expect_void(&world, session, at(1)).await;
}

async fn is_void_for_an_account_that_may_not_sign_in(world: World) {
    let user = world.user("ada").await;
    for status in [UserStatus::Disabled, UserStatus::Locked] {
        world.store().set_status(user.id, status, None, act("user.status", at(1))).await.unwrap();
        expect_void(&world, new_session(user.id, at(2)), at(2)).await;
    }
    expect_void(&world, new_session(UserId::new(), at(2)), at(2)).await;
    assert_eq!(
        world.store().delete_user(user.id, Vec::new(), act("user.deleted", at(3))).await.unwrap(),
        Updated::Done(())
    );
    expect_void(&world, new_session(user.id, at(4)), at(4)).await;
}

async fn count(world: &World, bucket: Bucket, now: Timestamp) {
    let hour = std::time::Duration::from_secs(HOUR);
    let rule = BucketRule { bucket, limit: 5, window: hour, first_wait: hour, longest_wait: hour };
    world.store().count_failure(vec![rule], act("session.login_failed", now)).await.unwrap();
}

async fn clears_the_counters_named_and_no_others(world: World) {
    let user = world.user("ada").await;
    let (cleared, kept, never_counted) = (new_bucket(), new_bucket(), new_bucket());
    count(&world, cleared, at(1)).await;
    count(&world, kept, at(1)).await;
    let mut session = new_session(user.id, at(2));
    session.clear = vec![cleared, never_counted];
    world.open(session).await;
    let left = world.store().attempts(&[cleared, kept, never_counted]).await.unwrap();
    assert_eq!(left.iter().map(|counter| counter.bucket).collect::<Vec<_>>(), [kept]);
}

pub(super) async fn known(world: &World, name: &str, network: Option<&str>, since: Timestamp) -> bool {
    let network = network.map(str::to_owned);
    let query = SignInQuery {
        email_key: email_of(name),
        network,
        device: None,
        presented: None,
        known_since: since,
        buckets: Vec::new(),
    };
    world.store().sign_in_facts(query).await.unwrap().known_network
}

async fn remembers_the_network_of_a_sign_in(world: World) {
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut session = new_session(ada.id, at(100));
    session.network = Some("203.0.113.0/24".to_owned());
    world.open(session).await;
    world.sign_in(bob.id, at(100)).await;
    assert!(known(&world, "ada", Some("203.0.113.0/24"), at(99)).await);
    assert!(!known(&world, "ada", Some("203.0.113.0/24"), at(101)).await, "too long ago");
    assert!(!known(&world, "ada", Some("198.51.100.0/24"), at(99)).await, "another network");
    assert!(!known(&world, "ada", None, at(99)).await, "no network");
    assert!(!known(&world, "bob", Some("203.0.113.0/24"), at(99)).await, "somebody else's network");

    let mut again = new_session(ada.id, at(200));
    again.network = Some("203.0.113.0/24".to_owned());
    again.refresh = Some(SecretHash::of(&unique_bytes()));
    world.open(again).await;
    assert!(known(&world, "ada", Some("203.0.113.0/24"), at(150)).await, "the latest sign-in counts");
}
