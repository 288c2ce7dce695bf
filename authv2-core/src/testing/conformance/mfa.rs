//! Second factors: enrolled and confirmed once, used up once, and what sessions are proven with.

use super::{
    Case,
    act::{act, at, hash_of, new_session, new_token},
    room,
    world::{World, at_once, done},
};
use crate::{
    changes::Change,
    id::UserId,
    secret::SecretHash,
    store::{
        DeviceKind, NewSession, Opened, Place, Redacted, Risk, SecondFactor, SessionRecord, Spends, SteppedUp,
        SteppingUp, TotpConfirmation, UserStatus,
    },
};

pub(super) const CASES: &[Case] = room!["mfa":
    keeps_an_enrolment_until_it_is_confirmed_or_replaced,
    confirms_the_secret_that_the_code_was_of,
    enrols_nobody_a_second_time,
    lets_one_of_many_confirm,
    goes_with_its_recovery_codes,
    replaces_recovery_codes,
    removes_nothing_for_a_used_factor,
    lets_one_of_many_use_a_step,
    lets_one_of_many_use_a_recovery_code,
    takes_no_step_before_one_that_was_used,
    opens_no_session_with_a_used_factor,
    proves_a_session_again,
    proves_no_session_that_ended_or_is_anothers,
    proves_nothing_with_a_used_factor_or_an_old_password,
    replaces_a_cookie_once,
    releases_a_session_to_where_it_is_used,
];

pub(super) const SEALED: [u8; 3] = [1, 2, 3];

pub(super) fn confirmation(user: UserId, step: i64, recovery_codes: &[SecretHash]) -> TotpConfirmation {
    TotpConfirmation { user, sealed: SEALED.to_vec(), step, recovery_codes: recovery_codes.to_vec() }
}

/// A user that signs in with a second factor, whose step 100 is used, and has these recovery codes.
pub(super) async fn enrolled(world: &World, name: &str, codes: &[SecretHash]) -> UserId {
    let user = world.user(name).await.id;
    give_factor(world, user, codes).await;
    user
}

/// Likewise, for a user who may have sessions from before.
pub(super) async fn give_factor(world: &World, user: UserId, codes: &[SecretHash]) {
    let store = world.store();
    assert!(store.enrol_totp(user, SEALED.to_vec(), act("mfa.enrolment_begun", at(1))).await.unwrap());
    assert!(store.confirm_totp(confirmation(user, 100, codes), act("mfa.enabled", at(2))).await.unwrap());
}

pub(super) fn step(step: i64) -> SecondFactor {
    SecondFactor::Totp { step }
}

fn with_factor(user: UserId, factor: SecondFactor) -> NewSession {
    NewSession { spends: Spends { factor: Some(factor), ..Spends::default() }, ..new_session(user, at(10)) }
}

pub(super) fn proving(user: UserId, record: &SessionRecord, factor: Option<SecondFactor>) -> SteppingUp {
    SteppingUp {
        user,
        session: record.id,
        methods: if factor.is_some() { vec!["otp", "mfa"] } else { vec!["pwd"] },
        factor,
        verified_hash: None,
        cookie: None,
        release: None,
    }
}

async fn keeps_an_enrolment_until_it_is_confirmed_or_replaced(world: World) {
    let user = world.user("ada").await.id;
    let store = world.store();
    assert_eq!(store.totp(user).await.unwrap(), None);
    let begun = act("mfa.enrolment_begun", at(1));
    assert!(store.enrol_totp(user, vec![9], begun.clone()).await.unwrap());
    assert!(store.enrol_totp(user, SEALED.to_vec(), act("mfa.enrolment_begun", at(2))).await.unwrap());
    world.expect_entry(&begun, "success").await;
    let kept = store.totp(user).await.unwrap().unwrap();
    assert_eq!((kept.sealed, kept.confirmed_at, kept.last_step, kept.recovery_codes), (SEALED.to_vec(), None, 0, 0));
    assert!(!world.reread(user).await.mfa_enabled, "nobody is asked for a code yet");
    assert!(!store.enrol_totp(UserId::new(), vec![9], act("mfa.enrolment_begun", at(3))).await.unwrap());
}

