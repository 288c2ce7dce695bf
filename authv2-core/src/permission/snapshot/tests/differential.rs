//! Random organizations, members and questions: the snapshot and the oracle must agree on every one of them.

use std::{collections::BTreeSet, env, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    Random, model,
    oracle::{self, Circumstances, OracleGrant, OracleRole, TESTS, Verdict},
    role,
};
use crate::{
    clock::Timestamp,
    id::StoreId,
    permission::{
        Decision, Effect, Explanation, Grant, Permission, Question, Rights, SessionFacts, Snapshot, StepUp, Subject,
    },
    store::{Assignment, Risk},
};

const RESOURCES: [&str; 5] = ["orders", "order", "items", "users", "nobody-names-this"];
const ACTIONS: [&str; 5] = ["read", "refund", "list", "re", "nobody-does-this"];
const CLASSES: [&str; 4] = ["aal1", "aal2", "aal3", "urn:example:silver"];
const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);

/// How often each random thing is made.
struct Effort {
    organizations: usize,
    members: usize,
    questions: usize,
}

#[test]
fn agrees_with_the_definition_without_conditions() {
    let times = if env::var_os("AUTHV2_TEST_LONG").is_some() { 20 } else { 1 };
    run(&mut Random(1), &Effort { organizations: 600 * times, members: 10, questions: 30 }, false);
}

#[cfg(feature = "cedar")]
#[test]
fn agrees_with_the_definition_where_conditions_have_a_say() {
    let times = if env::var_os("AUTHV2_TEST_LONG").is_some() { 20 } else { 1 };
    run(&mut Random(2), &Effort { organizations: 50 * times, members: 10, questions: 40 }, true);
}

fn run(random: &mut Random, effort: &Effort, conditions: bool) {
    for _ in 0..effort.organizations {
        let organization = Organization::invent(random, conditions);
        for _ in 0..effort.members {
            let assignments = organization.assign(random);
            let rights = organization.snapshot.rights(&assignments);
            for _ in 0..effort.questions {
                organization.ask(random, &assignments, &rights);
            }
            organization.compare_summary(random, &assignments, &rights);
        }
    }
}

struct Organization {
    roles: Vec<OracleRole>,
    /// Each role with all its ancestors.
    closures: Vec<BTreeSet<usize>>,
    snapshot: Snapshot,
    stores: Vec<StoreId>,
}

impl Organization {
    fn invent(random: &mut Random, conditions: bool) -> Self {
        let size = if random.one_in(10) { 33 + random.below(60) } else { random.below(14) };
        let mut roles: Vec<OracleRole> = Vec::new();
        // Names in another order than that of inheritance.
        let offset = random.below(size + 1);
        for index in 0..size {
            let mut inherits: Vec<usize> = Vec::new();
            if index > 0 {
                let parents = random.choose(&[0, 0, 1, 1, 2, 3]);
                inherits.extend((0..parents).map(|_| index - 1 - random.below(index.min(6))));
                inherits.sort_unstable();
                inherits.dedup();
            }
            let count = random.below(6);
            let grants = (0..count).map(|_| invent_grant(random, conditions)).collect();
            roles.push(OracleRole { name: format!("r{}", (index + offset) % size), inherits, grants });
        }
        let stores: Vec<StoreId> = (0..3).map(|_| StoreId::new()).collect();
        let mut real = model(roles.iter().map(|one| real_role(one, &roles)).collect());
        real.stores = stores.iter().map(|store| (*store, store.to_string())).collect();
        let closures = (0..size).map(|index| oracle::reached(&roles, &BTreeSet::from([index]))).collect();
        Self { roles, closures, snapshot: Snapshot::compile(real), stores }
    }

    fn assign(&self, random: &mut Random) -> Vec<Assignment> {
        if self.roles.is_empty() {
            return Vec::new();
        }
        let count = random.choose(&[0, 1, 1, 2, 3, 4, 12]);
        (0..count)
            .map(|_| {
                let name = &self.roles[random.below(self.roles.len())].name;
                let store = if random.one_in(2) { None } else { Some(random.choose(&self.stores)) };
                Assignment { role: self.snapshot.model().role(name).unwrap().id, store }
            })
            .collect()
    }

