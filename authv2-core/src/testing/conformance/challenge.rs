//! Sign-ins that wait for their second factor: opened once, answered once, tried a few times, dead with the password.

use super::{
    Case,
    act::{act, at, hash_of, new_session, new_token, of_nothing},
    mfa::{enrolled, step},
    room,
    world::{World, at_once, done},
};
use crate::{
    changes::Change,
    id::{OrgId, RequestUuid, StoreId, UserId},
    secret::SecretHash,
    store::{
        ChallengeRecord, Challenged, NewChallenge, NewSession, Opened, Proof, PurgeBefore, Redacted, SecondFactor,
        Spends, Transport, UserStatus,
    },
};

pub(super) const CASES: &[Case] = room!["challenge":
    waits_until_it_expires,
    keeps_a_password_that_was_hashed_anew,
    is_void_for_another_password_or_account,
    uses_a_proof_up,
    is_answered_once,
    keeps_what_was_not_used_up,
    is_tried_so_many_times_and_no_more,
    dies_with_the_password_and_with_the_second_factor,
    is_forgotten_once_it_has_expired,
];

pub(super) fn new_challenge(user: UserId) -> NewChallenge {
    let record = ChallengeRecord {
        hash: new_token(),
        user,
        transport: Transport::Bearer,
        organization: None,
        store: None,
        amr: "pwd".to_owned(),
        key_thumbprint: None,
        signs: String::new(),
        tries: 0,
        expires_at: at(300),
    };
    NewChallenge { record, verified_hash: None, rehashed: None, link: None, proof: None }
}

async fn opened(world: &World, user: UserId) -> SecretHash {
    let new = new_challenge(user);
    let hash = new.record.hash;
    assert_eq!(open(world, new).await, Challenged::New);
    hash
}

async fn open(world: &World, new: NewChallenge) -> Challenged {
    world.store().open_challenge(new, act("session.mfa_required", at(10))).await.unwrap()
}

async fn is_there(world: &World, hash: SecretHash) -> bool {
    world.store().challenge(hash, at(11)).await.unwrap().is_some()
}

fn answer(user: UserId, challenge: SecretHash, factor: SecondFactor) -> NewSession {
    let spends = Spends { challenge: Some(challenge), factor: Some(factor), link: None };
    NewSession { spends, ..new_session(user, at(20)) }
}

async fn waits_until_it_expires(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    let mut new = new_challenge(user);
    new.record.transport = Transport::Cookie;
    (new.record.organization, new.record.store) = (Some(OrgId::new()), Some(StoreId::new()));
    new.record.key_thumbprint = Some(vec![7; 32]);
    new.record.signs = "new_device".to_owned();
    let required = act("session.mfa_required", at(10));
    assert_eq!(world.store().open_challenge(new.clone(), required.clone()).await.unwrap(), Challenged::New);
    world.expect_entry(&required, "success").await;
    assert_eq!(world.store().challenge(new.record.hash, at(299)).await.unwrap(), Some(new.record.clone()));
    assert_eq!(world.store().challenge(new.record.hash, at(300)).await.unwrap(), None);
    assert_eq!(world.store().challenge(new_token(), at(20)).await.unwrap(), None);
}

async fn keeps_a_password_that_was_hashed_anew(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    world.news();
    let rehashed = Redacted("the same, under better parameters".to_owned());
    let new =
        NewChallenge { verified_hash: Some(hash_of("ada")), rehashed: Some(rehashed.clone()), ..new_challenge(user) };
    assert_eq!(open(&world, new).await, Challenged::New);
    assert_eq!(world.reread(user).await.password_hash, Some(rehashed));
    assert_eq!(world.news(), [Change::UserChanged { user }]);
}

async fn is_void_for_another_password_or_account(world: World) {
    let (user, without) = (enrolled(&world, "ada", &[]).await, world.user("bob").await.id);
    let wrong = NewChallenge { verified_hash: Some(Redacted("another".to_owned())), ..new_challenge(user) };
    for new in [wrong, new_challenge(without), new_challenge(UserId::new())] {
        let hash = new.record.hash;
        assert_eq!(open(&world, new).await, Challenged::Void);
        assert!(!is_there(&world, hash).await);
    }
    done(world.store().set_status(user, UserStatus::Locked, None, act("user.locked", at(9))).await.unwrap());
    assert_eq!(open(&world, new_challenge(user)).await, Challenged::Void);
}