async fn confirms_the_secret_that_the_code_was_of(world: World) {
    let user = world.user("ada").await.id;
    let store = world.store();
    assert!(store.enrol_totp(user, vec![9], act("mfa.enrolment_begun", at(1))).await.unwrap());
    let early = act("mfa.enabled", at(2));
    assert!(!store.confirm_totp(confirmation(user, 7, &[]), early.clone()).await.unwrap());
    world.expect_no_success(&early).await;
    assert!(store.enrol_totp(user, SEALED.to_vec(), act("mfa.enrolment_begun", at(3))).await.unwrap());
    world.news();
    let enabled = act("mfa.enabled", at(4));
    let codes = [new_token(), new_token()];
    assert!(store.confirm_totp(confirmation(user, 7, &codes), enabled.clone()).await.unwrap());
    assert_eq!(world.news(), [Change::UserChanged { user }]);
    world.expect_entry(&enabled, "success").await;
    let kept = store.totp(user).await.unwrap().unwrap();
    assert_eq!((kept.confirmed_at, kept.last_step, kept.recovery_codes), (Some(at(4)), 7, 2));
    assert!(world.reread(user).await.mfa_enabled);
}

async fn enrols_nobody_a_second_time(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    let again = act("mfa.enrolment_begun", at(5));
    assert!(!world.store().enrol_totp(user, vec![9], again.clone()).await.unwrap());
    world.expect_no_success(&again).await;
    assert!(!world.store().confirm_totp(confirmation(user, 200, &[]), act("mfa.enabled", at(6))).await.unwrap());
    let kept = world.store().totp(user).await.unwrap().unwrap();
    assert_eq!((kept.sealed, kept.confirmed_at, kept.last_step), (SEALED.to_vec(), Some(at(2)), 100));
}

async fn lets_one_of_many_confirm(world: World) {
    let user = world.user("ada").await.id;
    assert!(world.store().enrol_totp(user, SEALED.to_vec(), act("mfa.enrolment_begun", at(1))).await.unwrap());
    let answers = at_once(16, |_| {
        let world = world.clone();
        let confirmation = confirmation(user, 7, &[new_token(), new_token()]);
        async move { world.store().confirm_totp(confirmation, act("mfa.enabled", at(2))).await.unwrap() }
    })
    .await;
    assert_eq!(answers.into_iter().filter(|confirmed| *confirmed).count(), 1);
    assert_eq!(world.store().totp(user).await.unwrap().unwrap().recovery_codes, 2);
}

async fn goes_with_its_recovery_codes(world: World) {
    let code = new_token();
    let user = enrolled(&world, "ada", &[code, new_token()]).await;
    world.news();
    let disabled = act("mfa.disabled", at(3));
    assert!(world.store().remove_mfa(user, SecondFactor::RecoveryCode(code), disabled.clone()).await.unwrap());
    assert_eq!(world.news(), [Change::UserChanged { user }]);
    world.expect_entry(&disabled, "success").await;
    assert_eq!(world.store().totp(user).await.unwrap(), None);
    assert!(!world.reread(user).await.mfa_enabled);
    let other = new_token();
    let again = TotpConfirmation { sealed: vec![4], ..confirmation(user, 300, &[other]) };
    assert!(world.store().enrol_totp(user, vec![4], act("mfa.enrolment_begun", at(4))).await.unwrap());
    assert!(world.store().confirm_totp(again, act("mfa.enabled", at(5))).await.unwrap());
    assert_eq!(world.store().totp(user).await.unwrap().unwrap().recovery_codes, 1, "none is left of before");
}

async fn replaces_recovery_codes(world: World) {
    let (old, new) = (new_token(), new_token());
    let user = enrolled(&world, "ada", &[old, new_token()]).await;
    let replaced = act("mfa.recovery_codes_replaced", at(3));
    let store = world.store();
    assert!(store.replace_recovery_codes(user, step(101), vec![new], replaced.clone()).await.unwrap());
    world.expect_entry(&replaced, "success").await;
    assert_eq!(store.totp(user).await.unwrap().unwrap().recovery_codes, 1);
    let used = store.replace_recovery_codes(user, step(101), vec![new_token()], act("x.y", at(4))).await.unwrap();
    assert!(!used, "the code was used");
    let gone = SecondFactor::RecoveryCode(old);
    assert!(!store.replace_recovery_codes(user, gone, vec![new_token()], act("x.y", at(4))).await.unwrap());
    assert!(matches!(open(&world, with_factor(user, SecondFactor::RecoveryCode(new))).await, Opened::New(_)));
}

async fn removes_nothing_for_a_used_factor(world: World) {
    let user = enrolled(&world, "ada", &[new_token()]).await;
    for factor in [step(100), step(99), SecondFactor::RecoveryCode(new_token())] {
        let disabled = act("mfa.disabled", at(3));
        assert!(!world.store().remove_mfa(user, factor, disabled.clone()).await.unwrap());
        world.expect_no_success(&disabled).await;
    }
    let kept = world.store().totp(user).await.unwrap().unwrap();
    assert_eq!((kept.last_step, kept.recovery_codes), (100, 1));
    assert!(world.reread(user).await.mfa_enabled);
}

