//! The links in mails: each used once, by one, and dead as soon as what they were made for has changed.

use super::{
    Case,
    act::{DAY, act, at, hash_of, new_session, new_token, new_user},
    mail::{claim, link_of, post, ready, to_owner, waiting},
    room,
    world::{World, added, at_once, done, expect_same_changes, revoked},
};
use crate::{
    changes::Change,
    id::UserId,
    mail::{Kind, Purpose},
    secret::SecretHash,
    store::{NewSession, NewUser, Opened, OpenedRecord, PurgeBefore, Spends, UserStatus},
};

pub(super) const CASES: &[Case] = room!["link":
    verifies_an_email_once,
    resets_a_password_once_and_ends_everything_else,
    lets_one_of_many_uses_of_a_link_win,
    takes_no_token_of_another_purpose_or_past_its_end,
    signs_in_by_a_link_once_and_verifies_the_email,
    leaves_nothing_to_whoever_registered_the_address_of_another,
    lets_one_of_many_sign_ins_by_a_link_win,
    kills_links_when_the_account_changes,
    makes_no_used_token_live_again,
    voids_the_password_of_an_unverified_account_only,
    forgets_tokens_that_have_ended,
];

async fn linked(world: &World, token: SecretHash, purpose: Purpose) -> Option<UserId> {
    world.store().linked_user(token, purpose, at(20)).await.unwrap().map(|user| user.id)
}

async fn verifies_an_email_once(world: World) {
    let user = world.user("ada").await;
    let token = ready(&world, "ada", user.id, Purpose::VerifyEmail, at(0)).await;
    let (session, verified, again) =
        (world.sign_in(user.id, at(1)).await, act("user.email_verified", at(2)), act("user.email_verified", at(3)));
    world.news();
    let now = world.store().verify_email(token, verified.clone()).await.unwrap().expect("the token lives");
    assert_eq!(world.news(), [Change::UserChanged { user: user.id }]);
    assert_eq!((now.email_verified, now.version, now.updated_at), (true, user.version + 1, at(2)));
    assert_eq!(world.reread(user.id).await, now);
    assert_eq!(world.live(user.id, at(3)).await, [session.id], "nobody is signed out by it");
    world.expect_entry(&verified, "success").await;
    let entry = world.entries(&verified).await.remove(0);
    assert_eq!(entry.target, Some(user.id.to_string()));
    assert_eq!(world.store().verify_email(token, again.clone()).await.unwrap(), None);
    world.expect_no_success(&again).await;
    assert_eq!(world.news(), []);
}

async fn resets_a_password_once_and_ends_everything_else(world: World) {
    let user = world.user("ada").await;
    let other = world.user("bob").await;
    let sessions = [world.sign_in(user.id, at(0)).await.id, world.sign_in(user.id, at(0)).await.id];
    let spared = world.sign_in(other.id, at(0)).await.id;
    let link = ready(&world, "ada", user.id, Purpose::SignIn, at(0)).await;
    let token = ready(&world, "ada", user.id, Purpose::ResetPassword, at(1)).await;
    let (reset, again) = (act("user.password_reset", at(2)), act("user.password_reset", at(3)));
    world.news();
    let now = world.store().reset_password(token, hash_of("new").0, reset.clone()).await.unwrap().unwrap();
    let expected: Vec<_> = sessions
        .map(|session| revoked(session, user.id))
        .into_iter()
        .chain([Change::UserChanged { user: user.id }])
        .collect();
    expect_same_changes(&world.news(), &expected);
    assert_eq!((now.password_hash.clone(), now.email_verified), (Some(hash_of("new")), true));
    assert_eq!(world.reread(user.id).await, now);
    assert_eq!(world.live(user.id, at(3)).await, []);
    assert_eq!(world.live(other.id, at(3)).await, [spared]);
    assert_eq!(linked(&world, link, Purpose::SignIn).await, None);
    world.expect_entry(&reset, "success").await;
    assert_eq!(world.store().reset_password(token, hash_of("third").0, again.clone()).await.unwrap(), None);
    world.expect_no_success(&again).await;
    assert_eq!(world.reread(user.id).await.password_hash, Some(hash_of("new")));
}

async fn lets_one_of_many_uses_of_a_link_win(world: World) {
    for round in 0..4 {
        let name = format!("user {round}");
        let user = world.user(&name).await.id;
        let verify = ready(&world, &name, user, Purpose::VerifyEmail, at(0)).await;
        let reset = ready(&world, &name, user, Purpose::ResetPassword, at(0)).await;
        let verified = at_once(16, |_| {
            let world = world.clone();
            async move {
                let used = world.store().verify_email(verify, act("user.email_verified", at(1))).await;
                used.unwrap().is_some()
            }
        })
        .await;
        let won = at_once(16, |index| {
            let world = world.clone();
            async move {
                let new = hash_of(&index.to_string());
                let used = world.store().reset_password(reset, new.0.clone(), act("user.password_reset", at(2))).await;
                used.unwrap().map(|_| new)
            }
        })
        .await;
        assert_eq!(verified.into_iter().filter(|used| *used).count(), 1);
        let won: Vec<_> = won.into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert_eq!(world.reread(user).await.password_hash.as_ref(), won.first());
    }
}