async fn uses_a_proof_up(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    let id = SecretHash::of(RequestUuid::new().as_uuid().as_bytes());
    let proof = Proof { key: [1; 32], id, expires_at: at(100) };
    let proven = || NewChallenge { proof: Some(proof), ..new_challenge(user) };
    assert_eq!(open(&world, proven()).await, Challenged::New);
    let again = proven();
    let hash = again.record.hash;
    assert_eq!(open(&world, again).await, Challenged::ProofUsed);
    assert!(!is_there(&world, hash).await);
    let unknown_link = NewChallenge { link: Some(new_token()), ..new_challenge(user) };
    assert_eq!(open(&world, unknown_link).await, Challenged::Spent);
}

async fn is_answered_once(world: World) {
    let codes: Vec<SecretHash> = (0..24).map(|_| new_token()).collect();
    let user = enrolled(&world, "ada", &codes).await;
    let hash = opened(&world, user).await;
    // Each with a factor of its own that would be good.
    let answers = at_once(codes.len(), |index| {
        let (world, code) = (world.clone(), codes[index]);
        async move {
            let session = answer(user, hash, SecondFactor::RecoveryCode(code));
            world.store().open_session(session, act("session.login", at(20))).await.unwrap()
        }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Opened::New(_))).count(), 1, "{answers:?}");
    assert!(!is_there(&world, hash).await);
    let left = world.store().totp(user).await.unwrap().unwrap().recovery_codes;
    assert_eq!(left, 23, "who came too late keeps the code");
}

async fn keeps_what_was_not_used_up(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    let (hash, other) = (opened(&world, user).await, enrolled(&world, "bob", &[]).await);
    let login = || act("session.login", at(20));
    let wrong = answer(user, hash, step(100));
    assert_eq!(world.store().open_session(wrong, login()).await.unwrap(), Opened::Spent);
    assert!(is_there(&world, hash).await, "the factor was used before, and the challenge goes on");
    let anothers = answer(other, hash, step(101));
    assert_eq!(world.store().open_session(anothers, login()).await.unwrap(), Opened::Spent);
    assert_eq!(world.store().totp(other).await.unwrap().unwrap().last_step, 100);
    let late = act("session.login", at(301));
    let expired = answer(user, hash, step(101));
    assert_eq!(world.store().open_session(expired, late).await.unwrap(), Opened::Spent);
    let right = answer(user, hash, step(101));
    assert!(matches!(world.store().open_session(right, login()).await.unwrap(), Opened::New(_)));
}

async fn is_tried_so_many_times_and_no_more(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    let (hash, other) = (opened(&world, user).await, opened(&world, user).await);
    let answers = at_once(32, |_| {
        let world = world.clone();
        async move { world.store().count_try(hash, 5, at(12)).await.unwrap() }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|counted| *counted).count(), 5);
    assert_eq!(world.store().challenge(hash, at(13)).await.unwrap().unwrap().tries, 5);
    assert!(world.store().count_try(other, 5, at(12)).await.unwrap());
    assert!(!world.store().count_try(other, 5, at(300)).await.unwrap(), "it has expired");
    assert!(!world.store().count_try(new_token(), 5, at(12)).await.unwrap());
}

async fn dies_with_the_password_and_with_the_second_factor(world: World) {
    let (user, other) = (enrolled(&world, "ada", &[]).await, enrolled(&world, "bob", &[]).await);
    let (hash, stays) = (opened(&world, user).await, opened(&world, other).await);
    let changed = world
        .store()
        .change_password(user, Some(hash_of("ada").0), "new".to_owned(), None, act("user.password_changed", at(11)))
        .await;
    done(changed.unwrap());
    assert!(!is_there(&world, hash).await);
    assert!(is_there(&world, stays).await);
    assert!(world.store().remove_mfa(other, step(101), act("mfa.disabled", at(12))).await.unwrap());
    assert!(!is_there(&world, stays).await);
}

async fn is_forgotten_once_it_has_expired(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    let old = opened(&world, user).await;
    let mut young = new_challenge(user);
    young.record.expires_at = at(600);
    let young_hash = young.record.hash;
    assert_eq!(open(&world, young).await, Challenged::New);
    let before = PurgeBefore { challenges: at(400), ..of_nothing() };
    assert_eq!(world.store().purge(before).await.unwrap(), 1);
    assert!(!is_there(&world, old).await && is_there(&world, young_hash).await);
}
