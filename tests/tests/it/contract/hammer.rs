//! A change of roles is seen by the very next request, under load too.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use authv2_tests::fuzz::Nonsense;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    fixture::{Store, on_each_store},
    tenancy::{Organization, Person, allow, deny, deploy, held},
};

on_each_store!(a_check_begun_after_a_change_was_answered_agrees_with_it);

const CHANGES: usize = 30;
const READERS: usize = 4;

/// Which change is being made, and which has been answered; even ones allow, odd ones do not.
struct Turn {
    begun: AtomicUsize,
    answered: AtomicUsize,
    over: AtomicBool,
}

/// A way to give and to take the right.
#[derive(Debug, Clone, Copy)]
enum Way {
    Grant,
    Deny,
    Inherit,
    Assign,
}

async fn a_check_begun_after_a_change_was_answered_agrees_with_it(store: Store) {
    let deployment = deploy(store).await;
    let acme = Organization::found(&deployment.api, "acme", "ada").await;
    acme.role("reader", json!([allow("orders:read")])).await;
    acme.role("clerk", json!([allow("orders:read")])).await;
    let bob = acme.member("bob", json!([held("clerk")])).await;
    let turn = Turn { begun: AtomicUsize::new(0), answered: AtomicUsize::new(0), over: AtomicBool::new(false) };
    let writing = async {
        change(&acme, &bob, &turn).await;
        turn.over.store(true, SeqCst);
    };
    let reading = join_all((0..READERS).map(|number| read(&bob, number, &turn)));
    let ((), judged) = tokio::join!(writing, reading);
    let judged: usize = judged.into_iter().sum();
    assert!(judged >= CHANGES, "{judged} checks judged: too few to tell anything");
}

/// Changes the roles to and fro, and asks each time.
async fn change(acme: &Organization, bob: &Person, turn: &Turn) {
    let mut nonsense = Nonsense::from_environment();
    let mut way = Way::Grant;
    for number in 1..=CHANGES {
        let allows = number % 2 == 0;
        // What was taken in one way is given back in the same.
        if !allows {
            way = *nonsense.choose(&[Way::Grant, Way::Deny, Way::Inherit, Way::Assign]);
        }
        turn.begun.store(number, SeqCst);
        write(acme, bob, way, allows).await;
        turn.answered.store(number, SeqCst);
        for _ in 0..=nonsense.below(3) {
            let seed = nonsense.seed();
            assert_eq!(bob.may("orders:read").await, allows, "right after change {number}, {way:?}, seed {seed}");
        }
    }
}

async fn write(acme: &Organization, bob: &Person, way: Way, allows: bool) {
    let clerk = |inherits: Value, grants: Value| json!({"inherits": inherits, "grants": grants});
    match (way, allows) {
        (Way::Assign, true) => acme.set_roles(bob, json!([held("clerk")])).await,
        (Way::Assign, false) => acme.set_roles(bob, json!([])).await,
        (Way::Grant, true) => acme.role("clerk", json!([allow("orders:read")])).await,
        (Way::Grant, false) => acme.role("clerk", json!([])).await,
        (Way::Deny, true) => acme.role("clerk", json!([allow("orders:read")])).await,
        (Way::Deny, false) => acme.role("clerk", json!([allow("orders:read"), deny("orders:*")])).await,
        // Another role's grant, by inheritance.
        (Way::Inherit, true) => acme.role_with("clerk", clerk(json!(["reader"]), json!([]))).await,
        (Way::Inherit, false) => acme.role_with("clerk", clerk(json!([]), json!([]))).await,
    }
}

/// Asks without end, in three ways; how many answers fell into no change and could be judged.
async fn read(bob: &Person, number: usize, turn: &Turn) -> usize {
    let mut judged = 0;
    while !turn.over.load(SeqCst) {
        let before = turn.answered.load(SeqCst);
        let allowed = match number % 3 {
            0 => bob.may("orders:read").await,
            1 => bob.get("/orders/7").await.status == 200,
            _ => bob.get("/auth/me").await.json["permissions"] == json!(["orders:read"]),
        };
        if turn.begun.load(SeqCst) == before {
            assert_eq!(allowed, before.is_multiple_of(2), "reader {number} saw what was before change {before}");
            judged += 1;
        }
    }
    judged
}
