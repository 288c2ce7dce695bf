//! Verbs that meet: whatever the order, what one of them ended does not live on through the other.

use super::{
    Case,
    act::{act, at, hash_of, new_session, rotation},
    refresh::{Verdict, rotate, verdict},
    room,
    world::{World, at_once},
};
use crate::{
    id::UserId,
    store::{NewSession, Opened, Updated, UserStatus},
};

pub(super) const CASES: &[Case] = room!["races":
    no_session_of_the_old_password_survives_its_change,
    no_session_survives_the_end_of_its_account,
    no_refresh_token_survives_the_end_of_its_session,
];

const ROUNDS: u64 = 8;
const TASKS: usize = 16;

async fn no_session_of_the_old_password_survives_its_change(world: World) {
    for round in 0..ROUNDS {
        let name = format!("user {round}");
        let user = world.user(&name).await.id;
        let old = hash_of(&name);
        let changed = at_once(TASKS, |index| {
            let (world, old) = (world.clone(), old.clone());
            async move {
                if index == TASKS / 2 {
                    let (new, change) = (hash_of("new").0, act("user.password_changed", at(2)));
                    let answer = world.store().change_password(user, Some(old.0), new, None, change).await.unwrap();
                    return answer == Updated::Done(());
                }
                let session = NewSession { verified_hash: Some(old), ..new_session(user, at(1)) };
                let answer = world.store().open_session(session, act("session.login", at(1))).await.unwrap();
                assert!(matches!(answer, Opened::New(_) | Opened::Void), "{answer:?}");
                false
            }
        })
        .await;
        assert!(changed.contains(&true), "nothing stood in the way of the change");
        assert_eq!(world.live(user, at(3)).await, [], "round {round}");
    }
}

async fn end_account(world: &World, user: UserId, round: u64) {
    let end = act("user.ended", at(2));
    if round.is_multiple_of(2) {
        world.store().set_status(user, UserStatus::Disabled, None, end).await.unwrap();
    } else {
        assert_eq!(world.store().delete_user(user, Vec::new(), end).await.unwrap(), Updated::Done(()));
    }
}

async fn no_session_survives_the_end_of_its_account(world: World) {
    for round in 0..ROUNDS {
        let user = world.user(&format!("user {round}")).await.id;
        let sessions: Vec<_> = (0..TASKS).map(|_| new_session(user, at(1))).collect();
        at_once(TASKS + 1, |index| {
            let (world, session) = (world.clone(), sessions.get(index).cloned());
            async move {
                let Some(session) = session else { return end_account(&world, user, round).await };
                let answer = world.store().open_session(session, act("session.login", at(1))).await.unwrap();
                assert!(matches!(answer, Opened::New(_) | Opened::Void), "{answer:?}");
            }
        })
        .await;
        assert_eq!(world.live(user, at(3)).await, [], "round {round}");
        for session in sessions {
            let answer = rotate(&world, &rotation(session.refresh.unwrap()), at(3)).await;
            assert_eq!(verdict(&answer), Verdict::Invalid, "round {round}");
        }
    }
}

async fn no_refresh_token_survives_the_end_of_its_session(world: World) {
    let user = world.user("ada").await.id;
    for round in 0..ROUNDS {
        let session = world.sign_in(user, at(1)).await;
        let attempts: Vec<_> = (0..TASKS).map(|_| rotation(session.refresh)).collect();
        at_once(TASKS + 1, |index| {
            let (world, attempt) = (world.clone(), attempts.get(index).cloned());
            async move {
                match attempt {
                    Some(attempt) => {
                        let answer = verdict(&rotate(&world, &attempt, at(2)).await);
                        assert_ne!(answer, Verdict::Reused);
                    }
                    None => {
                        let logout = act("session.revoked", at(2));
                        assert!(world.store().revoke_session(user, session.id, logout).await.unwrap());
                    }
                }
            }
        })
        .await;
        let successors = attempts.iter().map(|attempt| attempt.successor);
        for token in successors.chain([session.refresh]) {
            let answer = rotate(&world, &rotation(token), at(3)).await;
            assert_eq!(verdict(&answer), Verdict::Invalid, "round {round}");
        }
        assert_eq!(world.session(session.id).await.revoked_at, Some(at(2)));
    }
}
