//! Proofs of possession: each used once, and sessions that are bound to a key.

use super::{
    Case,
    act::{DAY, act, at, new_session, of_nothing, rotation},
    refresh::{Verdict, rotate, verdict},
    room,
    world::{SignedIn, World, at_once},
};
use crate::{
    id::{RequestUuid, UserId},
    secret::SecretHash,
    store::{NewSession, Opened, Proof, PurgeBefore, Rotation},
};

pub(super) const CASES: &[Case] = room!["proof":
    uses_a_proof_once,
    lets_one_of_many_use_a_proof,
    forgets_proofs_that_are_too_old_by_far,
    keeps_the_key_of_a_session,
    opens_no_session_with_a_used_proof,
    refreshes_a_bound_session_with_a_proof_of_its_key_only,
    gives_the_same_successor_again_to_the_key_only,
    ends_no_session_for_whoever_cannot_prove_its_key,
    refuses_a_refresh_with_a_used_proof_and_uses_up_no_token,
    refreshes_a_session_that_is_bound_to_none_with_any_proof,
];

/// A proof of the key `key` that was never made before.
fn new_proof(key: u8) -> Proof {
    Proof { key: [key; 32], id: SecretHash::of(RequestUuid::new().as_uuid().as_bytes()), expires_at: at(100) }
}

fn proven(token: SecretHash, proof: Option<Proof>) -> Rotation {
    Rotation { proof, ..rotation(token) }
}

/// A session bound to the key `key`.
fn bound(user: UserId, key: u8) -> NewSession {
    let mut session = new_session(user, at(0));
    session.proof = Some(new_proof(key));
    session.record.key_thumbprint = Some(vec![key; 32]);
    session
}

async fn bound_session(world: &World) -> (UserId, SignedIn) {
    let user = world.user("ada").await.id;
    (user, world.open(bound(user, 1)).await)
}

async fn uses_a_proof_once(world: World) {
    let (proof, other) = (new_proof(1), new_proof(1));
    assert!(world.store().use_proof(proof).await.unwrap());
    assert!(!world.store().use_proof(proof).await.unwrap());
    assert!(world.store().use_proof(other).await.unwrap());
}

async fn lets_one_of_many_use_a_proof(world: World) {
    for _ in 0..4 {
        let proof = new_proof(1);
        let answers = at_once(32, |_| {
            let world = world.clone();
            async move { world.store().use_proof(proof).await.unwrap() }
        })
        .await;
        assert_eq!(answers.into_iter().filter(|used| *used).count(), 1);
    }
}

async fn forgets_proofs_that_are_too_old_by_far(world: World) {
    let (old, young) = (new_proof(1), Proof { expires_at: at(200), ..new_proof(1) });
    for proof in [old, young] {
        assert!(world.store().use_proof(proof).await.unwrap());
    }
    let before = PurgeBefore { proofs: at(150), ..of_nothing() };
    assert_eq!(world.store().purge(before).await.unwrap(), 1);
    assert!(!world.store().use_proof(young).await.unwrap(), "it is still of use");
    assert!(world.store().use_proof(old).await.unwrap());
}

async fn keeps_the_key_of_a_session(world: World) {
    let (user, session) = bound_session(&world).await;
    let free = world.sign_in(user, at(0)).await;
    assert_eq!(world.session(session.id).await.key_thumbprint, Some(vec![1; 32]));
    assert_eq!(world.session(free.id).await.key_thumbprint, None);
    let (by_token, _) = world.store().session_by_refresh(session.refresh).await.unwrap().unwrap();
    assert_eq!(by_token.key_thumbprint, Some(vec![1; 32]));
}

async fn opens_no_session_with_a_used_proof(world: World) {
    let user = world.user("ada").await.id;
    let first = bound(user, 1);
    let again = NewSession { proof: first.proof, ..bound(user, 1) };
    world.open(first).await;
    let (before, login) = (world.live(user, at(1)).await, act("session.login", at(1)));
    assert_eq!(world.store().open_session(again.clone(), login.clone()).await.unwrap(), Opened::ProofUsed);
    world.expect_no_success(&login).await;
    assert_eq!(world.live(user, at(1)).await, before);
    assert_eq!(world.store().session(again.record.id).await.unwrap(), None);
}

async fn refreshes_a_bound_session_with_a_proof_of_its_key_only(world: World) {
    let (_, session) = bound_session(&world).await;
    let before = world.session(session.id).await;
    for proof in [None, Some(new_proof(2))] {
        let attempt = proven(session.refresh, proof);
        assert_eq!(verdict(&rotate(&world, &attempt, at(10)).await), Verdict::Unproven);
        assert_eq!(world.store().session_by_refresh(attempt.successor).await.unwrap(), None);
    }
    assert_eq!(world.session(session.id).await, before);
    let first = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &first, at(11)).await), Verdict::Fresh);
    assert_eq!(verdict(&rotate(&world, &rotation(first.successor), at(12)).await), Verdict::Unproven);
    assert_eq!(verdict(&rotate(&world, &proven(first.successor, Some(new_proof(1))), at(13)).await), Verdict::Fresh);
}

async fn gives_the_same_successor_again_to_the_key_only(world: World) {
    let (_, session) = bound_session(&world).await;
    let first = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &first, at(10)).await), Verdict::Fresh);
    for proof in [None, Some(new_proof(2))] {
        assert_eq!(verdict(&rotate(&world, &proven(session.refresh, proof), at(11)).await), Verdict::Unproven);
    }
    let again = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &again, at(12)).await), Verdict::Again(first.salt));
}

async fn ends_no_session_for_whoever_cannot_prove_its_key(world: World) {
    let (user, session) = bound_session(&world).await;
    let first = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &first, at(10)).await), Verdict::Fresh);
    world.news();
    for proof in [None, Some(new_proof(2))] {
        assert_eq!(verdict(&rotate(&world, &proven(session.refresh, proof), at(DAY / 2)).await), Verdict::Unproven);
    }
    assert_eq!(world.news(), []);
    assert_eq!(world.live(user, at(DAY / 2)).await, [session.id]);
    let late = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &late, at(DAY / 2)).await), Verdict::Reused);
    assert_eq!(world.live(user, at(DAY / 2)).await, []);
}

async fn refuses_a_refresh_with_a_used_proof_and_uses_up_no_token(world: World) {
    let (_, session) = bound_session(&world).await;
    let proof = new_proof(1);
    assert!(world.store().use_proof(proof).await.unwrap());
    let refreshed = act("session.refreshed", at(10));
    let attempt = proven(session.refresh, Some(proof));
    let answer = world.store().rotate_refresh(attempt.clone(), refreshed.clone()).await.unwrap();
    assert_eq!(verdict(&answer), Verdict::ProofUsed);
    world.expect_no_success(&refreshed).await;
    assert_eq!(world.store().session_by_refresh(attempt.successor).await.unwrap(), None);
    let next = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &next, at(11)).await), Verdict::Fresh);
    assert!(!world.store().use_proof(next.proof.unwrap()).await.unwrap(), "it is used up with the token");
}

async fn refreshes_a_session_that_is_bound_to_none_with_any_proof(world: World) {
    let user = world.user("ada").await.id;
    let session = world.sign_in(user, at(0)).await;
    let first = proven(session.refresh, Some(new_proof(1)));
    assert_eq!(verdict(&rotate(&world, &first, at(10)).await), Verdict::Fresh);
    assert_eq!(world.session(session.id).await.key_thumbprint, None);
    assert_eq!(verdict(&rotate(&world, &rotation(first.successor), at(11)).await), Verdict::Fresh);
}
