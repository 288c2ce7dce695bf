//! The audit trail: one entry for each act, saying what the act says.

use super::{
    Case,
    act::{act, at, email_of, hash_of, new_bucket, new_session, new_user, rotation},
    room,
    signing_keys::{found_keys, new_key},
    world::{World, done},
};
use crate::{
    audit::{Act, Actor, Outcome},
    clock::Timestamp,
    id::UserId,
    store::{BucketRule, NewUser, ProfileChange, Updated, UserStatus},
};

pub(super) const CASES: &[Case] = room!["audit":
    holds_every_field_of_an_act,
    holds_one_entry_for_each_verb,
    is_read_newest_first_up_to_a_limit,
];

async fn record(world: &World, act: Act) {
    let hour = std::time::Duration::from_secs(3600);
    let rule = BucketRule { bucket: new_bucket(), limit: 5, window: hour, first_wait: hour, longest_wait: hour };
    world.store().count_failure(vec![rule], act).await.unwrap();
}

async fn holds_every_field_of_an_act(world: World) {
    let user = UserId::new();
    let outcomes = [Outcome::Success, Outcome::Denied, Outcome::Failure];
    let actors = [(Actor::User(user), "user"), (Actor::Anonymous, "anonymous"), (Actor::System, "system")];
    for (outcome, (actor, kind)) in outcomes.into_iter().zip(actors) {
        let mut told = act("noun.verb", at(7)).on(user).ended(outcome, "because");
        told.actor = actor;
        record(&world, told.clone()).await;
        let entries = world.entries(&told).await;
        assert_eq!(entries.len(), 1);
        let entry = &entries[0];
        assert_eq!((entry.at, entry.action.as_str(), entry.outcome.as_str()), (at(7), "noun.verb", outcome.as_str()));
        assert_eq!(entry.actor_kind, kind);
        assert_eq!(entry.actor_id, (kind == "user").then(|| user.to_string()));
        assert_eq!((entry.target.as_deref(), entry.reason.as_deref()), (Some(&*user.to_string()), Some("because")));
        assert_eq!(entry.ip.as_deref(), Some("203.0.113.7"));
    }
    let mut bare = act("noun.verb", at(8));
    bare.origin.ip = None;
    record(&world, bare.clone()).await;
    let entry = world.entries(&bare).await.remove(0);
    assert_eq!((entry.target, entry.reason, entry.ip, entry.actor_id), (None, None, None, None));
}

/// An act that could be told from every other of the case.
fn by(actor: UserId, action: &'static str, now: Timestamp) -> Act {
    let mut act = act(action, now).on(actor);
    act.actor = Actor::User(actor);
    act
}

async fn holds_one_entry_for_each_verb(world: World) {
    let store = world.store();
    let ada = new_user("ada");
    let id = ada.id;
    let mut acts = Vec::new();
    let mut noted = |action: &'static str, second: u64| {
        let act = by(id, action, at(second));
        acts.push(act.clone());
        act
    };
    store.create_user(ada, noted("user.registered", 1)).await.unwrap();
    store.update_profile(id, ProfileChange { display_name: Some(None) }, None, noted("user.updated", 2)).await.unwrap();
    let sessions = [new_session(id, at(3)), new_session(id, at(3)), new_session(id, at(3))];
    for session in sessions.clone() {
        store.open_session(session, noted("session.login", 3)).await.unwrap();
    }
    let [first, second, _] = sessions;
    store.rotate_refresh(rotation(first.refresh.unwrap()), noted("session.refreshed", 4)).await.unwrap();
    assert!(store.revoke_session(id, first.record.id, noted("session.revoked", 5)).await.unwrap());
    let (refreshed, keep) = (Some(first.record.id.to_string()), Some(second.record.id));
    assert_eq!(store.revoke_sessions(id, keep, noted("session.revoked_others", 6)).await.unwrap(), 1);
    let (current, new) = (Some(hash_of("ada").0), hash_of("new").0);
    done(store.change_password(id, current, new, keep, noted("user.password_changed", 7)).await.unwrap());
    done(store.set_status(id, UserStatus::Locked, None, noted("user.locked", 8)).await.unwrap());
    found_keys(store, new_key("kid"), noted("signing_key.created", 9)).await;
    let admin = NewUser { platform_admin: true, ..new_user("root") };
    store.found_admin(admin, noted("user.founded", 10)).await.unwrap();
    assert_eq!(store.delete_user(id, Vec::new(), noted("user.deleted", 11)).await.unwrap(), Updated::Done(()));

    for act in &acts {
        world.expect_entry(act, "success").await;
        let entry = world.entries(act).await.remove(0);
        assert_eq!((entry.action.as_str(), entry.at), (act.action, act.at));
        assert_eq!((entry.actor_kind.as_str(), entry.actor_id), ("user", Some(id.to_string())));
        // Only the store knows which session a refresh token belongs to: it names it.
        let target = if act.action == "session.refreshed" { refreshed.clone() } else { act.target.clone() };
        assert_eq!(entry.target, target, "{}", act.action);
        let told = format!("{entry:?}", entry = world.entries(act).await);
        assert!(!told.contains(&email_of("ada")) && !told.contains("$argon2id"), "no e-mail, no secret: {told}");
    }
    let trail = store.recent_audit(1_000).await.unwrap();
    assert_eq!(trail.len(), acts.len(), "one entry for each act and no other: {trail:?}");
}

async fn is_read_newest_first_up_to_a_limit(world: World) {
    let mut ids = Vec::new();
    for second in 0..5 {
        let told = act("noun.verb", at(second));
        record(&world, told.clone()).await;
        ids.push(told.origin.request_id);
    }
    ids.reverse();
    for limit in [100, 5, 3, 1] {
        let entries = world.store().recent_audit(limit).await.unwrap();
        let read: Vec<_> = entries.into_iter().map(|entry| entry.request_id).collect();
        assert_eq!(read, ids[..ids.len().min(usize::try_from(limit).unwrap())]);
    }
}
