//! The steps one by one; `model` puts them together in every order.

use super::*;

mod model;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn policy() -> KeyPolicy {
    KeyPolicy {
        alg: Algorithm::EdDSA,
        token_life: Duration::from_secs(600),
        jwks_max_age: Duration::from_secs(300),
        rotation_interval: Duration::ZERO,
        staleness: Duration::from_secs(60),
    }
}

/// A key that was sealed and not published yet.
fn made(kid: &str) -> SigningKeyRecord {
    SigningKeyRecord {
        kid: kid.to_owned(),
        alg: "EdDSA".to_owned(),
        state: KeyState::Pending,
        sealed: vec![1],
        created_at: NOW,
        activates_at: NOW,
        retires_at: None,
        fingerprint: Some(kid.as_bytes().to_vec()),
        reference: None,
        imported: false,
        token_life: 24 * 3600,
        jwks_max_age: 24 * 3600,
        revoked_at: None,
    }
}

fn after(seconds: u64) -> Timestamp {
    NOW + Duration::from_secs(seconds)
}

/// Keys with those that changed put in.
fn apply(keys: &[SigningKeyRecord], put: Vec<SigningKeyRecord>) -> Vec<SigningKeyRecord> {
    let mut keys = keys.to_vec();
    for new in put {
        match keys.iter_mut().find(|key| key.kid == new.kid) {
            Some(key) => *key = new,
            None => keys.push(new),
        }
    }
    keys
}

fn states(keys: &[SigningKeyRecord], now: Timestamp) -> Vec<KeyState> {
    keys.iter().map(|key| state(key, keys, now)).collect()
}

fn rotated(keys: &[SigningKeyRecord], new: &str, now: Timestamp, asked: Rotation) -> Vec<SigningKeyRecord> {
    apply(keys, rotate(keys, Some(made(new)), now, &policy(), asked, Asker::Operator).unwrap().put)
}

fn first() -> Vec<SigningKeyRecord> {
    vec![publish(made("a"), &[], NOW, &policy())]
}

use KeyState::{Active, Pending, Retired, Retiring};

#[test]
fn a_rotation_publishes_waits_signs_and_retires() {
    let keys = rotated(&first(), "b", NOW, Rotation::default());
    // 300 s that verifiers keep their copy, and 61 that a node may not have heard.
    assert_eq!((keys[1].activates_at, keys[0].retires_at), (after(361), Some(after(361 + 600))));
    for (seconds, expected) in
        [(0, [Active, Pending]), (360, [Active, Pending]), (361, [Retiring, Active]), (961, [Retired, Active])]
    {
        assert_eq!(states(&keys, after(seconds)), expected, "after {seconds} s");
    }
}

#[test]
fn a_key_published_long_ago_signs_at_once_and_the_old_one_serves_who_has_not_heard() {
    let keys = apply(&first(), vec![publish(made("b"), &first(), NOW, &policy())]);
    assert_eq!(states(&keys, after(1000)), [Active, Pending]);
    let keys = rotated(&keys, "unused", after(1000), Rotation::default());
    assert_eq!(keys.len(), 2, "the pending one is taken");
    assert_eq!(states(&keys, after(1000)), [Retiring, Active]);
    assert_eq!(keys[0].retires_at, Some(after(1000 + 600 + 61)));
}

#[test]
fn asked_for_twice_it_is_one_rotation() {
    let once = rotated(&first(), "b", NOW, Rotation::default());
    let again = rotate(&once, Some(made("c")), after(10), &policy(), Rotation::default(), Asker::Operator).unwrap();
    assert_eq!((again.put, again.key.kid.as_str()), (vec![], "b"));
    let sooner = Rotation { activate_now: true, overlap: None };
    let keys = rotated(&once, "c", after(10), sooner);
    assert_eq!(states(&keys, after(10)), [Retiring, Active]);
    assert_eq!(keys[0].retires_at, Some(after(10 + 600 + 61)));
    let longer = Rotation { overlap: Some(Duration::from_secs(5000)), activate_now: false };
    let keys = rotated(&once, "c", after(10), longer);
    assert_eq!((keys[1].activates_at, keys[0].retires_at), (after(361), Some(after(361 + 5000))));
}

#[test]
fn a_wish_for_a_short_overlap_is_granted() {
    let wish = |activate_now| Rotation { overlap: Some(Duration::from_secs(1)), activate_now };
    let keys = rotated(&first(), "b", NOW, wish(false));
    assert_eq!(keys[0].retires_at, Some(after(361 + 1)));
    let keys = rotated(&first(), "b", after(1), wish(true));
    assert_eq!((keys[1].activates_at, keys[0].retires_at), (after(1), Some(after(2))));
}

