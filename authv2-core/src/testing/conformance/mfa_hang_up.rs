//! The mutating verbs of second factors as trials: what each starts from, the verb itself, and all that it leaves behind.

use super::{
    act::{act, at, hash_of, new_token},
    challenge::new_challenge,
    hang_up::{Prepare, Trial},
    hang_up_verbs::trial,
    mfa::{SEALED, confirmation, enrolled, give_factor, proving, step},
    world::World,
};
use crate::{
    changes::Change,
    store::{NewChallenge, Redacted},
};

/// Verbs that can be performed any number of times on one store.
pub(super) const REPEATABLE: &[(&str, Prepare)] = &[
    ("enrol_totp", |world, round| Box::pin(enrol(world, round))),
    ("confirm_totp", |world, round| Box::pin(confirm(world, round))),
    ("remove_mfa", |world, round| Box::pin(remove(world, round))),
    ("replace_recovery_codes", |world, round| Box::pin(replace_codes(world, round))),
    ("step_up", |world, round| Box::pin(step_up(world, round))),
    ("open_challenge", |world, round| Box::pin(open_challenge(world, round))),
    ("count_try", |world, round| Box::pin(count_try(world, round))),
];

async fn enrol(world: World, round: usize) -> Trial {
    let user = world.user(&format!("enrol {round}")).await.id;
    let told = act("mfa.enrolment_begun", at(1));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.enrol_totp(user, SEALED.to_vec(), act).await.unwrap();
    };
    trial(&world, Some(told), vec![], verb, move |store| async move {
        vec![("secret", store.totp(user).await.unwrap().is_some())]
    })
}

async fn confirm(world: World, round: usize) -> Trial {
    let user = world.user(&format!("confirm {round}")).await.id;
    assert!(world.store().enrol_totp(user, SEALED.to_vec(), act("mfa.enrolment_begun", at(1))).await.unwrap());
    let told = act("mfa.enabled", at(2));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.confirm_totp(confirmation(user, 7, &[new_token()]), act).await.unwrap();
    };
    trial(&world, Some(told), vec![Change::UserChanged { user }], verb, move |store| async move {
        let (totp, owner) = (store.totp(user).await.unwrap().unwrap(), store.user(user).await.unwrap().unwrap());
        vec![
            ("confirmation", totp.confirmed_at.is_some()),
            ("step", totp.last_step == 7),
            ("recovery code", totp.recovery_codes == 1),
            ("demand", owner.mfa_enabled),
        ]
    })
}

async fn remove(world: World, round: usize) -> Trial {
    let user = enrolled(&world, &format!("remove {round}"), &[new_token()]).await;
    let told = act("mfa.disabled", at(3));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.remove_mfa(user, step(101), act).await.unwrap();
    };
    // That its user changed was told of once before, when the factor was enrolled.
    trial(&world, Some(told), vec![], verb, move |store| async move {
        let owner = store.user(user).await.unwrap().unwrap();
        vec![("secret", store.totp(user).await.unwrap().is_none()), ("demand", !owner.mfa_enabled)]
    })
}

async fn replace_codes(world: World, round: usize) -> Trial {
    let user = enrolled(&world, &format!("replace {round}"), &[new_token()]).await;
    let told = act("mfa.recovery_codes_replaced", at(3));
    let (store, act) = (world.store().clone(), told.clone());
    let verb = async move {
        store.replace_recovery_codes(user, step(101), vec![new_token(), new_token()], act).await.unwrap();
    };
    trial(&world, Some(told), vec![], verb, move |store| async move {
        let totp = store.totp(user).await.unwrap().unwrap();
        vec![("step", totp.last_step == 101), ("codes", totp.recovery_codes == 2)]
    })
}

async fn step_up(world: World, round: usize) -> Trial {
    let user = world.user(&format!("prove {round}")).await.id;
    let session = world.sign_in(user, at(10)).await;
    give_factor(&world, user, &[]).await;
    let told = act("session.stepped_up", at(20));
    let (store, act, id) = (world.store().clone(), told.clone(), session.id);
    let verb = async move {
        store.step_up(proving(user, &session.record, Some(step(101))), act).await.unwrap();
    };
    let changes = vec![Change::SessionChanged { session: id, user }];
    trial(&world, Some(told), changes, verb, move |store| async move {
        let now = store.session(id).await.unwrap().unwrap().0;
        let totp = store.totp(user).await.unwrap().unwrap();
        vec![("class", now.acr == "aal2"), ("time", now.auth_time == at(20)), ("step", totp.last_step == 101)]
    })
}

async fn open_challenge(world: World, round: usize) -> Trial {
    let name = format!("wait {round}");
    let user = enrolled(&world, &name, &[]).await;
    let rehashed = Redacted(format!("{name} anew"));
    let new =
        NewChallenge { verified_hash: Some(hash_of(&name)), rehashed: Some(rehashed.clone()), ..new_challenge(user) };
    let told = act("session.mfa_required", at(10));
    let (store, act, hash) = (world.store().clone(), told.clone(), new.record.hash);
    let verb = async move {
        store.open_challenge(new, act).await.unwrap();
    };
    // As above.
    trial(&world, Some(told), vec![], verb, move |store| {
        let rehashed = rehashed.clone();
        async move {
            let owner = store.user(user).await.unwrap().unwrap();
            vec![
                ("challenge", store.challenge(hash, at(11)).await.unwrap().is_some()),
                ("password", owner.password_hash == Some(rehashed)),
            ]
        }
    })
}

async fn count_try(world: World, round: usize) -> Trial {
    let user = enrolled(&world, &format!("try {round}"), &[]).await;
    let new = new_challenge(user);
    let (store, hash) = (world.store().clone(), new.record.hash);
    store.open_challenge(new, act("session.mfa_required", at(10))).await.unwrap();
    let verb = async move {
        store.count_try(hash, 5, at(11)).await.unwrap();
    };
    trial(&world, None, vec![], verb, move |store| async move {
        vec![("count", store.challenge(hash, at(12)).await.unwrap().unwrap().tries == 1)]
    })
}
