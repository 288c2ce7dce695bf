//! Signing keys change as they were seen or not at all, and what one node at a time does, one node does.

use super::{
    Case,
    act::{act, at, unique_bytes},
    room,
    world::{World, at_once},
};
use crate::{
    audit::Act,
    changes::Change,
    clock::Timestamp,
    id::NodeId,
    store::{KeyChange, KeyState, KeysChanged, SharedStore, SigningKeyRecord},
};

pub(super) const CASES: &[Case] = room!["signing_keys":
    has_none_before_one_is_founded,
    founds_one_for_all_nodes,
    keeps_every_field_and_changes_those_that_change,
    changes_nothing_that_is_not_as_it_was_seen,
    takes_refused_material_never_again,
    lets_one_of_many_changes_through,
    gives_a_lease_to_one_holder_until_its_time_is_over,
    gives_a_lease_to_one_of_many,
];

pub(super) fn new_key(kid: &str) -> SigningKeyRecord {
    SigningKeyRecord {
        kid: kid.to_owned(),
        alg: "EdDSA".to_owned(),
        state: KeyState::Active,
        sealed: unique_bytes().to_vec(),
        created_at: at(1),
        activates_at: at(2),
        retires_at: None,
        fingerprint: None,
        reference: None,
        imported: false,
        token_life: 600,
        jwks_max_age: 300,
        revoked_at: None,
    }
}

/// A key that has every field.
fn full_key(kid: &str) -> SigningKeyRecord {
    SigningKeyRecord {
        sealed: (0..=255).collect(),
        retires_at: Some(at(3)),
        fingerprint: Some((0..=255).rev().collect()),
        reference: Some(format!("kms/{kid}")),
        imported: true,
        token_life: i64::MAX,
        jwks_max_age: 0,
        revoked_at: Some(at(4)),
        ..new_key(kid)
    }
}

/// Adds the first key, as a fresh deployment does.
pub(super) async fn found_keys(store: &SharedStore, key: SigningKeyRecord, act: Act) -> KeysChanged {
    let change = KeyChange { put: vec![key], ..KeyChange::default() };
    store.change_signing_keys(change, act).await.unwrap()
}

async fn has_none_before_one_is_founded(world: World) {
    assert_eq!(world.store().signing_keys().await.unwrap(), []);
    let (key, founding) = (full_key("kid"), act("signing_key.created", at(1)));
    let founded = found_keys(world.store(), key.clone(), founding.clone()).await;
    assert_eq!(world.news(), [Change::SigningKeysChanged]);
    assert_eq!(founded, KeysChanged::Done(vec![key.clone()]));
    assert_eq!(world.store().signing_keys().await.unwrap(), std::slice::from_ref(&key));
    world.expect_entry(&founding, "success").await;

    let late = act("signing_key.created", at(2));
    assert_eq!(found_keys(world.store(), new_key("another"), late.clone()).await, KeysChanged::Stale);
    assert_eq!(world.store().signing_keys().await.unwrap(), [key]);
    assert_eq!(world.news(), []);
    assert_eq!(world.entries(&late).await, [], "nothing was founded");
}

async fn founds_one_for_all_nodes(world: World) {
    let answers = at_once(32, |index| {
        let world = world.clone();
        async move {
            let founding = act("signing_key.created", at(1));
            let founded = found_keys(world.store(), new_key(&format!("kid {index}")), founding.clone()).await;
            (founded, founding)
        }
    })
    .await;
    let keys = world.store().signing_keys().await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mut recorded = 0;
    for (founded, founding) in answers {
        assert!(founded == KeysChanged::Stale || founded == KeysChanged::Done(keys.clone()), "{founded:?}");
        recorded += world.entries(&founding).await.len();
    }
    assert_eq!(recorded, 1, "only the founder's act happened");
    assert_eq!(world.news(), [Change::SigningKeysChanged]);
}

async fn keeps_every_field_and_changes_those_that_change(world: World) {
    let store = world.store();
    let (old, other) = (new_key("a"), new_key("b"));
    let put = vec![old.clone(), other.clone()];
    let change = KeyChange { put, ..KeyChange::default() };
    let KeysChanged::Done(seen) = store.change_signing_keys(change, act("signing_key.created", at(1))).await.unwrap()
    else {
        panic!("nobody else writes")
    };
    assert_eq!(seen, [old.clone(), other], "oldest first, then by name");

    let state = KeyState::Retired;
    let new = SigningKeyRecord { state, reference: None, imported: false, ..full_key("a") };
    let added = SigningKeyRecord { created_at: at(0), ..full_key("c") };
    let put = vec![new.clone(), added.clone()];
    let change = KeyChange { seen, put, remove: vec!["b".to_owned(), "nobody".to_owned()], refuse: Vec::new() };
    let changing = act("signing_key.rotated", at(2));
    let changed = store.change_signing_keys(change, changing.clone()).await.unwrap();
    assert_eq!(changed, KeysChanged::Done(vec![added.clone(), new.clone()]));
    assert_eq!(store.signing_keys().await.unwrap(), [added, new]);
    assert_eq!(world.news(), [Change::SigningKeysChanged; 2]);
    world.expect_entry(&changing, "success").await;
}