    /// The roles that reach a place: those at the organization, and those at that store.
    fn held(&self, assignments: &[Assignment], store: Option<StoreId>) -> BTreeSet<usize> {
        assignments
            .iter()
            .filter(|assignment| assignment.store.is_none() || assignment.store == store)
            .map(|assignment| {
                let name = &self.snapshot.model().role_by_id(assignment.role).unwrap().name;
                self.roles.iter().position(|role| role.name == *name).unwrap()
            })
            .collect()
    }

    fn reached(&self, held: &BTreeSet<usize>) -> BTreeSet<usize> {
        held.iter().flat_map(|role| &self.closures[*role]).copied().collect()
    }

    fn ask(&self, random: &mut Random, assignments: &[Assignment], rights: &Rights) {
        let store = self.somewhere(random);
        let held = self.held(assignments, store);
        let about = Circumstances {
            amount: random.choose(&[None, Some(100), Some(101)]),
            channel: random.choose(&[None, Some("web"), Some("pos")]),
            session: if random.one_in(3) {
                None
            } else {
                Some((random.choose(&[299, 300, 301]), random.choose(&CLASSES)))
            },
            roles: held.iter().map(|role| self.roles[*role].name.clone()).collect(),
        };
        let text = format!("{}:{}", random.choose(&RESOURCES), random.choose(&ACTIONS));
        let (resource, context) = (attributes("amount", about.amount), attributes("channel", about.channel));
        let permission: Permission = text.parse().unwrap();
        let question =
            Question { store, resource: Some(&resource), context: Some(&context), ..Question::new(&permission) };
        let session = about.session.map(|(age, acr)| SessionFacts {
            amr: "pwd",
            acr,
            auth_time: NOW - Duration::from_secs(age),
            opened_at: NOW,
            risk: Risk::Low,
        });
        let subject = Subject { id: "somebody", session, ..Subject::default() };

        let expected = oracle::decide(&self.roles, &self.reached(&held), &text, &about);
        let decision = self.snapshot.decide(rights, &question, &subject, NOW);
        let told = || format!("{text} by {held:?} about {about:?} in {:#?}", self.roles);
        assert!(agrees(&decision, &expected), "{decision:?} instead of {expected:?}: {}", told());

        // Checking an explanation costs far more than checking a decision.
        if !random.one_in(8) {
            return;
        }
        let explanation = self.snapshot.explain(rights, &question, &subject, NOW);
        assert_eq!(explanation.decision, decision, "{}", told());
        self.check_explanation(&explanation, &held, &text);
        let judged = self.snapshot.judge(rights, &question, &subject, NOW);
        let by = judged.by.or_else(|| self.snapshot.attribute(rights, judged.atom.unwrap(), store));
        let named = by.map(|by| self.snapshot.grant(by).unwrap().0);
        assert_eq!(named, explanation.reason.as_ref().map(|reason| reason.role.as_str()), "{}", told());
    }

    fn somewhere(&self, random: &mut Random) -> Option<StoreId> {
        if random.one_in(2) { None } else { Some(random.choose(&self.stores)) }
    }

    fn check_explanation(&self, explanation: &Explanation, held: &BTreeSet<usize>, permission: &str) {
        let index = |name: &String| self.roles.iter().position(|role| role.name == *name).unwrap();
        let reasons = explanation.reason.iter().chain(explanation.tried.iter().map(|trial| &trial.grant));
        for reason in reasons {
            let via: Vec<usize> = reason.via.iter().map(index).collect();
            assert!(held.contains(&via[0]));
            assert!(via.windows(2).all(|step| self.roles[step[0]].inherits.contains(&step[1])));
            assert_eq!(via.last(), Some(&index(&reason.role)));
            assert_eq!(oracle::distance(&self.roles, held, index(&reason.role)), Some(via.len() - 1));
            assert!(oracle::matches(&reason.grant.to_string(), permission));
        }
        let effect = explanation.reason.as_ref().map(|reason| reason.effect);
        match explanation.decision {
            Decision::Allowed | Decision::StepUp(_) => assert_eq!(effect, Some(Effect::Allow)),
            Decision::Denied => assert_ne!(effect, Some(Effect::Allow)),
        }
        let is_open = !explanation.decision.is_allowed() && effect != Some(Effect::Deny);
        let needed: Vec<(String, String)> =
            explanation.needed.iter().map(|needed| (needed.role.clone(), needed.grant.to_string())).collect();
        let expected = if is_open { self.needed(permission) } else { Vec::new() };
        let expected: Vec<(String, String)> = expected.into_iter().take(8).collect();
        assert_eq!(needed, expected);
    }

