//! What the nodes of a deployment share is founded once, however many of them start at the same time.

use super::{
    Case,
    act::{act, at, hash_of, new_user},
    room,
    world::{World, added, at_once},
};
use crate::store::{Created, NewUser, StoreError};

pub(super) const CASES: &[Case] = room!["deployment":
    keeps_the_first_value_of_a_name,
    gives_parallel_callers_the_same_value,
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