async fn changes_nothing_that_is_not_as_it_was_seen(world: World) {
    let store = world.store();
    let key = full_key("a");
    found_keys(store, key.clone(), act("signing_key.created", at(1))).await;
    world.news();
    let unlike = [
        SigningKeyRecord { state: KeyState::Retiring, ..key.clone() },
        SigningKeyRecord { sealed: vec![1], ..key.clone() },
        SigningKeyRecord { retires_at: None, ..key.clone() },
        SigningKeyRecord { token_life: 1, ..key.clone() },
        SigningKeyRecord { revoked_at: None, ..key.clone() },
    ];
    let pasts = unlike.into_iter().map(|key| vec![key]).chain([vec![], vec![key.clone(), new_key("b")]]);
    for seen in pasts {
        let (put, remove) = (vec![new_key("c")], vec!["a".to_owned()]);
        let change = KeyChange { seen, put, remove, refuse: vec![vec![7]] };
        let late = act("signing_key.rotated", at(2));
        assert_eq!(store.change_signing_keys(change, late.clone()).await.unwrap(), KeysChanged::Stale);
        assert_eq!(world.entries(&late).await, []);
    }
    assert_eq!(store.signing_keys().await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(world.news(), []);
    let put = vec![SigningKeyRecord { fingerprint: Some(vec![7]), ..new_key("c") }];
    let change = KeyChange { seen: vec![key], put, ..KeyChange::default() };
    let taken = store.change_signing_keys(change, act("signing_key.created", at(3))).await.unwrap();
    assert!(matches!(taken, KeysChanged::Done(_)), "nor was anything refused: {taken:?}");
}

async fn takes_refused_material_never_again(world: World) {
    let store = world.store();
    let key = SigningKeyRecord { fingerprint: Some(vec![1, 2, 3]), ..new_key("a") };
    found_keys(store, key.clone(), act("signing_key.created", at(1))).await;
    let revoked = SigningKeyRecord { state: KeyState::Retired, revoked_at: Some(at(2)), ..key.clone() };
    let change = KeyChange {
        seen: vec![key],
        put: vec![revoked.clone(), new_key("b")],
        refuse: vec![vec![1, 2, 3], vec![1, 2, 3]],
        ..KeyChange::default()
    };
    let done = store.change_signing_keys(change, act("signing_key.revoked", at(2))).await.unwrap();
    let KeysChanged::Done(seen) = done else { panic!("{done:?}") };
    // The key's own row may still change, and goes at last; its material stays refused.
    let change = KeyChange { seen: seen.clone(), remove: vec!["a".to_owned()], ..KeyChange::default() };
    let done = store.change_signing_keys(change, act("signing_key.purged", at(3))).await.unwrap();
    let KeysChanged::Done(seen) = done else { panic!("{done:?}") };
    world.news();
    let again = SigningKeyRecord { fingerprint: Some(vec![1, 2, 3]), ..new_key("c") };
    let change = KeyChange { seen: seen.clone(), put: vec![new_key("d"), again], ..KeyChange::default() };
    let late = act("signing_key.created", at(4));
    assert_eq!(store.change_signing_keys(change, late.clone()).await.unwrap(), KeysChanged::RefusedMaterial);
    assert_eq!((store.signing_keys().await.unwrap(), world.news()), (seen, vec![]));
    assert_eq!(world.entries(&late).await, []);
}

async fn lets_one_of_many_changes_through(world: World) {
    found_keys(world.store(), new_key("a"), act("signing_key.created", at(1))).await;
    let seen = world.store().signing_keys().await.unwrap();
    world.news();
    let answers = at_once(16, |index| {
        let (world, seen) = (world.clone(), seen.clone());
        async move {
            let change = KeyChange { seen, put: vec![new_key(&format!("new {index}"))], ..KeyChange::default() };
            world.store().change_signing_keys(change, act("signing_key.rotated", at(2))).await.unwrap()
        }
    })
    .await;
    let done = answers.iter().filter(|answer| matches!(answer, KeysChanged::Done(_))).count();
    assert_eq!((done, world.store().signing_keys().await.unwrap().len()), (1, 2), "{answers:?}");
    assert_eq!(world.news(), [Change::SigningKeysChanged]);
}

async fn gives_a_lease_to_one_holder_until_its_time_is_over(world: World) {
    let (one, two) = (NodeId::new(), NodeId::new());
    let take =
        async |name, holder, now: Timestamp, until| world.store().take_lease(name, holder, now, until).await.unwrap();
    assert!(take("a", one, at(0), at(10)).await);
    assert!(!take("a", two, at(9), at(20)).await);
    assert!(take("b", two, at(9), at(20)).await, "another lease");
    assert!(take("a", one, at(9), at(20)).await, "its own, for longer");
    assert!(!take("a", two, at(10), at(30)).await);
    assert!(take("a", two, at(20), at(30)).await);
    assert!(!take("a", one, at(21), at(40)).await);
    assert!(take("a", two, at(22), at(22)).await, "given back");
    assert!(take("a", one, at(22), at(40)).await);
    assert_eq!(world.news(), []);
}

async fn gives_a_lease_to_one_of_many(world: World) {
    for round in 0..5 {
        let taken = at_once(16, |_| {
            let world = world.clone();
            let take = async move |now, until| world.store().take_lease("x", NodeId::new(), now, until).await.unwrap();
            async move { take(at(round * 10), at(round * 10 + 10)).await }
        })
        .await;
        assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 1, "round {round}");
    }
}
