//! Every mutating verb as a [`Trial`]: what it starts from, the verb itself, and all that it leaves behind.

use futures_util::future::BoxFuture;

use super::{
    act::{DAY, HOUR, act, at, email_of, hash_of, new_bucket, new_session, new_user, rotation},
    hang_up::{Prepare, Rows, Traces, Trial},
    signing_keys::{found_keys, new_key},
    world::{World, revoked},
};
use crate::{
    audit::Act,
    changes::Change,
    id::{DeviceId, TokenId},
    store::{
        BucketRule, ContextChange, NewDevice, NewSession, NewUser, OverLimit, ProfileChange, Risk, SharedStore,
        SignInQuery, Touch, UserRecord, UserStatus,
    },
};

/// Verbs that can be performed any number of times on one store.
pub(super) const REPEATABLE: &[(&str, Prepare)] = &[
    ("create_user", |world, round| Box::pin(create_user(world, round))),
    ("update_profile", |world, round| Box::pin(update_profile(world, round))),
    ("change_password", |world, round| Box::pin(change_password(world, round))),
    ("set_status", |world, round| Box::pin(set_status(world, round))),
    ("delete_user", |world, round| Box::pin(delete_user(world, round))),
    ("open_session", |world, round| Box::pin(open_session(world, round))),
    ("revoke_session", |world, round| Box::pin(revoke_session(world, round))),
    ("revoke_sessions", |world, round| Box::pin(revoke_sessions(world, round))),
    ("revoke_token", |world, round| Box::pin(revoke_token(world, round))),
    ("rotate_refresh", |world, round| Box::pin(rotate_refresh(world, round))),
    ("rotate_refresh of a stolen token", |world, round| Box::pin(rotate_stolen(world, round))),
    ("touch_sessions", |world, round| Box::pin(touch_sessions(world, round))),
    ("forget_device", |world, round| Box::pin(forget_device(world, round))),
    ("note_context", |world, round| Box::pin(note_context(world, round))),
    ("count_failure", |world, round| Box::pin(count_failure(world, round))),
];

/// Verbs that act on a store once.
pub(super) const ONCE: &[(&str, Prepare)] = &[
    ("change_signing_keys", |world, round| Box::pin(change_signing_keys(world, round))),
    ("found_admin", |world, round| Box::pin(found_admin(world, round))),
];

/// Puts a trial together; `look` says which of the rows are there.
pub(super) fn trial<F>(
    world: &World,
    act: Option<Act>,
    changes: Vec<Change>,
    verb: impl Future<Output = ()> + Send + 'static,
    look: impl Fn(SharedStore) -> F + Send + Sync + 'static,
) -> Trial
where
    F: Future<Output = Rows> + Send + 'static,
{
    let store = world.store().clone();
    let rows = move || -> BoxFuture<'static, Rows> { Box::pin(look(store.clone())) };
    Trial { verb: Box::pin(verb), traces: Traces { act, changes, rows: Box::new(rows) } }
}

/// A user of this trial only.
async fn fresh_user(world: &World, verb: &str, round: usize) -> UserRecord {
    world.user(&format!("{verb} {round}")).await
}

async fn create_user(world: World, round: usize) -> Trial {
    let (new, told) = (new_user(&format!("create {round}")), act("user.created", at(1)));
    let (id, email, store, act) = (new.id, new.email_key.clone(), world.store().clone(), told.clone());
    let verb = async move {
        store.create_user(new, act).await.unwrap();
    };
    trial(&world, Some(told), vec![], verb, move |store| {
        let email = email.clone();
        async move {
            let (by_id, by_email) = (store.user(id).await.unwrap(), store.user_by_email(&email).await.unwrap());
            vec![("user", by_id.is_some()), ("e-mail", by_email.is_some())]
        }
    })
}

async fn update_profile(world: World, round: usize) -> Trial {
    let (user, told) = (fresh_user(&world, "update", round).await, act("user.updated", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        let change = ProfileChange { display_name: Some(Some("changed".to_owned())) };
        store.update_profile(user.id, change, Some(user.version), act).await.unwrap();
    };
    trial(&world, Some(told), vec![Change::UserChanged { user: user.id }], verb, move |store| async move {
        let now = store.user(user.id).await.unwrap().unwrap();
        vec![("name", now.display_name.as_deref() == Some("changed")), ("version", now.version > user.version)]
    })
}

async fn change_password(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "password", round).await;
    let (session, told) = (world.sign_in(user.id, at(0)).await.id, act("user.password_changed", at(1)));
    let (store, act, current) = (world.store().clone(), told.clone(), user.password_hash.map(|hash| hash.0));
    let verb = async move {
        store.change_password(user.id, current, hash_of("new").0, None, act).await.unwrap();
    };
    let changes = vec![revoked(session, user.id), Change::UserChanged { user: user.id }];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let (session, now) = store.session(session).await.unwrap().unwrap();
        vec![("hash", now.password_hash == Some(hash_of("new"))), ("session", session.revoked_at.is_some())]
    })
}

