//! API keys: found by what is presented, rotated with overlap, gone at once.

use std::time::Duration;

use serde_json::{Map, json};

use super::{
    Case,
    act::{act, at, everywhere, new_token},
    room,
    tenant::{Founded, written},
    world::{World, at_once},
};
use crate::{
    changes::Change,
    clock::Timestamp,
    id::{KeyId, MemberId, OrgId, StoreId},
    store::{
        ApiKeyPage, ApiKeyRecord, AtRevision, KeyCreation, KeyQuota, KeyRateLimit, KeyRotation, KeySecret, KeyUse,
        MemberKind, NewApiKey, PresentedKey, QuotaPeriod, Revised, UserStatus,
    },
};

pub(super) const CASES: &[Case] = room!["api_key":
    is_found_as_it_was_made,
    is_found_by_what_is_presented,
    is_of_one_organization_only,
    are_listed_oldest_first_in_pages,
    are_listed_by_store,
    are_as_many_as_an_organization_may_have,
    is_gone_once_deleted,
    is_written_at_the_revision_seen_only,
    goes_with_its_member_its_store_and_its_organization,
    outlives_the_maker_of_its_service_account,
    tells_of_its_user_as_it_is_now,
    notes_its_last_use,
    notes_uses_of_many_at_once,
];

/// More than any case makes.
const MANY: u32 = 1_000;

/// A key of `member`, made at `second`, without any restriction.
pub(super) fn new_key(organization: OrgId, member: impl Into<MemberId>, second: u64) -> NewApiKey {
    let key = ApiKeyRecord {
        id: KeyId::new(),
        organization,
        member: member.into(),
        store: None,
        name: "nightly export".to_owned(),
        environment: "live".to_owned(),
        scopes: vec!["orders:read".to_owned(), "invoices:*".to_owned()],
        allowed_ips: vec![],
        rate_limit: None,
        quota: None,
        metadata: Map::new(),
        created_at: at(second),
        expires_at: None,
        last_used_at: None,
        last_used_ip: None,
    };
    NewApiKey { key, secret: new_token(), max_per_organization: MANY }
}

pub(super) fn made(organization: OrgId, key: KeyId, revision: i64) -> Change {
    Change::ApiKeyChanged { organization, key, revision }
}

impl Founded {
    /// Adds a key.
    pub(super) async fn key(&self, new: NewApiKey) -> ApiKeyRecord {
        let told = act("api_key.created", new.key.created_at);
        let made = self.world.store().create_api_key(self.now().await, new.clone(), told).await.unwrap();
        assert_eq!(written(made).1, KeyCreation::Done);
        new.key
    }

    /// All its keys.
    pub(super) async fn keys(&self) -> Vec<(ApiKeyRecord, MemberKind)> {
        let page = ApiKeyPage { store: None, after: None, limit: 10_000 };
        self.world.store().api_keys(self.id, page).await.unwrap()
    }
}

pub(super) async fn presented(world: &World, key: KeyId, now: Timestamp) -> Option<PresentedKey> {
    world.store().presented_key(key, now).await.unwrap()
}