#[test]
fn three_rotations_in_a_row_leave_one_signer_and_revive_nobody() {
    let mut keys = first();
    for (round, new) in ["b", "c", "d"].into_iter().enumerate() {
        keys = rotated(&keys, new, after(370 * round as u64), Rotation::default());
    }
    assert_eq!(states(&keys, after(370 * 3)), [Retired, Retiring, Retiring, Active]);
    assert_eq!(keys[0].state, Retiring, "whatever happens to the others, it signs no more");
}

#[test]
fn a_revoked_signer_is_replaced_at_once_by_the_key_that_verifiers_know() {
    let revoked = |keys: &[SigningKeyRecord], kid| {
        let changed = revoke(keys, kid, Some(made("new")), after(400), &policy()).unwrap();
        assert_eq!((changed.key.kid.as_str(), changed.key.sealed.len()), (kid, 0));
        apply(keys, changed.put)
    };
    let alone = revoked(&first(), "a");
    assert_eq!(states(&alone, after(400)), [Retired, Active]);
    let known = apply(&first(), vec![publish(made("b"), &first(), NOW, &policy())]);
    let both = apply(&known, vec![publish(made("c"), &known, after(399), &policy())]);
    let keys = revoked(&both, "a");
    assert_eq!(states(&keys, after(400)), [Retired, Active, Pending]);
    // A key that signed before does not sign again, not even where a clock is behind.
    let chain = rotated(&first(), "b", NOW, Rotation::default());
    let keys = revoked(&chain, "b");
    assert_eq!(states(&keys, after(400)), [Retiring, Retired, Active]);
    assert_eq!(signing(keys.iter(), after(399)).unwrap().kid, "new");
    assert_eq!(revoke(&keys, "b", None, after(500), &policy()).unwrap().put, []);
    assert_eq!(revoke(&keys, "x", None, after(500), &policy()), None);
}

#[test]
fn when_the_key_that_was_to_follow_is_revoked_the_present_one_stays() {
    let keys = rotated(&first(), "b", NOW, Rotation::default());
    let keys = apply(&keys, revoke(&keys, "b", Some(made("c")), after(10), &policy()).unwrap().put);
    assert_eq!((states(&keys, after(10_000)), keys[0].retires_at), (vec![Active, Retired], None));
}

#[test]
fn promises_outlive_the_settings_that_made_them() {
    let day = Duration::from_secs(24 * 3600);
    let generous = KeyPolicy { token_life: day, jwks_max_age: day, ..policy() };
    let keys = first();
    assert_eq!(promises(&keys, NOW, &policy()), []);
    let keys = apply(&keys, promises(&keys, NOW, &generous));
    assert_eq!((keys[0].token_life, keys[0].jwks_max_age), (86400, 86400));
    assert_eq!(promises(&keys, NOW, &policy()), [], "what was promised stays promised");
    // The settings are small again: the copies of a day and the tokens of a day are waited for.
    let keys = rotated(&keys, "b", NOW, Rotation::default());
    assert_eq!((keys[1].activates_at, keys[0].retires_at), (after(86461), Some(after(86461 + 86400))));
    assert_eq!((keys[1].token_life, keys[1].jwks_max_age), (600, 300));
    // A key on its way out gets no longer tokens, since its end is fixed.
    let leaving = SigningKeyRecord { token_life: 600, ..keys[0].clone() };
    let raised = promises(std::slice::from_ref(&leaving), NOW, &generous);
    assert!(raised.iter().all(|key| key.token_life == 600), "{raised:?}");
}

#[test]
fn what_is_to_be_done_follows_from_the_clock() {
    let monthly = KeyPolicy { rotation_interval: Duration::from_secs(30 * 24 * 3600), ..policy() };
    let keys = first();
    assert_eq!(next_step(&keys, NOW, &policy()), None);
    let rotation = after(30 * 24 * 3600 - 361);
    assert_eq!(next_step(&keys, NOW, &monthly), Some((rotation, Step::Rotate)));
    for brought in [
        SigningKeyRecord { imported: true, ..keys[0].clone() },
        SigningKeyRecord { reference: Some("kms".to_owned()), ..keys[0].clone() },
    ] {
        assert_eq!(next_step(&[brought], NOW, &monthly), None, "whoever brought it replaces it");
    }
    let keys = rotated(&keys, "b", rotation, Rotation::default());
    let end = keys[0].retires_at.unwrap();
    let retire = Some((end + RETIRE_MARGIN, Step::Retire("a".to_owned())));
    assert_eq!(next_step(&keys, rotation, &monthly), retire);
    let keys = apply(&keys, vec![retired(&keys[0])]);
    assert_eq!((keys[0].state, keys[0].sealed.len()), (Retired, 0));
    let (purge, due) = ((end + KEEP_RETIRED, Step::Purge("a".to_owned())), rotation + monthly.rotation_interval);
    assert_eq!(next_step(&keys, end, &policy()), Some(purge));
    assert_eq!(next_step(&keys, end, &monthly).unwrap(), (due, Step::Rotate));
    let none = [SigningKeyRecord { state: Retired, ..made("x") }];
    assert_eq!(next_step(&none, NOW, &policy()), Some((NOW, Step::Rotate)), "somebody must sign");
}

