//! New secrets of API keys: beside the old ones for a while, and never many at a time.

use super::{
    Case,
    act::{act, at, everywhere, new_token},
    api_key::{made, new_key, presented},
    room,
    tenant::{Founded, written},
    world::World,
};
use crate::{
    clock::Timestamp,
    id::KeyId,
    secret::SecretHash,
    store::{ApiKeyRecord, KeyRotation, KeySecret, SECRETS_IN_GRACE, UserStatus},
};

pub(super) const CASES: &[Case] = room!["api_key_rotation":
    has_an_overlap,
    ends_every_older_secret_with_the_new_grace,
    keeps_a_bounded_number_of_secrets,
];

impl Founded {
    pub(super) async fn rotate(&self, rotation: KeyRotation, second: u64) -> ApiKeyRecord {
        let told = act("api_key.rotated", at(second));
        written(self.world.store().rotate_api_key(self.now().await, rotation, told).await.unwrap()).1
    }
}

async fn secrets(world: &World, key: KeyId, second: u64) -> Vec<(SecretHash, Option<Timestamp>)> {
    let found = presented(world, key, at(second)).await.expect("the key must be there").secrets;
    found.into_iter().map(|KeySecret { hash, expires_at }| (hash, expires_at)).collect()
}

async fn has_an_overlap(world: World) {
    let acme = world.found("acme").await;
    let bob = acme.member_called("bob", vec![everywhere(acme.member_role)]).await;
    let new = new_key(acme.id, acme.owner, 1);
    let key = acme.key(new.clone()).await;
    let (told, before) = (act("api_key.rotated", at(10)).within(acme.id), acme.now().await);
    let rotation = KeyRotation { key: key.id, secret: new_token(), grace_until: at(70), member: bob.into() };
    world.news();
    let answer = world.store().rotate_api_key(before, rotation.clone(), told.clone()).await.unwrap();
    let (revision, rotated) = written(answer);
    assert_eq!(world.news(), [made(acme.id, key.id, revision)]);
    world.expect_entry(&told, "success").await;
    assert_eq!(rotated, ApiKeyRecord { member: bob.into(), ..key });
    let both = [(rotation.secret, None), (new.secret, Some(at(70)))];
    assert_eq!(secrets(&world, rotated.id, 10).await, both);
    assert_eq!(secrets(&world, rotated.id, 69).await, both);
    assert_eq!(secrets(&world, rotated.id, 70).await, both[..1]);
    let user = presented(&world, rotated.id, at(10)).await.unwrap().user;
    assert_eq!(user, Some((UserStatus::Active, "bob@example.test".to_owned())));
    // Without an overlap the old one is gone at once, whatever the clock of whoever asks says.
    let rotation = KeyRotation { secret: new_token(), grace_until: at(80), ..rotation };
    acme.rotate(rotation.clone(), 80).await;
    assert_eq!(secrets(&world, rotated.id, 0).await, [(rotation.secret, None)]);
}

async fn ends_every_older_secret_with_the_new_grace(world: World) {
    let acme = world.found("acme").await;
    let new = new_key(acme.id, acme.owner, 1);
    let key = acme.key(new.clone()).await;
    let rotation = |grace_until| KeyRotation {
        key: key.id,
        secret: new_token(),
        grace_until: at(grace_until),
        member: key.member,
    };
    let (long, longer, short, none) = (rotation(500), rotation(900), rotation(100), rotation(13));
    acme.rotate(long.clone(), 10).await;
    acme.rotate(longer.clone(), 11).await;
    let expected = [(longer.secret, None), (long.secret, Some(at(900))), (new.secret, Some(at(500)))];
    assert_eq!(secrets(&world, key.id, 11).await, expected, "a longer grace lengthens no older one");
    acme.rotate(short.clone(), 12).await;
    let end = Some(at(100));
    let expected = [(short.secret, None), (longer.secret, end), (long.secret, end), (new.secret, end)];
    assert_eq!(secrets(&world, key.id, 12).await, expected);
    acme.rotate(none.clone(), 13).await;
    assert_eq!(secrets(&world, key.id, 0).await, [(none.secret, None)]);
}

async fn keeps_a_bounded_number_of_secrets(world: World) {
    let acme = world.found("acme").await;
    let new = new_key(acme.id, acme.owner, 1);
    let key = acme.key(new.clone()).await;
    let mut all = vec![new.secret];
    for second in 10..20 {
        let rotation = KeyRotation { key: key.id, secret: new_token(), grace_until: at(1_000), member: key.member };
        all.insert(0, rotation.secret);
        acme.rotate(rotation, second).await;
    }
    let found: Vec<_> = secrets(&world, key.id, 20).await.into_iter().map(|(hash, _)| hash).collect();
    assert_eq!(found, all[..usize::try_from(SECRETS_IN_GRACE).unwrap() + 1]);
}
