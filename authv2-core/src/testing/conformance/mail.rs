//! The outbox: a mail comes into it with its act, is in one hand at a time, and leaves it once.

use std::{collections::HashSet, time::Duration};

use super::{
    Case,
    act::{DAY, act, at, email_of, hash_of, new_token, new_user},
    room,
    world::{World, added, at_once},
};
use crate::{
    audit::Act,
    clock::Timestamp,
    id::{ClaimId, MailId, UserId},
    mail::{Kind, NewMail, Purpose, Recipient},
    secret::SecretHash,
    store::{Created, MailClaim, NewLink, UserStatus, WaitingMail},
};

pub(super) const CASES: &[Case] = room!["mail":
    keeps_a_mail_with_everything_in_it,
    writes_a_mail_only_with_its_act,
    gives_a_mail_to_one_of_many_hands,
    gives_a_mail_to_another_hand_once_the_first_lets_go,
    keeps_a_mail_for_as_long_as_it_is_held,
    takes_a_mail_back_until_it_is_due_again,
    removes_a_mail_only_for_the_hand_that_has_it,
    gives_those_that_wait_longest_first,
    loses_the_mails_of_a_user_that_goes,
    readies_one_link_of_a_purpose_and_the_newest_wins,
    readies_the_same_link_again_for_the_next_hand,
    readies_no_link_that_the_account_has_overtaken,
    drops_older_mails_of_the_same_purpose,
];

/// For how long hands hold mails here.
const HOLD: Duration = Duration::from_secs(30);

pub(super) fn to_owner(kind: Kind, name: &str, at: Timestamp) -> NewMail {
    NewMail::new(kind, Recipient::Owner(email_of(name)), None, at).unwrap()
}

/// Writes mails to the outbox; the act that did.
pub(super) async fn post(world: &World, mails: impl IntoIterator<Item = NewMail>, at: Timestamp) -> Act {
    let asked = act("mail.asked", at).telling(mails);
    world.store().count_failure(Vec::new(), asked.clone()).await.unwrap();
    asked
}

pub(super) async fn claim(world: &World, now: Timestamp, limit: u32) -> (ClaimId, Vec<WaitingMail>) {
    let id = ClaimId::new();
    let claimed = world.store().claim_mails(MailClaim { id, now, until: now + HOLD }, limit).await.unwrap();
    (id, claimed)
}

/// What waits at a moment, without a trace but that it is held from then on.
pub(super) async fn waiting(world: &World, now: Timestamp) -> Vec<MailId> {
    claim(world, now, 1_000).await.1.into_iter().map(|mail| mail.id).collect()
}

pub(super) fn link_of(mail: &WaitingMail, claim: ClaimId, user: UserId, purpose: Purpose) -> NewLink {
    let expires_at = mail.created_at + Duration::from_secs(3600);
    let (id, created_at) = (mail.id, mail.created_at);
    NewLink { mail: id, claim, user, purpose, hash: new_token(), created_at, expires_at }
}

/// Asks for a link and makes it live: its token's hash.
pub(super) async fn ready(world: &World, name: &str, user: UserId, purpose: Purpose, at: Timestamp) -> SecretHash {
    let kind = match purpose {
        Purpose::VerifyEmail => Kind::VerifyEmail,
        Purpose::ResetPassword => Kind::ResetPassword,
        Purpose::SignIn => Kind::SignInLink,
    };
    let mail = to_owner(kind, name, at);
    let id = mail.id;
    post(world, [mail], at).await;
    let (hand, mails) = claim(world, at, 1_000).await;
    let mail = mails.iter().find(|waiting| waiting.id == id).expect("it waits");
    let link = link_of(mail, hand, user, purpose);
    assert!(world.store().ready_link(link).await.unwrap());
    assert!(world.store().remove_mail(id, hand, None).await.unwrap());
    link.hash
}

