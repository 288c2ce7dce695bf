//! Accounts: added once per e-mail, changed under optimistic locking, switched off and removed with their sessions.

use std::time::Duration;

use super::{
    Case,
    act::{HOUR, act, at, email_of, hash_of, new_bucket, new_user, rotation},
    room,
    world::{World, added, at_once, done, expect_same_changes, revoked},
};
use crate::{
    changes::Change,
    id::UserId,
    store::{BucketRule, Created, NewUser, ProfileChange, Rotated, Updated, UserStatus},
};

pub(super) const CASES: &[Case] = room!["account":
    finds_a_new_user_by_id_and_email,
    finds_nobody_it_does_not_know,
    keeps_the_first_account_of_an_email,
    counts_registrations_of_a_taken_email_only,
    tells_emails_apart_by_their_key_only,
    lets_one_of_many_parallel_registrations_win,
    changes_the_profile_of_the_version_seen,
    changes_the_profile_of_any_version_without_an_expectation,
    lets_one_of_many_parallel_updates_of_a_version_win,
    loses_no_parallel_update_without_an_expectation,
    ends_every_session_of_an_account_that_is_switched_off,
    revives_no_session_when_an_account_is_switched_on_again,
    keeps_the_status_of_another_version,
    removes_a_user_with_everything_it_had,
    changes_nothing_for_a_user_that_is_not_there,
];

fn named(name: &str) -> ProfileChange {
    ProfileChange { display_name: Some(Some(name.to_owned())) }
}

async fn finds_a_new_user_by_id_and_email(world: World) {
    let (new, registered) = (new_user("ada"), act("user.registered", at(5)));
    let user = added(world.store().create_user(new.clone(), registered.clone()).await.unwrap());
    assert_eq!((user.id, &user.email, &user.display_name), (new.id, &new.email, &new.display_name));
    assert_eq!((&user.password_hash, user.platform_admin), (&new.password_hash, false));
    assert_eq!((user.status, user.email_verified, user.mfa_enabled), (UserStatus::Active, false, false));
    assert_eq!((user.created_at, user.updated_at, user.last_login_at), (at(5), at(5), None));
    assert!(serde_json::from_str::<serde_json::Value>(&user.metadata).unwrap().is_object(), "{}", user.metadata);
    assert_eq!(world.store().user(new.id).await.unwrap().as_ref(), Some(&user));
    assert_eq!(world.store().user_by_email(&new.email_key).await.unwrap(), Some(user));
    world.expect_entry(&registered, "success").await;
}

async fn finds_nobody_it_does_not_know(world: World) {
    world.user("ada").await;
    assert_eq!(world.store().user(UserId::new()).await.unwrap(), None);
    for key in ["", "%", "ADA@example.test", "ada@example.test ", "ada@example"] {
        assert_eq!(world.store().user_by_email(key).await.unwrap(), None, "{key:?}");
    }
}

async fn keeps_the_first_account_of_an_email(world: World) {
    let first = world.user("ada").await;
    let mut second = new_user("ada");
    second.email = "Ada@Example.Test".to_owned();
    second.password_hash = Some(hash_of("mallory"));
    let registered = act("user.registered", at(1));
    world.news();
    assert_eq!(world.store().create_user(second.clone(), registered.clone()).await.unwrap(), Created::EmailTaken);
    assert_eq!(world.store().user(second.id).await.unwrap(), None);
    assert_eq!(world.store().user_by_email(&second.email_key).await.unwrap(), Some(first));
    assert_eq!(world.news(), []);
    world.expect_entry(&registered, "failure").await;
}

async fn counts_registrations_of_a_taken_email_only(world: World) {
    let hour = Duration::from_secs(HOUR);
    let bucket = new_bucket();
    let rule = BucketRule { bucket, limit: 2, window: hour, first_wait: hour, longest_wait: hour };
    for (second, count) in [(0, None), (1, Some(1)), (2, Some(2))] {
        let new = NewUser { count_if_taken: vec![rule], ..new_user("ada") };
        world.store().create_user(new, act("user.registered", at(second))).await.unwrap();
        let counted = world.store().attempts(&[bucket]).await.unwrap();
        assert_eq!(counted.first().map(|counter| counter.count), count);
        if count == Some(2) {
            assert_eq!(counted[0].blocked_until, at(2) + hour);
        }
    }
}

async fn tells_emails_apart_by_their_key_only(world: World) {
    let (mut first, mut second) = (new_user("ada"), new_user("ada"));
    (first.email_key, second.email_key) = ("key of one".to_owned(), "key of two".to_owned());
    for new in [&first, &second] {
        added(world.store().create_user(new.clone(), act("user.registered", at(0))).await.unwrap());
    }
    for new in [first, second] {
        assert_eq!(world.store().user_by_email(&new.email_key).await.unwrap().map(|user| user.id), Some(new.id));
    }
    assert_eq!(world.store().user_by_email(&email_of("ada")).await.unwrap(), None);
}

