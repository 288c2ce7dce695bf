//! Access tokens revoked one by one.

use super::{
    Case,
    act::{act, at, of_nothing},
    room,
    world::{World, at_once},
};
use crate::{
    changes::Change,
    clock::Timestamp,
    id::TokenId,
    store::{Followed, PurgeBefore},
};

pub(super) const CASES: &[Case] = room!["revocation":
    revokes_a_token_once_and_tells_of_it,
    revokes_a_token_once_however_many_try,
    lists_what_has_not_expired_within_the_limit,
    tells_other_nodes_which_token_and_until_when,
    forgets_the_expired_when_purged_and_nothing_else,
];

async fn revoke(world: &World, expires_at: Timestamp) -> TokenId {
    let token = TokenId::new();
    assert!(world.store().revoke_token(token, expires_at, act("token.revoked", at(1))).await.unwrap());
    token
}

async fn revokes_a_token_once_and_tells_of_it(world: World) {
    let (token, other, store) = (TokenId::new(), TokenId::new(), world.store());
    assert!(!store.is_token_revoked(token).await.unwrap());
    let (first, again) = (act("token.revoked", at(1)), act("token.revoked", at(2)));
    assert!(store.revoke_token(token, at(600), first.clone()).await.unwrap());
    assert_eq!(world.news(), [Change::TokenRevoked { token, expires_at: at(600) }]);
    world.expect_entry(&first, "success").await;
    assert!(store.is_token_revoked(token).await.unwrap());
    assert!(!store.is_token_revoked(other).await.unwrap());

    assert!(!store.revoke_token(token, at(900), again.clone()).await.unwrap());
    assert_eq!(world.news(), []);
    assert_eq!(world.entries(&again).await, []);
    assert_eq!(store.revoked_tokens(at(0), 10).await.unwrap(), [(token, at(600))]);
}

async fn revokes_a_token_once_however_many_try(world: World) {
    let token = TokenId::new();
    let answers = at_once(16, |_| {
        let world = world.clone();
        async move { world.store().revoke_token(token, at(600), act("token.revoked", at(1))).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|revoked| **revoked).count(), 1);
    assert_eq!(world.news().len(), 1);
}

async fn lists_what_has_not_expired_within_the_limit(world: World) {
    let mut tokens = Vec::new();
    for second in [10, 20, 30] {
        tokens.push(revoke(&world, at(second)).await);
    }
    let listed = async |after, limit| {
        let mut listed = world.store().revoked_tokens(after, limit).await.unwrap();
        listed.sort_unstable();
        listed
    };
    assert_eq!(listed(at(10), 10).await, [(tokens[1], at(20)), (tokens[2], at(30))]);
    assert_eq!(listed(at(0), 2).await.len(), 2);
    assert_eq!(listed(at(30), 10).await, []);
}

async fn tells_other_nodes_which_token_and_until_when(world: World) {
    let Followed::Changes { position, .. } = world.store().follow(None).await.unwrap() else {
        panic!("a beginning loses nothing")
    };
    // To the microsecond.
    let expires_at = at(600) + std::time::Duration::from_micros(7);
    let token = revoke(&world, expires_at).await;
    let Followed::Changes { changes, .. } = world.store().follow(Some(&position)).await.unwrap() else {
        panic!("nothing was lost")
    };
    let told: Vec<Change> = changes.iter().map(|record| record.change).collect();
    assert_eq!(told, [Change::TokenRevoked { token, expires_at }]);
    assert_eq!(world.store().recent_changes(at(0)).await.unwrap().unwrap(), told);
}

async fn forgets_the_expired_when_purged_and_nothing_else(world: World) {
    let (expired, live) = (revoke(&world, at(10)).await, revoke(&world, at(20)).await);
    let before = PurgeBefore { tokens: at(20), ..of_nothing() };
    assert_eq!(world.store().purge(before).await.unwrap(), 1);
    assert!(!world.store().is_token_revoked(expired).await.unwrap());
    assert!(world.store().is_token_revoked(live).await.unwrap(), "it lives to its very end");
}