    /// All grants that would allow it, in roles that do not deny it.
    fn needed(&self, permission: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (index, role) in self.roles.iter().enumerate() {
            let denies = self.closures[index].iter().any(|role| {
                let mut grants = self.roles[*role].grants.iter();
                grants.any(|grant| grant.deny && grant.when.is_none() && oracle::matches(&grant.pattern, permission))
            });
            let grants = role.grants.iter().filter(|grant| !grant.deny && oracle::matches(&grant.pattern, permission));
            found.extend(grants.filter(|_| !denies).map(|grant| (role.name.clone(), grant.pattern.clone())));
        }
        // The roles by name; the grants of each as they stand.
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        found
    }

    fn compare_summary(&self, random: &mut Random, assignments: &[Assignment], rights: &Rights) {
        let store = self.somewhere(random);
        let held = self.held(assignments, store);
        let permissions: BTreeSet<String> = self.snapshot.permissions(rights, store).into_iter().collect();
        assert_eq!(permissions, oracle::permissions(&self.roles, &self.reached(&held)));
        let names: BTreeSet<&str> = held.iter().map(|role| self.roles[*role].name.as_str()).collect();
        assert_eq!(self.snapshot.roles(rights, store), names.into_iter().collect::<Vec<_>>());
    }
}

fn invent_grant(random: &mut Random, conditions: bool) -> OracleGrant {
    let resource = random.choose(&RESOURCES[..4]);
    let pattern = match random.below(20) {
        0 => "*".to_owned(),
        1..5 => format!("{resource}:*"),
        _ => format!("{resource}:{}", random.choose(&ACTIONS[..4])),
    };
    let deny = random.one_in(6);
    let step_up = match random.below(4) {
        0 if !deny => Some(random.choose(&[
            (Some(300), None),
            (None, Some("aal2")),
            (Some(300), Some("aal1")),
            (None, Some("urn:example:silver")),
        ])),
        _ => None,
    };
    let when = if conditions && random.one_in(2) { Some(random.choose(&TESTS)) } else { None };
    OracleGrant { pattern, deny, when, step_up }
}

fn real_role(one: &OracleRole, all: &[OracleRole]) -> crate::permission::Role {
    let inherits: Vec<&str> = one.inherits.iter().map(|parent| all[*parent].name.as_str()).collect();
    let grants = one.grants.iter().map(|grant| Grant {
        permission: grant.pattern.parse().unwrap(),
        effect: if grant.deny { Effect::Deny } else { Effect::Allow },
        when: grant.when.map(|test| test.text.to_owned()),
        step_up: grant.step_up.map(|(max_age, acr)| StepUp { max_age, acr: acr.map(str::to_owned) }),
    });
    role(&one.name, &inherits, grants.collect())
}

fn attributes<T: Into<Value>>(name: &str, value: Option<T>) -> Map<String, Value> {
    value.map(|value| (name.to_owned(), json!(value.into()))).into_iter().collect()
}

fn agrees(decision: &Decision, expected: &Verdict) -> bool {
    match (decision, expected) {
        (Decision::Allowed, Verdict::Allowed) | (Decision::Denied, Verdict::Denied) => true,
        (Decision::StepUp(wanted), Verdict::StepUp(wishes)) => {
            wishes.iter().any(|(max_age, acr)| wanted.max_age == *max_age && wanted.acr.as_deref() == *acr)
        }
        _ => false,
    }
}