async fn forget_device(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "device", round).await.id;
    let browser = NewDevice { presented: None, id: DeviceId::new(), name: "Firefox".to_owned(), notice: None };
    let (device, session) = (browser.id, NewSession { browser: Some(browser), ..new_session(user, at(0)) });
    let (session, told) = (world.open(session).await.id, act("device.forgotten", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.forget_device(user, device, act).await.unwrap();
    };
    trial(&world, Some(told), vec![revoked(session, user)], verb, move |store| async move {
        let (session, _) = store.session(session).await.unwrap().unwrap();
        let is_known = store.is_device_of(user, device).await.unwrap();
        vec![("session", session.revoked_at.is_some()), ("device", !is_known)]
    })
}

async fn set_status(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "status", round).await.id;
    let (session, told) = (world.sign_in(user, at(0)).await.id, act("user.disabled", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.set_status(user, UserStatus::Disabled, None, act).await.unwrap();
    };
    let changes = vec![revoked(session, user), Change::UserChanged { user }];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let (session, now) = store.session(session).await.unwrap().unwrap();
        vec![("status", now.status == UserStatus::Disabled), ("session", session.revoked_at.is_some())]
    })
}

async fn delete_user(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "delete", round).await.id;
    let (session, told) = (world.sign_in(user, at(0)).await, act("user.deleted", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.delete_user(user, Vec::new(), act).await.unwrap();
    };
    let changes = vec![revoked(session.id, user), Change::UserChanged { user }];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let by_refresh = store.session_by_refresh(session.refresh).await.unwrap();
        vec![
            ("user", store.user(user).await.unwrap().is_none()),
            ("session", store.session(session.id).await.unwrap().is_none()),
            ("refresh token", by_refresh.is_none()),
        ]
    })
}

async fn open_session(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "open", round).await.id;
    let (evicted, told, cleared) = (world.sign_in(user, at(0)).await.id, act("session.login", at(1)), new_bucket());
    world.store().count_failure(vec![lenient(cleared)], act("session.login_failed", at(0))).await.unwrap();
    let mut new = new_session(user, at(1));
    (new.max_per_user, new.over_limit) = (1, OverLimit::EvictOldest);
    (new.network, new.clear) = (Some("network".to_owned()), vec![cleared]);
    let (store, act, session, refresh) = (world.store().clone(), told.clone(), new.record.id, new.refresh.unwrap());
    let verb = async move {
        store.open_session(new, act).await.unwrap();
    };
    trial(&world, Some(told), vec![revoked(evicted, user)], verb, move |store| async move {
        let email_key = email_of(&format!("open {round}"));
        let network = Some("network".to_owned());
        let query = SignInQuery {
            email_key,
            network,
            device: None,
            presented: None,
            known_since: at(0),
            buckets: vec![cleared],
        };
        let facts = store.sign_in_facts(query).await.unwrap();
        let (evicted, now) = store.session(evicted).await.unwrap().unwrap();
        vec![
            ("session", store.session(session).await.unwrap().is_some()),
            ("refresh token", store.session_by_refresh(refresh).await.unwrap().is_some()),
            ("eviction", evicted.revoked_at.is_some()),
            ("last sign-in", now.last_login_at == Some(at(1))),
            ("network", facts.known_network),
            ("cleared counter", facts.attempts.is_empty()),
        ]
    })
}

async fn revoke_session(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "revoke one", round).await.id;
    let (session, told) = (world.sign_in(user, at(0)).await.id, act("session.revoked", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.revoke_session(user, session, act).await.unwrap();
    };
    trial(&world, Some(told), vec![revoked(session, user)], verb, move |store| async move {
        vec![("session", store.session(session).await.unwrap().unwrap().0.revoked_at.is_some())]
    })
}

async fn revoke_sessions(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "revoke all", round).await.id;
    let sessions = [world.sign_in(user, at(0)).await.id, world.sign_in(user, at(0)).await.id];
    let told = act("session.revoked_all", at(1));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.revoke_sessions(user, None, act).await.unwrap();
    };
    trial(&world, Some(told), sessions.map(|id| revoked(id, user)).into(), verb, move |store| async move {
        let mut rows = Vec::new();
        for id in sessions {
            rows.push(("session", store.session(id).await.unwrap().unwrap().0.revoked_at.is_some()));
        }
        rows
    })
}