async fn open(world: &World, session: NewSession) -> Opened {
    world.store().open_session(session, act("session.login", at(10))).await.unwrap()
}

async fn expect_one_winner(world: &World, user: UserId, factor: SecondFactor) {
    let answers = at_once(24, |_| {
        let world = world.clone();
        async move { open(&world, with_factor(user, factor)).await }
    })
    .await;
    let opened = answers.iter().filter(|answer| matches!(answer, Opened::New(_))).count();
    let spent = answers.iter().filter(|answer| **answer == Opened::Spent).count();
    assert_eq!((opened, spent), (1, 23), "{answers:?}");
    assert_eq!(world.live(user, at(11)).await.len(), 1);
}

async fn lets_one_of_many_use_a_step(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    expect_one_winner(&world, user, step(101)).await;
    assert_eq!(world.store().totp(user).await.unwrap().unwrap().last_step, 101);
}

async fn lets_one_of_many_use_a_recovery_code(world: World) {
    let code = new_token();
    let user = enrolled(&world, "ada", &[code, new_token()]).await;
    expect_one_winner(&world, user, SecondFactor::RecoveryCode(code)).await;
    assert_eq!(world.store().totp(user).await.unwrap().unwrap().recovery_codes, 1);
}

async fn takes_no_step_before_one_that_was_used(world: World) {
    let user = enrolled(&world, "ada", &[]).await;
    assert!(matches!(open(&world, with_factor(user, step(105))).await, Opened::New(_)));
    assert_eq!(open(&world, with_factor(user, step(104))).await, Opened::Spent);
    assert!(matches!(open(&world, with_factor(user, step(106))).await, Opened::New(_)));
}

async fn opens_no_session_with_a_used_factor(world: World) {
    let codes = [new_token(), new_token()];
    let (user, other) = (enrolled(&world, "ada", &codes[..1]).await, enrolled(&world, "bob", &codes[1..]).await);
    let login = act("session.login", at(10));
    for factor in [step(100), SecondFactor::RecoveryCode(codes[1])] {
        let attempt = with_factor(user, factor);
        assert_eq!(world.store().open_session(attempt, login.clone()).await.unwrap(), Opened::Spent);
    }
    // Nor does a sign-in go without one that began before it was confirmed.
    assert_eq!(world.store().open_session(new_session(user, at(10)), login.clone()).await.unwrap(), Opened::Void);
    world.expect_no_success(&login).await;
    assert_eq!((world.live(user, at(11)).await, world.reread(user).await.last_login_at), (vec![], None));
    assert_eq!(world.store().totp(other).await.unwrap().unwrap().recovery_codes, 1, "nobody's code is another's");
    // One that was enrolled and not confirmed is none.
    let carol = world.user("carol").await.id;
    assert!(world.store().enrol_totp(carol, SEALED.to_vec(), act("mfa.enrolment_begun", at(1))).await.unwrap());
    assert_eq!(open(&world, with_factor(carol, step(7))).await, Opened::Spent);
}

async fn proves_a_session_again(world: World) {
    let user = world.user("ada").await.id;
    let session = world.sign_in(user, at(10)).await;
    let other = world.sign_in(user, at(10)).await;
    give_factor(&world, user, &[]).await;
    world.news();
    let stepped = act("session.stepped_up", at(20));
    let answer = world.store().step_up(proving(user, &session.record, Some(step(101))), stepped.clone()).await.unwrap();
    assert_eq!(world.news(), [Change::SessionChanged { session: session.id, user }]);
    world.expect_entry(&stepped, "success").await;
    let SteppedUp::Done(after, owner) = answer else { panic!("{answer:?}") };
    assert_eq!(owner.id, user);
    let expected =
        SessionRecord { auth_time: at(20), amr: "pwd otp mfa".to_owned(), acr: "aal2".to_owned(), ..session.record };
    assert_eq!(after, expected);
    assert_eq!(world.session(session.id).await, expected);
    assert_eq!(world.session(other.id).await, other.record, "another session gains nothing");
    // A password later makes it fresher, and no weaker.
    let later = world.store().step_up(proving(user, &after, None), act("session.stepped_up", at(30))).await.unwrap();
    let SteppedUp::Done(later, _) = later else { panic!("{later:?}") };
    assert_eq!((later.auth_time, &*later.amr, &*later.acr), (at(30), "pwd otp mfa", "aal2"));
}

