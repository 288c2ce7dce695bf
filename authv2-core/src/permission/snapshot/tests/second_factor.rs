//! Who needs a second factor, and what a decision is without one.

use super::{model, role};
use crate::{
    clock::Timestamp,
    id::StoreId,
    mfa::MfaPolicy,
    permission::{
        Decision, SessionFacts, Snapshot, StepUp,
        snapshot::{is_at_least, with_second_factor},
    },
    store::{Assignment, Risk},
};

fn compile(policy: MfaPolicy) -> Snapshot {
    let roles = vec![role("clerk", &[], vec![]), role("chief", &["clerk"], vec![]), role("guest", &[], vec![])];
    let mut model = model(roles);
    model.mfa = policy;
    Snapshot::compile(model)
}

fn wants(snapshot: &Snapshot, role: &str, store: Option<StoreId>) -> bool {
    let role = snapshot.model().role(role).unwrap().id;
    snapshot.rights(&[Assignment { role, store }]).wants_mfa()
}

#[test]
fn wants_one_of_whoever_the_policy_names() {
    let policy = MfaPolicy::Roles(["clerk".to_owned(), "gone".to_owned()].into());
    let (nobody, all, some) = (compile(MfaPolicy::Optional), compile(MfaPolicy::Required), compile(policy));
    for name in ["clerk", "chief", "guest"] {
        assert!(!wants(&nobody, name, None) && wants(&all, name, None), "{name}");
    }
    assert!(all.rights(&[]).wants_mfa(), "a member without a role is a member");
    assert!(wants(&some, "clerk", None) && wants(&some, "clerk", Some(StoreId::new())));
    assert!(wants(&some, "chief", None), "it inherits the role that is named");
    assert!(!wants(&some, "guest", None) && !some.rights(&[]).wants_mfa());
}

#[test]
fn turns_a_yes_into_a_wish_and_leaves_a_no() {
    let session = |acr| SessionFacts {
        amr: "pwd",
        acr,
        auth_time: Timestamp::from_seconds(0),
        opened_at: Timestamp::from_seconds(0),
        risk: Risk::Low,
    };
    let wish = |max_age, acr: &str| Decision::StepUp(StepUp { max_age, acr: Some(acr.to_owned()) });
    let weak = |decision| with_second_factor(decision, Some(&session("aal1")));
    assert_eq!(weak(Decision::Allowed), wish(None, "aal2"));
    assert_eq!(weak(Decision::Denied), Decision::Denied);
    assert_eq!(weak(Decision::StepUp(StepUp { max_age: Some(60), acr: None })), wish(Some(60), "aal2"));
    assert_eq!(weak(wish(None, "aal1")), wish(None, "aal2"));
    assert_eq!(weak(wish(None, "aal3")), wish(None, "aal3"));
    for acr in ["aal2", "aal3"] {
        assert_eq!(with_second_factor(Decision::Allowed, Some(&session(acr))), Decision::Allowed);
    }
    assert_eq!(with_second_factor(Decision::Allowed, None), Decision::Allowed, "who has no session is asked for none");
    for (acr, is_enough) in [("aal2", true), ("aal3", true), ("aal1", false), ("", false), ("urn:x", false)] {
        assert_eq!(is_at_least(acr, "aal2"), is_enough, "{acr}");
    }
    assert!(!is_at_least("", ""), "what wants nothing is met by nobody");
}