async fn is_found_as_it_was_made(world: World) {
    let acme = world.found("acme").await;
    let vienna = acme.branch("vienna").await;
    let robot = acme.account("robot", acme.member_role).await;
    let plain = new_key(acme.id, acme.owner, 1);
    let mut full = new_key(acme.id, robot, 2);
    full.key = ApiKeyRecord {
        store: Some(vienna),
        name: "O'Brien \"the\" 🔑 \\ $1; --".to_owned(),
        environment: "test".to_owned(),
        scopes: vec!["*".to_owned()],
        allowed_ips: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        rate_limit: Some(KeyRateLimit { requests: u32::MAX, per: Duration::from_secs(60), burst: Some(5) }),
        quota: Some(KeyQuota { requests: u64::MAX, period: QuotaPeriod::Month }),
        metadata: json!({"team": "ops", "nested": {"a": [1, null, "é\u{1}"]}}).as_object().unwrap().clone(),
        expires_at: Some(at(100)),
        ..full.key
    };
    for (new, kind) in [(plain, MemberKind::User), (full, MemberKind::ServiceAccount)] {
        let (told, before) = (act("api_key.created", new.key.created_at).within(acme.id), acme.now().await);
        world.news();
        let answer = world.store().create_api_key(before, new.clone(), told.clone()).await.unwrap();
        let (revision, value) = written(answer);
        assert_eq!(value, KeyCreation::Done);
        assert_eq!(revision, before.revision + 1);
        assert_eq!(world.news(), [made(acme.id, new.key.id, revision)]);
        assert_eq!(acme.now().await.revision, revision);
        world.expect_entry(&told, "success").await;
        assert_eq!(world.store().api_key(acme.id, new.key.id).await.unwrap(), Some((new.key, kind)));
    }
    assert_eq!(world.store().api_key(acme.id, KeyId::new()).await.unwrap(), None);
}

async fn is_found_by_what_is_presented(world: World) {
    let acme = world.found("acme").await;
    let robot = acme.account("robot", acme.member_role).await;
    let (mine, its) = (new_key(acme.id, acme.owner, 1), new_key(acme.id, robot, 1));
    acme.key(mine.clone()).await;
    acme.key(NewApiKey { key: ApiKeyRecord { expires_at: Some(at(5)), ..its.key.clone() }, ..its.clone() }).await;
    let found = presented(&world, mine.key.id, at(2)).await.unwrap();
    let secret = |hash| vec![KeySecret { hash, expires_at: None }];
    let user = Some((UserStatus::Active, "owner-of-acme@example.test".to_owned()));
    let expected = PresentedKey { key: mine.key, secrets: secret(mine.secret), member_kind: MemberKind::User, user };
    assert_eq!(found, expected);
    // Whether it has ended is for whoever asks to judge.
    let found = presented(&world, its.key.id, at(9)).await.unwrap();
    assert_eq!((found.key.expires_at, found.member_kind, found.user), (Some(at(5)), MemberKind::ServiceAccount, None));
    assert_eq!(found.secrets, secret(its.secret));
    assert_eq!(presented(&world, KeyId::new(), at(2)).await, None);
}

async fn is_of_one_organization_only(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let (mine, theirs) = (new_key(acme.id, acme.owner, 1), new_key(other.id, other.owner, 1));
    acme.key(mine.clone()).await;
    other.key(theirs.clone()).await;
    let (before, at_now) = (other.contents().await, acme.now().await);
    let (store, told) = (world.store(), || act("somebody.elses", at(2)));
    world.news();
    assert_eq!(store.api_key(acme.id, theirs.key.id).await.unwrap(), None);
    assert_eq!(acme.keys().await, [(mine.key.clone(), MemberKind::User)]);
    assert_eq!(store.delete_api_key(at_now, theirs.key.id, told()).await.unwrap(), Revised::Missing);
    let rotation =
        KeyRotation { key: theirs.key.id, secret: new_token(), grace_until: at(2), member: acme.owner.into() };
    assert_eq!(store.rotate_api_key(at_now, rotation, told()).await.unwrap(), Revised::Missing);
    // A member, a store, an id or a secret of another organization makes no key of this one.
    let branch = other.branch("vienna").await;
    world.news();
    let crossing = [
        new_key(acme.id, other.owner, 2),
        NewApiKey { key: ApiKeyRecord { store: Some(branch), ..new_key(acme.id, acme.owner, 2).key }, ..mine.clone() },
        NewApiKey { key: ApiKeyRecord { id: theirs.key.id, ..mine.key.clone() }, ..new_key(acme.id, acme.owner, 2) },
        NewApiKey { secret: theirs.secret, ..new_key(acme.id, acme.owner, 2) },
        NewApiKey { key: ApiKeyRecord { store: Some(StoreId::new()), ..new_key(acme.id, acme.owner, 2).key }, ..mine },
    ];
    for new in crossing {
        let refused = store.create_api_key(acme.now().await, new, told()).await;
        assert!(!matches!(refused, Ok(Revised::Done { .. })), "{refused:?}");
    }
    let uses = vec![used(acme.id, theirs.key.id, 50, "198.51.100.1")];
    store.note_key_uses(uses).await.unwrap();
    assert_eq!(world.news(), []);
    assert_eq!(other.contents().await.keys, before.keys);
    assert_eq!(presented(&world, theirs.key.id, at(3)).await.unwrap().key, theirs.key);
}