#[test]
fn a_key_of_unknown_material_keeps_it_until_it_is_forgotten() {
    let old = SigningKeyRecord { fingerprint: None, ..made("a") };
    assert_eq!(retired(&old).sealed, old.sealed, "it could be revoked yet");
}

/// Every key that signed and signs no more, nor is about to, has an end.
fn assert_all_end(keys: &[SigningKeyRecord], now: Timestamp) {
    let goes_on = |key: &SigningKeyRecord| {
        signs(key, keys, now) || scheduled(keys, now).is_some_and(|scheduled| scheduled.kid == key.kid)
    };
    for key in keys.iter().filter(|key| matches!(key.state, Active | Retiring) && !goes_on(key)) {
        assert!(key.retires_at.is_some(), "{} verifies for ever", key.kid);
    }
}

#[test]
fn a_signer_revoked_during_its_rotation_is_replaced_by_the_key_that_was_to_follow() {
    let rotating = rotated(&first(), "b", NOW, Rotation::default());
    let rotating = apply(&rotating, vec![publish(made("c"), &rotating, after(1), &policy())]);
    assert!(!needs_new_without(&rotating, &rotating[0], after(10)));
    let keys = apply(&rotating, revoke(&rotating, "a", None, after(10), &policy()).unwrap().put);
    assert_eq!(states(&keys, after(10)), [Retired, Active, Pending]);
    assert_eq!((keys[1].activates_at, keys[1].retires_at), (after(10), None));
    for seconds in [10, 361, 10_000] {
        assert_all_end(&keys, after(seconds));
        assert_eq!(states(&keys, after(seconds)), [Retired, Active, Pending]);
    }
}

#[test]
fn who_is_superseded_ends() {
    let old = SigningKeyRecord { state: Active, ..made("old") };
    let keys = apply(&[old], first());
    let superseded: Vec<_> = superseded(&keys, &["a"], after(5), &policy()).collect();
    assert_eq!((superseded[0].state, superseded[0].retires_at), (Retiring, Some(after(5 + 24 * 3600 + 61))));
}

#[test]
fn the_schedule_leaves_alone_what_somebody_put_there_for_later() {
    let canary = SigningKeyRecord { reference: Some("kms".to_owned()), imported: true, ..made("canary") };
    let brought = SigningKeyRecord { imported: true, ..made("brought") };
    let keys = [first(), vec![canary, brought]].concat();
    let follows = |asker| rotate(&keys, Some(made("new")), after(1), &policy(), Rotation::default(), asker);
    assert!(needs_new(&keys, after(1), Asker::Schedule) && !needs_new(&keys, after(1), Asker::Operator));
    assert_eq!(follows(Asker::Schedule).unwrap().key.kid, "new");
    assert_eq!(follows(Asker::Operator).unwrap().key.kid, "canary");
    // Nor does a key elsewhere, whose signer may not be everywhere, replace one that is held here.
    let replaced = |keys: &[SigningKeyRecord]| {
        let put = revoke(keys, "a", Some(made("new")), after(1), &policy()).unwrap().put;
        signing(apply(keys, put).iter(), after(1)).unwrap().kid.clone()
    };
    assert_eq!(replaced(&keys), "brought");
    assert_eq!(replaced(&keys[..2]), "new");
    let elsewhere = SigningKeyRecord { reference: Some("kms/0".to_owned()), ..keys[0].clone() };
    assert_eq!(replaced(&[elsewhere, keys[1].clone()]), "canary");
}

#[test]
fn a_key_held_elsewhere_is_never_forgotten() {
    let gone = SigningKeyRecord { state: Retired, retires_at: Some(NOW), ..made("gone") };
    let elsewhere = SigningKeyRecord { reference: Some("kms".to_owned()), ..gone.clone() };
    let steps = |ended: &SigningKeyRecord| next_step(&[first(), vec![ended.clone()]].concat(), NOW, &policy());
    assert_eq!(steps(&gone), Some((NOW + KEEP_RETIRED, Step::Purge("gone".to_owned()))));
    assert_eq!(steps(&elsewhere), None, "or it came back as a new key with its signer");
}

#[test]
fn what_was_committed_late_happens_later() {
    let keys = rotated(&first(), "b", NOW, Rotation::default());
    let late = apply(&keys, later(&keys, NOW, after(20)));
    assert_eq!((late[0].activates_at, late[0].retires_at), (NOW, Some(after(20 + 361 + 600))));
    assert_eq!((late[1].activates_at, late[1].retires_at), (after(20 + 361), None));
    assert_eq!(later(&late, after(2000), after(2020)), []);
    let ended = SigningKeyRecord { retires_at: Some(after(5)), ..keys[0].clone() };
    assert_eq!(later(&[ended], NOW, after(20)), [], "what has ended stays so");
}
