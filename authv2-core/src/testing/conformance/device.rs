//! Browsers that users are known on: known with the opening of a session, forgotten with what ends the trust in them.

use super::{
    Case,
    act::{DAY, act, at, email_of, hash_of, new_session, of_nothing},
    room,
    world::{SignedIn, World, at_once, done, revoked},
};
use crate::{
    clock::Timestamp,
    id::{DeviceId, UserId},
    store::{DeviceRecord, NewDevice, NewSession, Opened, PurgeBefore, SignInQuery, UserStatus},
};

pub(super) const CASES: &[Case] = room!["device":
    knows_the_browser_that_a_session_is_opened_in,
    knows_it_again_by_the_id_that_its_cookie_names,
    gives_another_id_where_the_one_presented_is_not_the_users,
    knows_twenty_at_most_and_lets_the_longest_unused_go,
    opens_many_sessions_at_once_in_one_browser,
    tells_at_a_sign_in_whether_a_device_is_the_users,
    forgets_a_device_and_ends_the_sessions_opened_on_it,
    forgets_no_device_of_others,
    forgets_all_but_the_present_one_with_the_password,
    forgets_all_with_the_account,
    forgets_devices_of_long_ago,
];

fn browser(presented: Option<DeviceId>, name: &str) -> NewDevice {
    NewDevice { presented, id: DeviceId::new(), name: name.to_owned(), notice: None }
}

fn opened_in(user: UserId, browser: NewDevice, now: Timestamp) -> NewSession {
    NewSession { browser: Some(browser), ..new_session(user, now) }
}

/// Opens a session; the device that it was opened on.
async fn open(world: &World, new: NewSession) -> Option<DeviceId> {
    let act = act("session.login", new.record.created_at);
    match world.store().open_session(new, act).await.unwrap() {
        Opened::New(opened) => opened.device,
        other => panic!("the session must open, not {other:?}"),
    }
}

async fn sign_in_on(world: &World, user: UserId, presented: Option<DeviceId>, now: Timestamp) -> DeviceId {
    open(world, opened_in(user, browser(presented, "Firefox"), now)).await.expect("a browser")
}

/// Signs in on a new device; both.
async fn sign_in(world: &World, user: UserId, now: Timestamp) -> (SignedIn, DeviceId) {
    let browser = browser(None, "Firefox");
    let device = browser.id;
    (world.open(opened_in(user, browser, now)).await, device)
}

async fn devices(world: &World, user: UserId) -> Vec<DeviceId> {
    world.store().devices_of(user).await.unwrap().into_iter().map(|device| device.id).collect()
}

async fn knows_the_browser_that_a_session_is_opened_in(world: World) {
    let user = world.user("ada").await.id;
    assert_eq!(open(&world, new_session(user, at(0))).await, None);
    assert_eq!(world.store().devices_of(user).await.unwrap(), []);
    let new = opened_in(user, browser(None, "Firefox on Linux"), at(1));
    let (id, ip) = (new.browser.as_ref().unwrap().id, new.record.ip.clone());
    assert_eq!(open(&world, new).await, Some(id));
    let (name, now) = ("Firefox on Linux".to_owned(), at(1));
    let known = DeviceRecord { id, user_id: user, name, ip, created_at: now, last_login_at: now };
    assert_eq!(world.store().devices_of(user).await.unwrap(), [known]);
    assert!(world.store().is_device_of(user, id).await.unwrap());
    assert!(!world.store().is_device_of(user, DeviceId::new()).await.unwrap());
}

async fn knows_it_again_by_the_id_that_its_cookie_names(world: World) {
    let user = world.user("ada").await.id;
    let first = sign_in_on(&world, user, None, at(1)).await;
    let other = sign_in_on(&world, user, None, at(2)).await;
    let mut again = opened_in(user, browser(Some(first), "Chrome"), at(3));
    again.record.ip = Some("192.0.2.9".to_owned());
    assert_eq!(open(&world, again).await, Some(first));
    let known = world.store().devices_of(user).await.unwrap();
    assert_eq!(known.iter().map(|device| device.id).collect::<Vec<_>>(), [first, other]);
    assert_eq!((known[0].created_at, known[0].last_login_at), (at(1), at(3)));
    assert_eq!((known[0].name.as_str(), known[0].ip.as_deref()), ("Chrome", Some("192.0.2.9")));
}

async fn gives_another_id_where_the_one_presented_is_not_the_users(world: World) {
    let (ada, bob) = (world.user("ada").await.id, world.user("bob").await.id);
    let of_ada = sign_in_on(&world, ada, None, at(1)).await;
    for presented in [of_ada, DeviceId::new()] {
        let of_bob = sign_in_on(&world, bob, Some(presented), at(2)).await;
        assert_ne!(of_bob, presented);
    }
    assert_eq!(devices(&world, ada).await, [of_ada]);
    assert_eq!(devices(&world, bob).await.len(), 2);
    assert_eq!(world.store().devices_of(ada).await.unwrap()[0].last_login_at, at(1));
}

async fn knows_twenty_at_most_and_lets_the_longest_unused_go(world: World) {
    let (user, other) = (world.user("ada").await.id, world.user("bob").await.id);
    let of_other = sign_in_on(&world, other, None, at(0)).await;
    let mut ids = Vec::new();
    for second in 0..20 {
        ids.push(sign_in_on(&world, user, None, at(second)).await);
    }
    assert_eq!(sign_in_on(&world, user, Some(ids[0]), at(30)).await, ids[0], "used again, it is not the oldest");
    let latest = sign_in_on(&world, user, None, at(31)).await;
    let mut expected = vec![latest, ids[0]];
    expected.extend(ids[2..].iter().rev());
    assert_eq!(devices(&world, user).await, expected);
    assert_eq!(devices(&world, other).await, [of_other]);
}