async fn revoke_token(world: World, _round: usize) -> Trial {
    let (token, told) = (TokenId::new(), act("token.revoked", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.revoke_token(token, at(HOUR), act).await.unwrap();
    };
    let change = Change::TokenRevoked { token, expires_at: at(HOUR) };
    trial(&world, Some(told), vec![change], verb, move |store| async move {
        vec![("token", store.is_token_revoked(token).await.unwrap())]
    })
}

async fn rotate_refresh(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "rotate", round).await.id;
    // Half the idle time later: a store may leave the deadline alone until a tenth of it has passed.
    let (session, told) = (world.sign_in(user, at(0)).await, act("session.refreshed", at(DAY / 2)));
    let (rotation, store, act) = (rotation(session.refresh), world.store().clone(), told.clone());
    let successor = rotation.successor;
    let verb = async move {
        store.rotate_refresh(rotation, act).await.unwrap();
    };
    trial(&world, Some(told), vec![], verb, move |store| async move {
        let now = store.session(session.id).await.unwrap().unwrap().0;
        vec![
            ("successor", store.session_by_refresh(successor).await.unwrap().is_some()),
            ("idle deadline", now.idle_expires_at > session.record.idle_expires_at),
        ]
    })
}

async fn rotate_stolen(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "stolen", round).await.id;
    let (session, told) = (world.sign_in(user, at(0)).await, act("session.refreshed", at(HOUR)));
    let first = rotation(session.refresh);
    world.store().rotate_refresh(first, act("session.refreshed", at(1))).await.unwrap();
    let (again, store, act) = (rotation(session.refresh), world.store().clone(), told.clone());
    let verb = async move {
        store.rotate_refresh(again, act).await.unwrap();
    };
    trial(&world, Some(told), vec![revoked(session.id, user)], verb, move |store| async move {
        vec![("session", store.session(session.id).await.unwrap().unwrap().0.revoked_at.is_some())]
    })
}

async fn touch_sessions(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "touch", round).await.id;
    let sessions = [world.sign_in(user, at(0)).await.id, world.sign_in(user, at(0)).await.id];
    let touches = sessions.map(|session| Touch { session, seen_at: at(60), idle_expires_at: Some(at(2 * DAY)) });
    let store = world.store().clone();
    let verb = async move { store.touch_sessions(touches.to_vec()).await.unwrap() };
    trial(&world, None, vec![], verb, move |store| async move {
        let mut rows = Vec::new();
        for id in sessions {
            let now = store.session(id).await.unwrap().unwrap().0;
            rows.push(("last use", now.last_seen_at == at(60)));
            rows.push(("idle deadline", now.idle_expires_at == at(2 * DAY)));
        }
        rows
    })
}

async fn note_context(world: World, round: usize) -> Trial {
    let user = fresh_user(&world, "context", round).await.id;
    let (session, told) = (world.sign_in(user, at(0)).await.id, act("session.context_changed", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.note_context(user, session, ContextChange { network: true, device: false }, act).await.unwrap();
    };
    trial(&world, Some(told), vec![Change::SessionChanged { session, user }], verb, move |store| async move {
        let now = store.session(session).await.unwrap().unwrap().0;
        vec![("mark", now.network_changed), ("risk", now.risk == Risk::Medium)]
    })
}

fn lenient(bucket: [u8; 16]) -> BucketRule {
    let hour = std::time::Duration::from_secs(HOUR);
    BucketRule { bucket, limit: 5, window: hour, first_wait: hour, longest_wait: hour }
}

async fn count_failure(world: World, _round: usize) -> Trial {
    let (buckets, told) = ([new_bucket(), new_bucket()], act("session.login_failed", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move { store.count_failure(buckets.map(lenient).to_vec(), act).await.unwrap() };
    trial(&world, Some(told), vec![], verb, move |store| async move {
        let found = store.attempts(&buckets).await.unwrap();
        buckets.map(|bucket| ("counter", found.iter().any(|counter| counter.bucket == bucket))).into()
    })
}

async fn change_signing_keys(world: World, round: usize) -> Trial {
    let (kid, told) = (format!("kid {round}"), act("signing_key.created", at(1)));
    let (key, store, act) = (new_key(&kid), world.store().clone(), told.clone());
    let verb = async move {
        found_keys(&store, key, act).await;
    };
    trial(&world, Some(told), vec![Change::SigningKeysChanged], verb, move |store| {
        let kid = kid.clone();
        async move { vec![("key", store.signing_keys().await.unwrap().iter().any(|key| key.kid == kid))] }
    })
}

async fn found_admin(world: World, round: usize) -> Trial {
    let new = NewUser { platform_admin: true, ..new_user(&format!("admin {round}")) };
    let (id, told) = (new.id, act("user.founded", at(1)));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.found_admin(new, act).await.unwrap();
    };
    trial(&world, Some(told), vec![], verb, move |store| async move {
        vec![("administrator", store.user(id).await.unwrap().is_some())]
    })
}