async fn keeps_a_mail_with_everything_in_it(world: World) {
    let user = world.user("ada").await.id;
    let told = NewMail::new(Kind::PasswordChanged, Recipient::User(user), Some("de".to_owned()), at(5)).unwrap();
    let told = told.with("ip", "203.0.113.7").with("device", "Firefox, \"Linux\" \u{1f600}");
    let gone = NewMail::new(Kind::AccountDeleted, Recipient::Address("Ada@example.test".to_owned()), None, at(6));
    let (owner, gone) = (to_owner(Kind::ResetPassword, "bob", at(7)), gone.unwrap());
    post(&world, [told.clone(), gone.clone(), owner.clone()], at(7)).await;
    let (_, mails) = claim(&world, at(7), 10).await;
    assert_eq!(mails.iter().map(|mail| mail.id).collect::<Vec<_>>(), [told.id, gone.id, owner.id]);
    let details: crate::mail::Details = serde_json::from_str(&mails[0].details).unwrap();
    assert_eq!(details, told.details);
    assert_eq!(mails[0].salt, told.salt);
    assert_eq!((mails[0].kind.as_str(), mails[0].language.as_deref()), ("password_changed", Some("de")));
    assert_eq!((mails[0].recipient.as_str(), mails[0].user_id, &mails[0].address), ("user", Some(user), &None));
    assert_eq!((mails[0].created_at, mails[0].expires_at), (at(5), at(5) + Kind::PasswordChanged.life()));
    let of = |mail: &WaitingMail| (mail.recipient.clone(), mail.user_id, mail.address.clone().unwrap());
    assert_eq!(of(&mails[1]), ("address".to_owned(), None, "Ada@example.test".to_owned()));
    assert_eq!(of(&mails[2]), ("owner".to_owned(), None, email_of("bob")));
    assert!(mails.iter().all(|mail| mail.attempts == 1));
}

async fn writes_a_mail_only_with_its_act(world: World) {
    world.user("ada").await;
    let mail = to_owner(Kind::VerifyEmail, "ada", at(1));
    let again = act("user.registered", at(1)).telling([mail]);
    assert_eq!(world.store().create_user(new_user("ada"), again.clone()).await.unwrap(), Created::EmailTaken);
    world.expect_entry(&again, "failure").await;
    assert_eq!(waiting(&world, at(2)).await, [], "there is no such account to write to");
    let nobody = act("user.disabled", at(3)).telling([to_owner(Kind::PasswordChanged, "ada", at(3))]);
    world.store().set_status(UserId::new(), UserStatus::Disabled, None, nobody).await.unwrap();
    assert_eq!(waiting(&world, at(4)).await, []);
    let mail = to_owner(Kind::VerifyEmail, "bob", at(5));
    let (id, registered) = (mail.id, act("user.registered", at(5)).telling([mail]));
    added(world.store().create_user(new_user("bob"), registered).await.unwrap());
    assert_eq!(waiting(&world, at(5)).await, [id]);
}

async fn gives_a_mail_to_one_of_many_hands(world: World) {
    let mails: Vec<_> = (0..40).map(|_| to_owner(Kind::ResetPassword, "ada", at(0))).collect();
    let all: HashSet<MailId> = mails.iter().map(|mail| mail.id).collect();
    post(&world, mails, at(0)).await;
    let hands = at_once(16, |_| {
        let world = world.clone();
        async move {
            let mut taken = Vec::new();
            loop {
                let (_, mails) = claim(&world, at(1), 3).await;
                if mails.is_empty() {
                    return taken;
                }
                taken.extend(mails.into_iter().map(|mail| mail.id));
            }
        }
    })
    .await;
    // One that was passed over because somebody else was at it waits still.
    let left = waiting(&world, at(1)).await;
    let taken: Vec<MailId> = hands.into_iter().flatten().chain(left).collect();
    assert_eq!(taken.len(), all.len(), "each once");
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), all);
}

async fn gives_a_mail_to_another_hand_once_the_first_lets_go(world: World) {
    post(&world, [to_owner(Kind::ResetPassword, "ada", at(0))], at(0)).await;
    let (first, mails) = claim(&world, at(0), 1).await;
    assert_eq!(mails[0].attempts, 1);
    assert_eq!(waiting(&world, at(29)).await, []);
    let (second, mails) = claim(&world, at(30), 1).await;
    assert_eq!(mails[0].attempts, 2, "whoever had it has died");
    let id = mails[0].id;
    assert!(!world.store().keep_mail(id, first, at(90)).await.unwrap());
    assert!(!world.store().put_mail_off(id, first, at(0)).await.unwrap());
    assert!(!world.store().remove_mail(id, first, None).await.unwrap());
    assert!(world.store().remove_mail(id, second, None).await.unwrap());
}

