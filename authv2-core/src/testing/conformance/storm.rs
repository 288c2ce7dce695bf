//! Everything at once: verbs that meet on the same rows wait for each other, and none of them fails for it.
//!
//! A store that locks rows in different orders gives up on one of two transactions here, which a user would see as an
//! outage. It must order its locks, or try again by itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{
    Case,
    act::{DAY, HOUR, Random, act, at, hash_of, new_bucket, new_session, new_user, rotation},
    room,
    world::{SignedIn, World, at_once},
};
use crate::{
    id::UserId,
    store::{
        Bucket, BucketRule, ContextChange, NewSession, NewUser, Opened, ProfileChange, PurgeBefore, StoreError, Touch,
        UserStatus,
    },
};

pub(super) const CASES: &[Case] = room!["storm":
    fails_no_refresh_while_its_account_is_removed,
    fails_no_sign_in_while_its_counters_count,
    fails_no_touch_while_its_sessions_are_ended,
    fails_nobody_in_a_storm_of_all_verbs,
];

const TASKS: usize = 16;

async fn fails_no_refresh_while_its_account_is_removed(world: World) {
    for round in 0..16 {
        let user = world.user(&format!("user {round}")).await.id;
        let mut sessions = Vec::new();
        for _ in 0..TASKS {
            sessions.push(world.sign_in(user, at(0)).await);
        }
        let answers = at_once(TASKS + 1, |index| {
            let (world, session) = (world.clone(), sessions.get(index).cloned());
            async move {
                match session {
                    Some(session) => {
                        let refreshed = act("session.refreshed", at(DAY / 2));
                        world.store().rotate_refresh(rotation(session.refresh), refreshed).await.map(|_| ())
                    }
                    None => {
                        world.store().delete_user(user, Vec::new(), act("user.deleted", at(DAY / 2))).await.map(|_| ())
                    }
                }
            }
        })
        .await;
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
        assert_eq!(world.store().user(user).await.unwrap(), None);
        for session in sessions {
            assert_eq!(world.store().session(session.id).await.unwrap(), None, "no session without its user");
        }
    }
}

fn rules(buckets: &[Bucket]) -> Vec<BucketRule> {
    let hour = Duration::from_secs(HOUR);
    let rule = |bucket| BucketRule { bucket, limit: 1_000, window: hour, first_wait: hour, longest_wait: hour };
    buckets.iter().copied().map(rule).collect()
}

async fn fails_no_sign_in_while_its_counters_count(world: World) {
    let user = world.user("ada").await.id;
    // Made in falling order, so that a store that takes them as they lie takes them in another order than by name.
    let mut buckets: Vec<Bucket> = (0..6).map(|_| new_bucket()).collect();
    buckets.sort_unstable_by(|a, b| b.cmp(a));
    for round in 0..16 {
        for bucket in &buckets {
            let failed = act("session.login_failed", at(round));
            world.store().count_failure(rules(&[*bucket]), failed).await.unwrap();
        }
        let answers = at_once(TASKS, |index| {
            let (world, buckets) = (world.clone(), buckets.clone());
            async move {
                if index % 2 == 0 {
                    let failed = act("session.login_failed", at(round));
                    return world.store().count_failure(rules(&buckets), failed).await;
                }
                if index % 4 == 1 {
                    let taken = NewUser { count_if_taken: rules(&buckets), ..new_user("ada") };
                    return world.store().create_user(taken, act("user.registered", at(round))).await.map(|_| ());
                }
                let session = NewSession { clear: buckets, ..new_session(user, at(round)) };
                world.store().open_session(session, act("session.login", at(round))).await.map(|_| ())
            }
        })
        .await;
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
    }
}

async fn fails_no_touch_while_its_sessions_are_ended(world: World) {
    for round in 0..16 {
        let user = world.user(&format!("user {round}")).await.id;
        let mut sessions = Vec::new();
        // The younger the id, the older the session: clocks of several nodes differ.
        for age in 0..TASKS {
            sessions.push(world.sign_in(user, at(1_000 - u64::try_from(age).unwrap())).await);
        }
        let deadline = Some(at(2 * DAY));
        let touches: Vec<_> = sessions
            .iter()
            .map(|session| Touch { session: session.id, seen_at: at(2_000), idle_expires_at: deadline })
            .collect();
        let answers = at_once(TASKS, |index| {
            let (world, touches, logout) = (world.clone(), touches.clone(), act("session.revoked", at(2_000)));
            let session = sessions[index].id;
            async move {
                match index % 4 {
                    0 => world.store().revoke_sessions(user, Some(session), logout).await.map(|_| ()),
                    1 => world.store().revoke_session(user, session, logout).await.map(|_| ()),
                    _ => world.store().touch_sessions(touches).await,
                }
            }
        })
        .await;
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
    }
}