async fn proves_no_session_that_ended_or_is_anothers(world: World) {
    let (user, other) = (world.user("ada").await.id, enrolled(&world, "bob", &[]).await);
    let (ended, live) = (world.sign_in(user, at(10)).await, world.sign_in(user, at(10)).await);
    give_factor(&world, user, &[]).await;
    assert!(world.store().revoke_session(user, ended.id, act("session.revoked", at(11))).await.unwrap());
    world.news();
    for attempt in [
        proving(user, &ended.record, Some(step(101))),
        proving(other, &live.record, Some(step(101))),
        proving(user, &new_session(user, at(10)).record, Some(step(101))),
    ] {
        let stepped = act("session.stepped_up", at(20));
        assert_eq!(world.store().step_up(attempt, stepped.clone()).await.unwrap(), SteppedUp::Ended);
        world.expect_no_success(&stepped).await;
    }
    assert_eq!(world.news(), []);
    assert_eq!(world.store().totp(user).await.unwrap().unwrap().last_step, 100, "no code is used up for nothing");
    done(world.store().set_status(user, UserStatus::Disabled, None, act("user.disabled", at(21))).await.unwrap());
    let attempt = proving(user, &live.record, Some(step(101)));
    assert_eq!(world.store().step_up(attempt, act("session.stepped_up", at(22))).await.unwrap(), SteppedUp::Ended);
}

async fn proves_nothing_with_a_used_factor_or_an_old_password(world: World) {
    let user = world.user("ada").await.id;
    let session = world.sign_in(user, at(10)).await;
    give_factor(&world, user, &[]).await;
    let stepped = act("session.stepped_up", at(20));
    let used = proving(user, &session.record, Some(step(100)));
    assert_eq!(world.store().step_up(used, stepped.clone()).await.unwrap(), SteppedUp::Spent);
    let old =
        SteppingUp { verified_hash: Some(Redacted("another".to_owned())), ..proving(user, &session.record, None) };
    assert_eq!(world.store().step_up(old, stepped.clone()).await.unwrap(), SteppedUp::Ended);
    world.expect_no_success(&stepped).await;
    assert_eq!(world.session(session.id).await, session.record);
    let right = SteppingUp { verified_hash: Some(hash_of("ada")), ..proving(user, &session.record, None) };
    assert!(matches!(world.store().step_up(right, stepped).await.unwrap(), SteppedUp::Done(..)));
}

async fn replaces_a_cookie_once(world: World) {
    let user = world.user("ada").await.id;
    let own = new_token();
    let mut by_cookie = new_session(user, at(0));
    by_cookie.record.cookie_hash = Some(own.as_bytes().to_vec());
    let session = world.open(by_cookie).await;
    let answers = at_once(16, |_| {
        let (world, record, new) = (world.clone(), session.record.clone(), new_token());
        async move {
            let proven = SteppingUp { cookie: Some((own, new)), ..proving(user, &record, None) };
            (new, world.store().step_up(proven, act("session.stepped_up", at(1))).await.unwrap())
        }
    })
    .await;
    let winners: Vec<_> =
        answers.iter().filter(|(_, answer)| matches!(answer, SteppedUp::Done(..))).map(|(new, _)| new).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert_eq!(world.session(session.id).await.cookie_hash.as_deref(), Some(winners[0].as_bytes().as_slice()));
}

async fn releases_a_session_to_where_it_is_used(world: World) {
    let user = world.user("ada").await.id;
    let mut held = new_session(user, at(10));
    held.record.risk = Risk::High;
    held.record.network_changed = true;
    let session = world.open(held).await;
    give_factor(&world, user, &[]).await;
    let ip = Some("198.51.100.9".to_owned());
    let here = Place { ip: ip.clone(), user_agent: None, device: Some(DeviceKind::Mobile) };
    let proven = SteppingUp { release: Some(here), ..proving(user, &session.record, Some(step(101))) };
    let answer = world.store().step_up(proven, act("session.stepped_up", at(20))).await.unwrap();
    let SteppedUp::Done(after, _) = answer else { panic!("{answer:?}") };
    assert_eq!((after.risk, after.network_changed, after.device_changed), (Risk::Low, false, false));
    // What is not told stays what it was: there is something to compare with.
    assert_eq!((after.ip, after.user_agent, after.device), (ip, session.record.user_agent, DeviceKind::Mobile));
}