async fn are_listed_oldest_first_in_pages(world: World) {
    let acme = world.found("acme").await;
    let mut expected = Vec::new();
    for second in [5, 3, 3, 9, 1] {
        expected.push(acme.key(new_key(acme.id, acme.owner, second)).await);
    }
    expected.sort_unstable_by_key(|key| (key.created_at, key.id));
    for limit in [1, 2, 5, 7] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = ApiKeyPage { store: None, after, limit };
            let keys = world.store().api_keys(acme.id, page).await.unwrap();
            assert!(keys.len() <= usize::try_from(limit).unwrap());
            let Some((last, _)) = keys.last() else { break };
            after = Some((last.created_at, last.id));
            found.extend(keys.into_iter().map(|(key, _)| key));
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
    let page = ApiKeyPage { store: None, after: None, limit: 7 };
    assert_eq!(world.store().api_keys(OrgId::new(), page).await.unwrap(), []);
}

async fn are_listed_by_store(world: World) {
    let acme = world.found("acme").await;
    let (vienna, linz) = (acme.branch("vienna").await, acme.branch("linz").await);
    let mut of_vienna = Vec::new();
    for (second, store) in [(4, Some(vienna)), (3, None), (2, Some(linz)), (1, Some(vienna))] {
        let new = new_key(acme.id, acme.owner, second);
        let key = acme.key(NewApiKey { key: ApiKeyRecord { store, ..new.key }, ..new }).await;
        if store == Some(vienna) {
            of_vienna.insert(0, (key, MemberKind::User));
        }
    }
    let page = ApiKeyPage { store: Some(vienna), after: None, limit: 10 };
    assert_eq!(world.store().api_keys(acme.id, page).await.unwrap(), of_vienna);
    let after = Some((of_vienna[0].0.created_at, of_vienna[0].0.id));
    assert_eq!(world.store().api_keys(acme.id, ApiKeyPage { after, ..page }).await.unwrap(), of_vienna[1..]);
}

async fn are_as_many_as_an_organization_may_have(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    other.key(new_key(other.id, other.owner, 1)).await;
    let new = || NewApiKey { max_per_organization: 2, ..new_key(acme.id, acme.owner, 1) };
    let first = acme.key(new()).await;
    acme.key(new()).await;
    let (told, before) = (act("api_key.created", at(2)), acme.now().await);
    world.news();
    let answer = world.store().create_api_key(before, new(), told.clone()).await.unwrap();
    assert_eq!(written(answer), (before.revision, KeyCreation::TooMany));
    assert_eq!((world.news(), acme.now().await), (vec![], before));
    world.expect_no_success(&told).await;
    let gone = act("api_key.deleted", at(3));
    written(world.store().delete_api_key(before, first.id, gone).await.unwrap());
    acme.key(new()).await;
}