async fn keeps_a_mail_for_as_long_as_it_is_held(world: World) {
    post(&world, [to_owner(Kind::ResetPassword, "ada", at(0))], at(0)).await;
    let (hand, mails) = claim(&world, at(0), 1).await;
    assert!(world.store().keep_mail(mails[0].id, hand, at(100)).await.unwrap());
    assert_eq!(waiting(&world, at(99)).await, []);
    assert_eq!(waiting(&world, at(100)).await, [mails[0].id]);
}

async fn takes_a_mail_back_until_it_is_due_again(world: World) {
    post(&world, [to_owner(Kind::ResetPassword, "ada", at(0))], at(0)).await;
    let (hand, mails) = claim(&world, at(0), 1).await;
    assert!(world.store().put_mail_off(mails[0].id, hand, at(5)).await.unwrap());
    assert!(!world.store().remove_mail(mails[0].id, hand, None).await.unwrap(), "it is in no hand");
    assert_eq!(waiting(&world, at(4)).await, []);
    assert_eq!(waiting(&world, at(5)).await, [mails[0].id]);
}

async fn removes_a_mail_only_for_the_hand_that_has_it(world: World) {
    post(&world, [to_owner(Kind::ResetPassword, "ada", at(0))], at(0)).await;
    let (hand, mails) = claim(&world, at(0), 1).await;
    let (refused, other) = (act("mail.refused", at(1)), act("mail.refused", at(1)));
    assert!(!world.store().remove_mail(mails[0].id, ClaimId::new(), Some(other.clone())).await.unwrap());
    world.expect_no_success(&other).await;
    assert!(world.store().remove_mail(mails[0].id, hand, Some(refused.clone())).await.unwrap());
    world.expect_entry(&refused, "success").await;
    assert!(!world.store().remove_mail(mails[0].id, hand, None).await.unwrap());
    assert_eq!(waiting(&world, at(DAY)).await, []);
}

async fn gives_those_that_wait_longest_first(world: World) {
    let mails: Vec<_> = [3, 1, 2].map(|second| to_owner(Kind::ResetPassword, "ada", at(second))).into();
    let [third, first, second] = [mails[0].id, mails[1].id, mails[2].id];
    post(&world, mails, at(3)).await;
    assert_eq!(claim(&world, at(0), 5).await.1, [], "none is due");
    let (_, two) = claim(&world, at(9), 2).await;
    assert_eq!(two.iter().map(|mail| mail.id).collect::<Vec<_>>(), [first, second]);
    assert_eq!(waiting(&world, at(9)).await, [third]);
}

async fn loses_the_mails_of_a_user_that_goes(world: World) {
    let user = world.user("ada").await.id;
    let told = NewMail::new(Kind::PasswordChanged, Recipient::User(user), None, at(0)).unwrap();
    post(&world, [told], at(0)).await;
    let gone = NewMail::new(Kind::AccountDeleted, Recipient::Address(email_of("ada")), None, at(1)).unwrap();
    let (id, deleted) = (gone.id, act("user.deleted", at(1)).telling([gone]));
    world.store().delete_user(user, Vec::new(), deleted).await.unwrap();
    assert_eq!(waiting(&world, at(2)).await, [id]);
}

async fn readies_one_link_of_a_purpose_and_the_newest_wins(world: World) {
    let (store, user) = (world.store().clone(), world.user("ada").await.id);
    let (older, newer) = (to_owner(Kind::ResetPassword, "ada", at(0)), to_owner(Kind::ResetPassword, "ada", at(1)));
    let other = to_owner(Kind::SignInLink, "ada", at(0));
    post(&world, [older, newer, other], at(1)).await;
    let (hand, mails) = claim(&world, at(1), 10).await;
    let of = |index: usize, purpose| link_of(&mails[index], hand, user, purpose);
    let by_time = |time| mails.iter().position(|mail| mail.created_at == time && mail.kind == "reset_password");
    let (older, newer) = (by_time(at(0)).unwrap(), by_time(at(1)).unwrap());
    let (old, sign_in) = (of(older, Purpose::ResetPassword), of(3 - older - newer, Purpose::SignIn));
    assert!(store.ready_link(old).await.unwrap() && store.ready_link(sign_in).await.unwrap());
    let new = of(newer, Purpose::ResetPassword);
    assert!(store.ready_link(new).await.unwrap());
    let linked = async |hash, purpose| store.linked_user(hash, purpose, at(2)).await.unwrap().map(|user| user.id);
    assert_eq!(linked(old.hash, Purpose::ResetPassword).await, None, "a newer one has taken its place");
    assert_eq!(linked(new.hash, Purpose::ResetPassword).await, Some(user));
    assert_eq!(linked(new.hash, Purpose::SignIn).await, None, "it is of another purpose");
    assert_eq!(linked(sign_in.hash, Purpose::SignIn).await, Some(user), "other purposes are untouched");
    assert!(!store.ready_link(of(older, Purpose::ResetPassword)).await.unwrap());
    assert_eq!(linked(new.hash, Purpose::ResetPassword).await, Some(user));
    assert_eq!(store.linked_user(new.hash, Purpose::ResetPassword, new.expires_at).await.unwrap(), None);
}

