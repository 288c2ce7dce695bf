//! What the nodes of a deployment share is founded once, however many of them start at the same time.

use super::{
    Case,
    act::{act, at, hash_of, new_user, unique_bytes},
    room,
    world::{World, added, at_once},
};
use crate::{
    changes::Change,
    store::{Created, KeyState, NewUser, SigningKeyRecord, StoreError},
};

pub(super) const CASES: &[Case] = room!["deployment":
    keeps_the_first_value_of_a_name,
    gives_parallel_callers_the_same_value,
    has_no_signing_key_before_one_is_founded,
    founds_one_signing_key_for_all_nodes,
    founds_the_platform_administrator_once,
    never_promotes_an_account_to_administrator,
    founds_one_administrator_for_all_nodes,
    answers_its_time_and_its_pings,
    takes_no_write_after_it_was_closed,
];

async fn keeps_the_first_value_of_a_name(world: World) {
    for (name, value, expected) in
        [("first", "one", "one"), ("first", "two", "one"), ("second", "two", "two"), ("first", "three", "one")]
    {
        assert_eq!(world.store().keep_value(name, value.to_owned()).await.unwrap(), expected);
    }
}

async fn gives_parallel_callers_the_same_value(world: World) {
    let values = at_once(32, |index| {
        let world = world.clone();
        async move { world.store().keep_value("shared", index.to_string()).await.unwrap() }
    })
    .await;
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    assert!(values[0].parse::<usize>().unwrap() < 32);
}

pub(super) fn new_key(kid: &str) -> SigningKeyRecord {
    SigningKeyRecord {
        kid: kid.to_owned(),
        alg: "EdDSA".to_owned(),
        state: KeyState::Active,
        sealed: unique_bytes().to_vec(),
        created_at: at(1),
        activates_at: at(2),
        retires_at: None,
    }
}

async fn has_no_signing_key_before_one_is_founded(world: World) {
    assert_eq!(world.store().signing_keys().await.unwrap(), []);
    let mut key = new_key("kid");
    // Every byte there is, and a moment in the optional field.
    (key.sealed, key.retires_at) = ((0..=255).collect(), Some(at(3)));
    let founding = act("signing_key.created", at(1));
    let keys = world.store().found_signing_keys(key.clone(), founding.clone()).await.unwrap();
    assert_eq!(world.news(), [Change::SigningKeysChanged]);
    assert_eq!(keys, [key.clone()]);
    assert_eq!(world.store().signing_keys().await.unwrap(), [key.clone()]);
    world.expect_entry(&founding, "success").await;

    let late = act("signing_key.created", at(2));
    assert_eq!(world.store().found_signing_keys(new_key("another"), late.clone()).await.unwrap(), [key]);
    assert_eq!(world.news(), []);
    assert_eq!(world.entries(&late).await, [], "nothing was founded");
}

async fn founds_one_signing_key_for_all_nodes(world: World) {
    let answers = at_once(32, |index| {
        let world = world.clone();
        async move {
            let founding = act("signing_key.created", at(1));
            let keys = world.store().found_signing_keys(new_key(&format!("kid {index}")), founding.clone()).await;
            (keys.unwrap(), founding)
        }
    })
    .await;
    let keys = world.store().signing_keys().await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mut recorded = 0;
    for (answer, founding) in answers {
        assert_eq!(answer, keys);
        recorded += world.entries(&founding).await.len();
    }
    assert_eq!(recorded, 1, "only the founder's act happened");
    assert_eq!(world.news(), [Change::SigningKeysChanged]);
}

fn new_admin(name: &str) -> NewUser {
    NewUser { platform_admin: true, ..new_user(name) }
}

async fn founds_the_platform_administrator_once(world: World) {
    let (founding, late) = (act("user.founded", at(1)), act("user.founded", at(2)));
    let admin = added(world.store().found_admin(new_admin("root"), founding.clone()).await.unwrap());
    assert!(admin.platform_admin);
    assert_eq!(world.reread(admin.id).await, admin);
    world.expect_entry(&founding, "success").await;
    for name in ["root", "other"] {
        let second = new_admin(name);
        let answer = world.store().found_admin(second.clone(), late.clone()).await.unwrap();
        assert_eq!(answer, Created::AlreadyFounded);
        assert_eq!(world.store().user(second.id).await.unwrap(), None);
    }
    assert_eq!(world.reread(admin.id).await, admin);
    world.expect_no_success(&late).await;
}

async fn never_promotes_an_account_to_administrator(world: World) {
    let user = world.user("root").await;
    let mut admin = new_admin("root");
    admin.password_hash = Some(hash_of("mallory"));
    let founding = act("user.founded", at(1));
    assert_eq!(world.store().found_admin(admin, founding.clone()).await.unwrap(), Created::EmailTaken);
    assert_eq!(world.reread(user.id).await, user);
    world.expect_no_success(&founding).await;
    let other = added(world.store().found_admin(new_admin("other"), act("user.founded", at(2))).await.unwrap());
    assert!(other.platform_admin, "another e-mail still can be founded");
}

async fn founds_one_administrator_for_all_nodes(world: World) {
    // Nodes are configured alike, but a deployment in the middle of a change has two configurations.
    let answers = at_once(32, |index| {
        let world = world.clone();
        let admin = new_admin(if index % 2 == 0 { "root" } else { "other" });
        async move { world.store().found_admin(admin, act("user.founded", at(1))).await.unwrap() }
    })
    .await;
    let (new, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| matches!(answer, Created::New(_)));
    assert_eq!(new.len(), 1, "exactly one founding may win");
    assert!(others.iter().all(|answer| *answer == Created::AlreadyFounded), "{others:?}");
}

async fn answers_its_time_and_its_pings(world: World) {
    world.store().ping().await.unwrap();
    let first = world.store().now().await.unwrap();
    assert!(first > at(0), "the suite's time is in the past: {first}");
    assert!(world.store().now().await.unwrap() >= first);
}

async fn takes_no_write_after_it_was_closed(world: World) {
    world.makes_table_incomparable();
    let answers = at_once(17, |index| {
        let world = world.clone();
        async move {
            if index == 8 {
                world.store().close().await;
                return None;
            }
            Some(world.store().create_user(new_user(&index.to_string()), act("user.created", at(0))).await)
        }
    })
    .await;
    for answer in answers.into_iter().flatten() {
        let whole = matches!(answer, Ok(Created::New(_)) | Err(StoreError::Unavailable(_)));
        assert!(whole, "a write is done or refused: {answer:?}");
    }
    let late = world.store().create_user(new_user("late"), act("user.created", at(1))).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    // Twice is once.
    world.store().close().await;
}