async fn is_gone_once_deleted(world: World) {
    let acme = world.found("acme").await;
    let (new, stays) = (new_key(acme.id, acme.owner, 1), acme.key(new_key(acme.id, acme.owner, 1)).await);
    let key = acme.key(new.clone()).await;
    let rotation = KeyRotation { key: key.id, secret: new_token(), grace_until: at(70), member: key.member };
    acme.rotate(rotation, 2).await;
    let (told, before) = (act("api_key.deleted", at(3)).within(acme.id), acme.now().await);
    world.news();
    let (revision, ()) = written(world.store().delete_api_key(before, key.id, told.clone()).await.unwrap());
    assert_eq!(world.news(), [made(acme.id, key.id, revision)]);
    world.expect_entry(&told, "success").await;
    assert_eq!(presented(&world, key.id, at(3)).await, None);
    assert_eq!(acme.keys().await, [(stays, MemberKind::User)]);
    let again = act("api_key.deleted", at(4));
    let answer = world.store().delete_api_key(acme.now().await, key.id, again.clone()).await.unwrap();
    assert_eq!(answer, Revised::Missing);
    let rotation = KeyRotation { key: key.id, secret: new_token(), grace_until: at(70), member: key.member };
    let answer = world.store().rotate_api_key(acme.now().await, rotation, again.clone()).await.unwrap();
    assert_eq!(answer, Revised::Missing);
    world.expect_no_success(&again).await;
    assert_eq!(acme.now().await.revision, revision);
}

async fn is_written_at_the_revision_seen_only(world: World) {
    let acme = world.found("acme").await;
    let key = acme.key(new_key(acme.id, acme.owner, 1)).await;
    let seen = acme.now().await;
    acme.branch("vienna").await;
    let before = acme.contents().await;
    world.news();
    let store = world.store();
    for (at_wrong, expected) in [
        (seen, Revised::Stale),
        (AtRevision { revision: seen.revision + 5, ..seen }, Revised::Stale),
        (AtRevision { organization: OrgId::new(), ..seen }, Revised::Missing),
    ] {
        let told = || act("api_key.changed", at(5));
        let new = new_key(acme.id, acme.owner, 5);
        let answer = store.create_api_key(at_wrong, new, told()).await.unwrap();
        assert_eq!(matches!(answer, Revised::Stale), expected == Revised::Stale, "{answer:?}");
        assert!(!matches!(answer, Revised::Done { .. }));
        let rotation = KeyRotation { key: key.id, secret: new_token(), grace_until: at(9), member: key.member };
        assert!(!matches!(store.rotate_api_key(at_wrong, rotation, told()).await.unwrap(), Revised::Done { .. }));
        assert_eq!(store.delete_api_key(at_wrong, key.id, told()).await.unwrap(), expected);
    }
    assert_eq!((world.news(), acme.contents().await), (vec![], before));
    assert_eq!(presented(&world, key.id, at(5)).await.unwrap().secrets.len(), 1);
}

async fn goes_with_its_member_its_store_and_its_organization(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let bob = acme.member_called("bob", vec![everywhere(acme.member_role)]).await;
    other.join(bob, vec![everywhere(other.member_role)]).await;
    let (his, stays) = (new_key(acme.id, bob, 1), new_key(acme.id, acme.owner, 1));
    let elsewhere = other.key(new_key(other.id, bob, 1)).await;
    for new in [&his, &stays] {
        acme.key(new.clone()).await;
    }
    let told = act("member.removed", at(2));
    written(world.store().remove_member(acme.now().await, bob.into(), told).await.unwrap());
    assert_eq!(presented(&world, his.key.id, at(3)).await, None);
    assert_eq!(acme.keys().await, [(stays.key.clone(), MemberKind::User)]);
    assert_eq!(presented(&world, elsewhere.id, at(3)).await.unwrap().key, elsewhere);
    // Back again, one has no key that one had before.
    acme.join(bob, vec![everywhere(acme.member_role)]).await;
    assert_eq!(presented(&world, his.key.id, at(3)).await, None);
    world.remove(bob).await;
    assert_eq!(presented(&world, elsewhere.id, at(3)).await, None);
    let gone = act("organization.deleted", at(4));
    written(world.store().delete_organization(acme.now().await, gone).await.unwrap());
    assert_eq!(presented(&world, stays.key.id, at(4)).await, None);
    // The id of a key that has gone leads nowhere, and may be made again.
    other
        .key(NewApiKey { key: ApiKeyRecord { id: stays.key.id, ..new_key(other.id, other.owner, 5).key }, ..stays })
        .await;
}