async fn lets_one_of_many_parallel_registrations_win(world: World) {
    let answers = at_once(32, |_| {
        let world = world.clone();
        async move {
            let registered = act("user.registered", at(0));
            (world.store().create_user(new_user("ada"), registered.clone()).await.unwrap(), registered)
        }
    })
    .await;
    let mut winners = Vec::new();
    for (created, registered) in answers {
        match created {
            Created::New(user) => {
                world.expect_entry(&registered, "success").await;
                winners.push(user);
            }
            Created::EmailTaken => world.expect_entry(&registered, "failure").await,
            Created::AlreadyFounded => panic!("nobody is founded here"),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one registration may win");
    assert_eq!(world.store().user_by_email(&email_of("ada")).await.unwrap(), winners.pop());
}

async fn changes_the_profile_of_the_version_seen(world: World) {
    let user = world.user("ada").await;
    let (right, stale) = (act("user.updated", at(10)), act("user.updated", at(20)));
    let expected = Some(user.version);
    let changed = world.store().update_profile(user.id, named("Ada L."), expected, right.clone()).await.unwrap();
    let changed = done(changed);
    assert_eq!(changed.display_name.as_deref(), Some("Ada L."));
    assert_eq!((changed.version, changed.updated_at, changed.created_at), (user.version + 1, at(10), user.created_at));
    world.expect_entry(&right, "success").await;

    world.news();
    let late = world.store().update_profile(user.id, named("Eve"), expected, stale.clone()).await.unwrap();
    assert_eq!(late, Updated::Stale);
    assert_eq!(world.reread(user.id).await, changed);
    assert_eq!(world.news(), []);
    world.expect_no_success(&stale).await;
}

async fn changes_the_profile_of_any_version_without_an_expectation(world: World) {
    let user = world.user("ada").await;
    let removed = ProfileChange { display_name: Some(None) };
    let once = world.store().update_profile(user.id, named("Ada L."), None, act("user.updated", at(1))).await.unwrap();
    let twice = world.store().update_profile(user.id, removed, None, act("user.updated", at(2))).await.unwrap();
    assert_eq!(done(once).version, user.version + 1);
    let twice = done(twice);
    assert_eq!((twice.version, &twice.display_name), (user.version + 2, &None));
    let untouched = world.store().update_profile(user.id, ProfileChange::default(), None, act("user.updated", at(3)));
    assert_eq!(done(untouched.await.unwrap()).display_name, None);
    let after = world.reread(user.id).await;
    assert_eq!((after.email, after.password_hash, after.status), (user.email, user.password_hash, user.status));
}

async fn lets_one_of_many_parallel_updates_of_a_version_win(world: World) {
    let user = world.user("ada").await;
    let answers = at_once(32, |index| {
        let (world, expected) = (world.clone(), Some(user.version));
        async move {
            let update = act("user.updated", at(1));
            world.store().update_profile(user.id, named(&index.to_string()), expected, update).await.unwrap()
        }
    })
    .await;
    let mut winners: Vec<_> = answers.into_iter().filter(|answer| *answer != Updated::Stale).map(done).collect();
    assert_eq!(winners.len(), 1, "exactly one update of a version may win");
    assert_eq!(winners[0].version, user.version + 1);
    assert_eq!(Some(world.reread(user.id).await), winners.pop());
}

async fn loses_no_parallel_update_without_an_expectation(world: World) {
    let user = world.user("ada").await;
    let answers = at_once(16, |index| {
        let world = world.clone();
        async move {
            let update = act("user.updated", at(1));
            done(world.store().update_profile(user.id, named(&index.to_string()), None, update).await.unwrap()).version
        }
    })
    .await;
    let mut versions = answers;
    versions.sort_unstable();
    assert_eq!(versions, (1..=16).map(|grown| user.version + grown).collect::<Vec<_>>());
}

async fn ends_every_session_of_an_account_that_is_switched_off(world: World) {
    for (name, status) in [("ada", UserStatus::Disabled), ("bob", UserStatus::Locked)] {
        let (user, bystander) = (world.user(name).await, world.user(&format!("friend of {name}")).await);
        let (first, second) = (world.sign_in(user.id, at(1)).await, world.sign_in(user.id, at(2)).await);
        let other = world.sign_in(bystander.id, at(2)).await;
        let version = world.reread(user.id).await.version;
        let switched = act("user.disabled", at(10));
        world.news();
        let after = world.store().set_status(user.id, status, Some(version), switched.clone()).await.unwrap();
        let told = world.news();
        let after = done(after);
        assert_eq!((after.status, after.version), (status, version + 1));
        assert_eq!(world.reread(user.id).await, after);
        let gone = [revoked(first.id, user.id), revoked(second.id, user.id), Change::UserChanged { user: user.id }];
        expect_same_changes(&told, &gone);
        for session in [&first, &second] {
            assert_eq!(world.session(session.id).await.revoked_at, Some(at(10)));
        }
        assert_eq!(world.live(user.id, at(11)).await, []);
        assert_eq!(world.live(bystander.id, at(11)).await, [other.id]);
        world.expect_entry(&switched, "success").await;
    }
}

async fn revives_no_session_when_an_account_is_switched_on_again(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(1)).await;
    for (second, status) in [(2, UserStatus::Disabled), (3, UserStatus::Active)] {
        world.news();
        let after = world.store().set_status(user.id, status, None, act("user.status", at(second))).await.unwrap();
        assert_eq!(done(after).status, status);
        assert!(world.news().contains(&Change::UserChanged { user: user.id }), "{status:?} must be published");
    }
    assert_eq!(world.session(session.id).await.revoked_at, Some(at(2)));
    assert_eq!(world.live(user.id, at(4)).await, []);
    let rotated = world.store().rotate_refresh(rotation(session.refresh), act("session.refreshed", at(4))).await;
    assert_eq!(rotated.unwrap(), Rotated::Invalid);
}

async fn keeps_the_status_of_another_version(world: World) {
    let user = world.user("ada").await;
    let session = world.sign_in(user.id, at(1)).await;
    let (before, switched) = (world.reread(user.id).await, act("user.disabled", at(2)));
    world.news();
    let stale = Some(before.version + 1);
    let answer = world.store().set_status(user.id, UserStatus::Disabled, stale, switched.clone()).await.unwrap();
    assert_eq!(answer, Updated::Stale);
    assert_eq!(world.reread(user.id).await, before);
    assert_eq!(world.live(user.id, at(3)).await, [session.id]);
    assert_eq!(world.news(), []);
    world.expect_no_success(&switched).await;
}

async fn removes_a_user_with_everything_it_had(world: World) {
    let (user, bystander) = (world.user("ada").await, world.user("bob").await);
    let (first, second) = (world.sign_in(user.id, at(1)).await, world.sign_in(user.id, at(2)).await);
    let other = world.sign_in(bystander.id, at(2)).await;
    let removed = act("user.deleted", at(10)).on(user.id);
    world.news();
    assert_eq!(world.store().delete_user(user.id, Vec::new(), removed.clone()).await.unwrap(), Updated::Done(()));
    let told = world.news();
    let gone = [revoked(first.id, user.id), revoked(second.id, user.id), Change::UserChanged { user: user.id }];
    expect_same_changes(&told, &gone);
    assert_eq!(world.store().user(user.id).await.unwrap(), None);
    assert_eq!(world.store().user_by_email(&email_of("ada")).await.unwrap(), None);
    for session in [first, second] {
        assert_eq!(world.store().session(session.id).await.unwrap(), None);
        assert_eq!(world.store().session_by_refresh(session.refresh).await.unwrap(), None);
    }
    assert_eq!(world.live(user.id, at(11)).await, []);
    assert_eq!(world.live(bystander.id, at(11)).await, [other.id]);
    // The trail outlives the account.
    world.expect_entry(&removed, "success").await;
    assert_ne!(world.user("ada").await.id, user.id, "the e-mail is free again");
}

async fn changes_nothing_for_a_user_that_is_not_there(world: World) {
    let nobody = UserId::new();
    let acts = [act("a.profile", at(1)), act("a.password", at(1)), act("a.status", at(1)), act("a.delete", at(1))];
    let [profile, password, status, delete] = acts.clone();
    let store = world.store();
    assert_eq!(store.update_profile(nobody, named("x"), None, profile).await.unwrap(), Updated::Missing);
    let hash = hash_of("x").0;
    assert_eq!(
        store.change_password(nobody, Some(hash.clone()), hash, None, password).await.unwrap(),
        Updated::Missing
    );
    assert_eq!(store.set_status(nobody, UserStatus::Disabled, Some(1), status).await.unwrap(), Updated::Missing);
    assert_eq!(store.delete_user(nobody, Vec::new(), delete).await.unwrap(), Updated::Missing);
    assert_eq!(world.news(), []);
    for act in &acts {
        assert_eq!(world.entries(act).await, [], "{} did not happen", act.action);
    }
}