async fn readies_the_same_link_again_for_the_next_hand(world: World) {
    let user = world.user("ada").await.id;
    post(&world, [to_owner(Kind::ResetPassword, "ada", at(0))], at(0)).await;
    let (first, mails) = claim(&world, at(0), 1).await;
    let link = link_of(&mails[0], first, user, Purpose::ResetPassword);
    assert!(world.store().ready_link(link).await.unwrap());
    let (second, _) = claim(&world, at(30), 1).await;
    assert!(!world.store().ready_link(link).await.unwrap(), "it is in another hand");
    assert!(world.store().ready_link(NewLink { claim: second, ..link }).await.unwrap());
    let linked = world.store().linked_user(link.hash, Purpose::ResetPassword, at(31)).await.unwrap();
    assert_eq!(linked.map(|user| user.id), Some(user));
}

async fn readies_no_link_that_the_account_has_overtaken(world: World) {
    let store = world.store().clone();
    for (name, kind, purpose) in [
        ("ada", Kind::ResetPassword, Purpose::ResetPassword),
        ("bob", Kind::SignInLink, Purpose::SignIn),
        ("cyd", Kind::VerifyEmail, Purpose::VerifyEmail),
        ("dan", Kind::Registration, Purpose::VerifyEmail),
    ] {
        let user = world.user(name).await.id;
        post(&world, [to_owner(kind, name, at(0))], at(0)).await;
        let (hand, mails) = claim(&world, at(0), 1).await;
        let changed = act("user.password_changed", at(1));
        let (current, new) = (Some(hash_of(name).0), hash_of("new").0);
        store.change_password(user, current, new, None, changed).await.unwrap();
        assert!(!store.ready_link(link_of(&mails[0], hand, user, purpose)).await.unwrap(), "{kind:?}");
        assert_eq!(waiting(&world, at(DAY)).await, [], "{kind:?}");
    }
    let user = world.user("eve").await.id;
    let told = NewMail::new(Kind::PasswordChanged, Recipient::User(user), None, at(0)).unwrap();
    let id = told.id;
    post(&world, [told], at(0)).await;
    store.set_status(user, UserStatus::Disabled, None, act("user.disabled", at(1))).await.unwrap();
    assert_eq!(waiting(&world, at(1)).await, [id], "what has no link is told all the same");
}

async fn drops_older_mails_of_the_same_purpose(world: World) {
    let user = world.user("ada").await.id;
    world.user("bob").await;
    let [first, second] = [0, 1].map(|second| to_owner(Kind::Registration, "ada", at(second)));
    let third = NewMail::new(Kind::VerifyEmail, Recipient::User(user), None, at(2)).unwrap();
    let (others, reset) = (to_owner(Kind::VerifyEmail, "bob", at(0)), to_owner(Kind::ResetPassword, "ada", at(0)));
    let kept = HashSet::from([others.id, reset.id, third.id]);
    let id = third.id;
    post(&world, [first, second, third, others, reset], at(2)).await;
    let (hand, mails) = claim(&world, at(2), 10).await;
    let newest = mails.iter().find(|mail| mail.id == id).unwrap();
    assert!(world.store().ready_link(link_of(newest, hand, user, Purpose::VerifyEmail)).await.unwrap());
    assert_eq!(waiting(&world, at(DAY)).await.into_iter().collect::<HashSet<_>>(), kept);
}