async fn outlives_the_maker_of_its_service_account(world: World) {
    let acme = world.found("acme").await;
    let bob = acme.member_called("bob", vec![everywhere(acme.member_role)]).await;
    let robot = acme.account("robot", acme.member_role).await;
    let key = acme.key(new_key(acme.id, robot, 1)).await;
    world.remove(bob).await;
    assert_eq!(presented(&world, key.id, at(3)).await.unwrap().key, key);
    let told = act("service_account.deleted", at(4));
    written(world.store().remove_member(acme.now().await, robot, told).await.unwrap());
    assert_eq!(presented(&world, key.id, at(5)).await, None);
}

async fn tells_of_its_user_as_it_is_now(world: World) {
    let acme = world.found("acme").await;
    let key = acme.key(new_key(acme.id, acme.owner, 1)).await;
    for status in [UserStatus::Disabled, UserStatus::Active] {
        world.store().set_status(acme.owner, status, None, act("user.status_changed", at(2))).await.unwrap();
        let user = presented(&world, key.id, at(3)).await.unwrap().user;
        assert_eq!(user.map(|(status, _)| status), Some(status));
    }
}

pub(super) fn used(organization: OrgId, key: KeyId, second: u64, ip: &str) -> KeyUse {
    KeyUse { organization, key, used_at: at(second), ip: Some(ip.to_owned()) }
}

async fn notes_its_last_use(world: World) {
    let (acme, other) = (world.found("acme").await, world.found("other").await);
    let key = acme.key(new_key(acme.id, acme.owner, 1)).await;
    let (untouched, before) = (other.key(new_key(other.id, other.owner, 1)).await, acme.now().await);
    world.news();
    let last = || async {
        let (found, _) = world.store().api_key(acme.id, key.id).await.unwrap().unwrap();
        (found.last_used_at, found.last_used_ip)
    };
    let seen = |second, ip: &str| (Some(at(second)), Some(ip.to_owned()));
    world.store().note_key_uses(vec![]).await.unwrap();
    world.store().note_key_uses(vec![used(acme.id, key.id, 10, "198.51.100.1")]).await.unwrap();
    assert_eq!(last().await, seen(10, "198.51.100.1"));
    let late = vec![used(acme.id, key.id, 9, "198.51.100.2"), used(acme.id, KeyId::new(), 99, "198.51.100.3")];
    world.store().note_key_uses(late).await.unwrap();
    assert_eq!(last().await, seen(10, "198.51.100.1"), "a late word takes nothing back");
    let nowhere = KeyUse { ip: None, ..used(acme.id, key.id, 11, "") };
    world.store().note_key_uses(vec![nowhere, used(OrgId::new(), key.id, 50, "198.51.100.4")]).await.unwrap();
    assert_eq!(last().await, (Some(at(11)), None));
    assert_eq!((world.news(), acme.now().await), (vec![], before), "statistics change no decision");
    assert_eq!(presented(&world, untouched.id, at(2)).await.unwrap().key, untouched);
}

async fn notes_uses_of_many_at_once(world: World) {
    let mut organizations = Vec::new();
    for slug in ["acme", "other", "third"] {
        let organization = world.found(slug).await;
        let mut keys = Vec::new();
        for _ in 0..4 {
            keys.push(organization.key(new_key(organization.id, organization.owner, 1)).await.id);
        }
        organizations.push((organization.id, keys));
    }
    at_once(16, |index| {
        let (world, organizations) = (world.clone(), organizations.clone());
        async move {
            let second = 10 + u64::try_from(index).unwrap();
            let mut uses: Vec<_> = organizations
                .iter()
                .flat_map(|(organization, keys)| keys.iter().map(|key| used(*organization, *key, second, "::1")))
                .collect();
            // Every node has its own order.
            uses.rotate_left(index % 12);
            world.store().note_key_uses(uses).await.unwrap();
        }
    })
    .await;
    for (organization, keys) in organizations {
        for key in keys {
            let (found, _) = world.store().api_key(organization, key).await.unwrap().unwrap();
            assert!(found.last_used_at >= Some(at(10)), "somebody's word was taken: {found:?}");
        }
    }
}