/// What the tasks of a storm share.
#[derive(Clone)]
struct Sea {
    world: World,
    users: Vec<UserId>,
    sessions: Arc<Mutex<Vec<SignedIn>>>,
    buckets: Vec<Bucket>,
}

impl Sea {
    /// Performs some verb on rows that others use at the same time. Its answer may be any, but not an error.
    async fn wave(&self, random: &mut Random, second: u64) -> Result<(), StoreError> {
        let (store, told) = (self.world.store(), act("storm.wave", at(second)));
        let user = self.users[random.index(self.users.len())];
        let known = self.sessions.lock().unwrap().clone();
        let session = (!known.is_empty()).then(|| known[random.index(known.len())].clone());
        match (random.below(13), session) {
            (0, Some(session)) => store.revoke_session(session.record.user_id, session.id, told).await.map(|_| ()),
            (1, Some(session)) => store.revoke_sessions(user, Some(session.id), told).await.map(|_| ()),
            (2 | 3, Some(session)) => store.rotate_refresh(rotation(session.refresh), told).await.map(|_| ()),
            (4, Some(_)) => {
                let deadline = Some(at(DAY + second));
                let touch =
                    |session: &SignedIn| Touch { session: session.id, seen_at: at(second), idle_expires_at: deadline };
                store.touch_sessions(known.iter().map(touch).collect()).await
            }
            (5, _) => store.count_failure(rules(&self.buckets), told).await,
            (6, _) => {
                let current = store.user(user).await?.and_then(|user| user.password_hash).map(|hash| hash.0);
                let new = hash_of(&random.below(1_000_000).to_string()).0;
                store.change_password(user, current, new, None, told).await.map(|_| ())
            }
            (7, _) => store.update_profile(user, ProfileChange::default(), None, told).await.map(|_| ()),
            (8, _) => {
                let status = if random.below(3) == 0 { UserStatus::Disabled } else { UserStatus::Active };
                store.set_status(user, status, None, told).await.map(|_| ())
            }
            (9, _) => {
                let before = PurgeBefore {
                    sessions: at(second),
                    networks: at(second),
                    devices: at(0),
                    counters: at(second),
                    changes: at(0),
                    samples: at(0),
                    tokens: at(0),
                    proofs: at(second),
                    challenges: at(second),
                    events: at(0),
                };
                store.purge(before).await.map(|_| ())
            }
            (10, Some(session)) => {
                let change = ContextChange { network: true, device: random.below(2) == 0 };
                store.note_context(session.record.user_id, session.id, change, told).await.map(|_| ())
            }
            (11, _) if random.below(4) == 0 => store.revoke_generation(None, told).await.map(|_| ()),
            _ => {
                let session = NewSession {
                    max_per_user: 4,
                    clear: self.buckets.clone(),
                    network: Some("network".to_owned()),
                    ..new_session(user, at(second))
                };
                let (record, refresh) = (session.record.clone(), session.refresh.unwrap());
                if let Opened::New(_) = store.open_session(session, told).await? {
                    self.sessions.lock().unwrap().push(SignedIn { id: record.id, refresh, record });
                }
                Ok(())
            }
        }
    }
}

async fn fails_nobody_in_a_storm_of_all_verbs(world: World) {
    let mut users = Vec::new();
    for name in ["ada", "bob", "eve"] {
        users.push(world.user(name).await.id);
    }
    let buckets = (0..4).map(|_| new_bucket()).collect();
    let sea = Sea { world: world.clone(), users: users.clone(), sessions: Arc::default(), buckets };
    let answers = at_once(TASKS, |task| {
        let sea = sea.clone();
        async move {
            let mut random = Random::seeded(u64::try_from(task).unwrap());
            for second in 1..=40 {
                sea.wave(&mut random, second).await?;
            }
            Ok::<_, StoreError>(())
        }
    })
    .await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    for user in users {
        let live = world.live(user, at(40)).await;
        assert!(live.len() <= 4, "{live:?}");
    }
}