async fn takes_no_token_of_another_purpose_or_past_its_end(world: World) {
    let user = world.user("ada").await.id;
    let (verify, sign_in) = (
        ready(&world, "ada", user, Purpose::VerifyEmail, at(0)).await,
        ready(&world, "ada", user, Purpose::SignIn, at(0)).await,
    );
    let store = world.store();
    for token in [verify, sign_in, new_token()] {
        let reset = store.reset_password(token, hash_of("new").0, act("user.password_reset", at(1))).await;
        assert_eq!(reset.unwrap(), None);
    }
    assert_eq!(store.verify_email(sign_in, act("user.email_verified", at(1))).await.unwrap(), None);
    assert_eq!(store.verify_email(verify, act("user.email_verified", at(3600))).await.unwrap(), None);
    assert!(store.verify_email(verify, act("user.email_verified", at(3599))).await.unwrap().is_some());
    assert_eq!(world.reread(user).await.password_hash, Some(hash_of("ada")));
}

fn by_link(user: UserId, link: SecretHash) -> NewSession {
    NewSession { spends: Spends { link: Some(link), ..Spends::default() }, ..new_session(user, at(5)) }
}

async fn signs_in_by_a_link_once_and_verifies_the_email(world: World) {
    let (user, other) = (world.user("ada").await.id, world.user("bob").await.id);
    let link = ready(&world, "ada", user, Purpose::SignIn, at(0)).await;
    let login = act("session.login", at(5));
    let stolen = world.store().open_session(by_link(other, link), login.clone()).await.unwrap();
    assert_eq!(stolen, Opened::Spent, "it is somebody else's");
    world.expect_no_success(&login).await;
    world.news();
    let opened = world.store().open_session(by_link(user, link), act("session.login", at(5))).await.unwrap();
    let Opened::New(opened) = opened else { panic!("it must open: {opened:?}") };
    let OpenedRecord { user: now, .. } = *opened;
    assert_eq!(world.news(), [Change::UserChanged { user }]);
    assert_eq!(world.reread(user).await.email_verified, now.email_verified);
    assert!(now.email_verified);
    let again = world.store().open_session(by_link(user, link), act("session.login", at(6))).await.unwrap();
    assert_eq!(again, Opened::Spent);
    assert_eq!(world.live(user, at(6)).await.len(), 1);
    assert!(!world.reread(other).await.email_verified);
}

async fn leaves_nothing_to_whoever_registered_the_address_of_another(world: World) {
    let store = world.store().clone();
    for (name, purpose) in [("ada", Purpose::SignIn), ("bob", Purpose::ResetPassword)] {
        let user = world.user(name).await.id;
        world.sign_in(user, at(0)).await;
        assert!(store.enrol_totp(user, vec![7; 8], act("user.mfa_begun", at(0))).await.unwrap());
        let token = ready(&world, name, user, purpose, at(1)).await;
        let (password, sessions) = if purpose == Purpose::SignIn {
            let opened = store.open_session(by_link(user, token), act("session.login", at(5))).await.unwrap();
            assert!(matches!(opened, Opened::New(_)), "{opened:?}");
            (None, 1)
        } else {
            store.reset_password(token, hash_of("new").0, act("user.password_reset", at(5))).await.unwrap().unwrap();
            (Some(hash_of("new")), 0)
        };
        let now = world.reread(user).await;
        assert_eq!((now.password_hash, now.email_verified, now.mfa_enabled), (password, true, false), "{name}");
        assert_eq!(world.live(user, at(6)).await.len(), sessions, "{name}");
        assert!(store.totp(user).await.unwrap().is_none(), "{name}");
    }
    let root = NewUser { platform_admin: true, ..new_user("root") };
    let admin = added(store.create_user(root, act("user.admin_created", at(0))).await.unwrap()).id;
    world.sign_in(admin, at(0)).await;
    let link = ready(&world, "root", admin, Purpose::SignIn, at(1)).await;
    store.open_session(by_link(admin, link), act("session.login", at(5))).await.unwrap();
    assert_eq!(world.reread(admin).await.password_hash, Some(hash_of("root")));
    assert_eq!(world.live(admin, at(6)).await.len(), 2);
}

async fn lets_one_of_many_sign_ins_by_a_link_win(world: World) {
    let user = world.user("ada").await.id;
    for _ in 0..4 {
        let link = ready(&world, "ada", user, Purpose::SignIn, at(0)).await;
        let before = world.live(user, at(6)).await.len();
        let opened = at_once(16, |_| {
            let world = world.clone();
            async move {
                let opened = world.store().open_session(by_link(user, link), act("session.login", at(5))).await;
                matches!(opened.unwrap(), Opened::New(_))
            }
        })
        .await;
        assert_eq!(opened.into_iter().filter(|opened| *opened).count(), 1);
        assert_eq!(world.live(user, at(6)).await.len(), before + 1);
    }
}