async fn opens_many_sessions_at_once_in_one_browser(world: World) {
    let user = world.user("ada").await.id;
    let known = sign_in_on(&world, user, None, at(0)).await;
    let opened = at_once(16, |_| {
        let world = world.clone();
        async move { sign_in_on(&world, user, Some(known), at(1)).await }
    })
    .await;
    assert!(opened.iter().all(|device| *device == known), "{opened:?}");
    assert_eq!(devices(&world, user).await, [known]);
    at_once(30, |_| {
        let world = world.clone();
        async move { sign_in_on(&world, user, None, at(2)).await }
    })
    .await;
    assert_eq!(devices(&world, user).await.len(), 20);
}

async fn tells_at_a_sign_in_whether_a_device_is_the_users(world: World) {
    let (ada, bob) = (world.user("ada").await.id, world.user("bob").await.id);
    let (of_ada, of_bob) = (sign_in_on(&world, ada, None, at(1)).await, sign_in_on(&world, bob, None, at(1)).await);
    for (name, presented, known) in [
        ("ada", Some(of_ada), Some(of_ada)),
        ("ada", Some(of_bob), None),
        ("ada", Some(DeviceId::new()), None),
        ("ada", None, None),
        ("bob", Some(of_bob), Some(of_bob)),
        ("nobody", Some(of_ada), None),
    ] {
        let query = SignInQuery {
            email_key: email_of(name),
            network: None,
            device: None,
            presented,
            known_since: at(0),
            buckets: Vec::new(),
        };
        assert_eq!(world.store().sign_in_facts(query).await.unwrap().known_device, known, "{name} {presented:?}");
    }
}

async fn forgets_a_device_and_ends_the_sessions_opened_on_it(world: World) {
    let user = world.user("ada").await.id;
    let (session, device) = sign_in(&world, user, at(1)).await;
    let again = world.open(opened_in(user, browser(Some(device), "Firefox"), at(1))).await;
    let (elsewhere, other) = sign_in(&world, user, at(1)).await;
    let bearer = world.sign_in(user, at(1)).await;
    assert!(world.store().revoke_session(user, again.id, act("session.revoked", at(1))).await.unwrap());
    world.news();
    let told = act("device.forgotten", at(2));
    assert!(world.store().forget_device(user, device, told.clone()).await.unwrap());
    assert_eq!(world.news(), [revoked(session.id, user)], "what has ended is not ended again");
    world.expect_entry(&told, "success").await;
    assert_eq!(devices(&world, user).await, [other]);
    let mut live = world.live(user, at(2)).await;
    let mut expected = [elsewhere.id, bearer.id];
    live.sort_unstable();
    expected.sort_unstable();
    assert_eq!(live, expected);

    let told = act("device.forgotten", at(3));
    assert!(!world.store().forget_device(user, device, told.clone()).await.unwrap());
    assert_eq!(world.entries(&told).await, []);
    assert_ne!(sign_in_on(&world, user, Some(device), at(4)).await, device, "its cookie is worth nothing");
}

async fn forgets_no_device_of_others(world: World) {
    let (ada, bob) = (world.user("ada").await.id, world.user("bob").await.id);
    let (session, device) = sign_in(&world, ada, at(1)).await;
    world.news();
    assert!(!world.store().forget_device(bob, device, act("device.forgotten", at(2))).await.unwrap());
    assert_eq!(world.news(), []);
    assert_eq!(devices(&world, ada).await, [device]);
    assert_eq!(world.live(ada, at(2)).await, [session.id]);
}

async fn forgets_all_but_the_present_one_with_the_password(world: World) {
    for keeps in [true, false] {
        let name = format!("ada {keeps}");
        let user = world.user(&name).await.id;
        let (session, present) = sign_in(&world, user, at(1)).await;
        sign_in(&world, user, at(1)).await;
        let of_other = world.user(&format!("bob {keeps}")).await.id;
        let (_, bystander) = sign_in(&world, of_other, at(1)).await;
        let (keep, told) = (keeps.then_some(session.id), act("user.password_changed", at(2)));
        let current = Some(hash_of(&name).0);
        done(world.store().change_password(user, current, hash_of("new").0, keep, told).await.unwrap());
        let left = if keeps { vec![present] } else { vec![] };
        assert_eq!(devices(&world, user).await, left);
        assert_eq!(devices(&world, of_other).await, [bystander]);
    }
}

async fn forgets_all_with_the_account(world: World) {
    let user = world.user("ada").await.id;
    let (_, device) = sign_in(&world, user, at(1)).await;
    for (status, left) in [(UserStatus::Active, vec![device]), (UserStatus::Disabled, vec![])] {
        done(world.store().set_status(user, status, None, act("user.status_changed", at(2))).await.unwrap());
        assert_eq!(devices(&world, user).await, left, "{status:?}");
    }
    let other = world.user("bob").await.id;
    sign_in(&world, other, at(1)).await;
    done(world.store().delete_user(other, Vec::new(), act("user.deleted", at(2))).await.unwrap());
    assert_eq!(devices(&world, other).await, []);
}

async fn forgets_devices_of_long_ago(world: World) {
    let user = world.user("ada").await.id;
    let (old, used) = (sign_in_on(&world, user, None, at(0)).await, sign_in_on(&world, user, None, at(0)).await);
    sign_in_on(&world, user, Some(used), at(20 * DAY)).await;
    let before = PurgeBefore { devices: at(10 * DAY), ..of_nothing() };
    assert_eq!(world.store().purge(before).await.unwrap(), 1);
    assert_eq!(devices(&world, user).await, [used]);
    assert!(!world.store().is_device_of(user, old).await.unwrap());
}
