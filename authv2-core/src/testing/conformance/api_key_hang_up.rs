//! The mutating verbs of API keys as trials: what each starts from, the verb itself, and all that it leaves behind.

use super::{
    act::{act, at, new_token},
    api_key::{made, new_key, used},
    hang_up::{Prepare, Trial},
    hang_up_verbs::trial,
    world::World,
};
use crate::store::KeyRotation;

/// Verbs that can be performed any number of times on one store.
pub(super) const REPEATABLE: &[(&str, Prepare)] = &[
    ("create_api_key", |world, round| Box::pin(create(world, round))),
    ("rotate_api_key", |world, round| Box::pin(rotate(world, round))),
    ("delete_api_key", |world, round| Box::pin(delete(world, round))),
    ("note_key_uses", |world, round| Box::pin(note_uses(world, round))),
];

async fn create(world: World, round: usize) -> Trial {
    let (of, told) = (world.found(&format!("mint-{round}")).await, act("api_key.created", at(1)));
    let (store, act, seen, new) = (world.store().clone(), told.clone(), of.now().await, new_key(of.id, of.owner, 1));
    let (key, secret, changes) = (new.key.id, new.secret, vec![made(of.id, new.key.id, seen.revision + 1)]);
    let verb = async move {
        store.create_api_key(seen, new, act).await.unwrap();
    };
    trial(&world, Some(told), changes, verb, move |store| async move {
        let found = store.presented_key(key, at(2)).await.unwrap();
        vec![
            ("key", store.api_key(of.id, key).await.unwrap().is_some()),
            ("secret", found.is_some_and(|found| found.secrets.iter().any(|there| there.hash == secret))),
        ]
    })
}

async fn rotate(world: World, round: usize) -> Trial {
    let (of, told) = (world.found(&format!("rotate-{round}")).await, act("api_key.rotated", at(2)));
    let robot = of.account("robot", of.member_role).await;
    let key = of.key(new_key(of.id, of.owner, 1)).await.id;
    let (store, act, seen) = (world.store().clone(), told.clone(), of.now().await);
    let rotation = KeyRotation { key, secret: new_token(), grace_until: at(9), member: robot };
    let (secret, changes) = (rotation.secret, vec![made(of.id, key, seen.revision + 1)]);
    let verb = async move {
        store.rotate_api_key(seen, rotation, act).await.unwrap();
    };
    trial(&world, Some(told), changes, verb, move |store| async move {
        let found = store.presented_key(key, at(3)).await.unwrap().unwrap();
        vec![
            ("member", found.key.member == robot),
            ("new secret", found.secrets.iter().any(|there| there.hash == secret && there.expires_at.is_none())),
            ("grace", found.secrets.iter().any(|there| there.expires_at == Some(at(9)))),
        ]
    })
}

async fn delete(world: World, round: usize) -> Trial {
    let (of, told) = (world.found(&format!("revoke-{round}")).await, act("api_key.deleted", at(2)));
    let key = of.key(new_key(of.id, of.owner, 1)).await.id;
    let (store, act, seen) = (world.store().clone(), told.clone(), of.now().await);
    let changes = vec![made(of.id, key, seen.revision + 1)];
    let verb = async move {
        store.delete_api_key(seen, key, act).await.unwrap();
    };
    trial(&world, Some(told), changes, verb, move |store| async move {
        vec![
            ("key", store.api_key(of.id, key).await.unwrap().is_none()),
            ("home", store.presented_key(key, at(3)).await.unwrap().is_none()),
        ]
    })
}

async fn note_uses(world: World, round: usize) -> Trial {
    let of = world.found(&format!("use-{round}")).await;
    let key = of.key(new_key(of.id, of.owner, 1)).await.id;
    let store = world.store().clone();
    let uses = vec![used(of.id, key, 5, "198.51.100.1")];
    let verb = async move { store.note_key_uses(uses).await.unwrap() };
    trial(&world, None, vec![], verb, move |store| async move {
        let (found, _) = store.api_key(of.id, key).await.unwrap().unwrap();
        vec![("last use", found.last_used_at == Some(at(5)))]
    })
}