async fn kills_links_when_the_account_changes(world: World) {
    const PURPOSES: [Purpose; 3] = [Purpose::VerifyEmail, Purpose::ResetPassword, Purpose::SignIn];
    let store = world.store().clone();
    for (name, change) in [("ada", "password"), ("bob", "status"), ("cyd", "removal"), ("dan", "nothing")] {
        let user = world.user(name).await.id;
        let mut tokens = Vec::new();
        for purpose in PURPOSES {
            tokens.push((ready(&world, name, user, purpose, at(0)).await, purpose));
        }
        match change {
            "password" => {
                let (current, new) = (Some(hash_of(name).0), hash_of("new").0);
                done(store.change_password(user, current, new, None, act("user.changed", at(1))).await.unwrap());
            }
            "status" => {
                for status in [UserStatus::Disabled, UserStatus::Active] {
                    done(store.set_status(user, status, None, act("user.disabled", at(1))).await.unwrap());
                }
            }
            "removal" => done(store.delete_user(user, Vec::new(), act("user.deleted", at(1))).await.unwrap()),
            _ => {}
        }
        for (token, purpose) in tokens {
            let lives = linked(&world, token, purpose).await.is_some();
            assert_eq!(lives, change == "nothing", "{purpose:?} after a change of {change}");
        }
    }
}

async fn makes_no_used_token_live_again(world: World) {
    let user = world.user("ada").await.id;
    post(&world, [to_owner(Kind::SignInLink, "ada", at(0))], at(0)).await;
    let (first, mails) = claim(&world, at(0), 1).await;
    let link = link_of(&mails[0], first, user, Purpose::SignIn);
    assert!(world.store().ready_link(link).await.unwrap());
    // It went out, and whoever sent it died before noting so; the reader was quick.
    let opened = world.store().open_session(by_link(user, link.hash), act("session.login", at(5))).await.unwrap();
    assert!(matches!(opened, Opened::New(_)));
    assert_eq!(waiting(&world, at(DAY)).await, []);
    assert!(!world.store().ready_link(link).await.unwrap());
    assert_eq!(linked(&world, link.hash, Purpose::SignIn).await, None);
}

async fn voids_the_password_of_an_unverified_account_only(world: World) {
    let store = world.store().clone();
    let user = world.user("ada").await.id;
    // Held, which is no sign-in yet.
    let session = world.open(NewSession { is_held: true, ..new_session(user, at(0)) }).await.id;
    let token = ready(&world, "ada", user, Purpose::VerifyEmail, at(0)).await;
    let mail = to_owner(Kind::Registration, "ada", at(2));
    let (id, again) = (mail.id, act("user.registered", at(2)).telling([mail]));
    let stale = act("user.registered", at(1));
    store.void_password(user, hash_of("another").0, stale.clone()).await.unwrap();
    world.expect_entry(&stale, "success").await;
    assert_eq!(world.reread(user).await.password_hash, Some(hash_of("ada")));
    world.news();
    store.void_password(user, hash_of("ada").0, again.clone()).await.unwrap();
    expect_same_changes(&world.news(), &[revoked(session, user), Change::UserChanged { user }]);
    let voided = world.reread(user).await;
    assert_eq!((voided.password_hash, voided.display_name), (None, None));
    assert_eq!(linked(&world, token, Purpose::VerifyEmail).await, None);
    assert_eq!(waiting(&world, at(2)).await, [id], "its own mail goes out");
    world.expect_entry(&again, "success").await;

    let verified = world.user("bob").await.id;
    let token = ready(&world, "bob", verified, Purpose::VerifyEmail, at(0)).await;
    store.verify_email(token, act("user.email_verified", at(1))).await.unwrap().unwrap();
    store.void_password(verified, hash_of("bob").0, act("user.registered", at(2))).await.unwrap();
    assert_eq!(world.reread(verified).await.password_hash, Some(hash_of("bob")));

    let root = NewUser { platform_admin: true, ..new_user("root") };
    let admin = added(store.create_user(root, act("user.admin_created", at(0))).await.unwrap()).id;
    let used = world.user("cyd").await.id;
    world.sign_in(used, at(0)).await;
    for (user, name) in [(admin, "root"), (used, "cyd")] {
        store.void_password(user, hash_of(name).0, act("user.registered", at(2))).await.unwrap();
        assert_eq!(world.reread(user).await.password_hash, Some(hash_of(name)), "{name}");
    }
}

async fn forgets_tokens_that_have_ended(world: World) {
    let user = world.user("ada").await.id;
    let (old, young) = (
        ready(&world, "ada", user, Purpose::VerifyEmail, at(0)).await,
        ready(&world, "ada", user, Purpose::SignIn, at(10)).await,
    );
    let before = PurgeBefore { tokens: at(3605), ..super::act::of_nothing() };
    assert_eq!(world.store().purge(before).await.unwrap(), 1);
    assert_eq!(linked(&world, old, Purpose::VerifyEmail).await, None);
    assert_eq!(linked(&world, young, Purpose::SignIn).await, Some(user));
}
