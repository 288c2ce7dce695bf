//! The same organizations in casbin: what both can say, both must decide alike.

use std::env;

use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi, Model as _};

use super::{Random, model, role};
use crate::{
    clock::Timestamp,
    permission::{Effect, Grant, Permission, Question, Snapshot, Subject},
    store::Assignment,
};

const RESOURCES: [&str; 4] = ["orders", "items", "users", "reports"];
const ACTIONS: [&str; 4] = ["read", "write", "list", "delete"];

/// Roles with inheritance (less deep than casbin follows it), wildcards, and denies that override.
#[tokio::test]
async fn decides_as_casbin_does() {
    let organizations = if env::var_os("AUTHV2_TEST_LONG").is_some() { 200 } else { 15 };
    let mut random = Random(3);
    for _ in 0..organizations {
        compare(&mut random).await;
    }
}

async fn compare(random: &mut Random) {
    let (mut roles, mut rules, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for level in 0..5 {
        for index in 0..=random.below(3) {
            let name = format!("role{level}-{index}");
            let above: Vec<String> = match level {
                0 => Vec::new(),
                _ => (0..random.below(3)).map(|_| format!("role{}-0", random.below(level))).collect(),
            };
            let mut inherits: Vec<&str> = above.iter().map(String::as_str).collect();
            inherits.sort_unstable();
            inherits.dedup();
            links.extend(inherits.iter().map(|parent| vec![name.clone(), (*parent).to_owned()]));
            let grants: Vec<Grant> = (0..random.below(4)).map(|_| invent_grant(random)).collect();
            rules.extend(grants.iter().map(|grant| rule(&name, grant)));
            roles.push(role(&name, &inherits, grants));
        }
    }
    let ids: Vec<_> = roles.iter().map(|role| (role.id, role.name.clone())).collect();
    let snapshot = Snapshot::compile(model(roles));

    let mut members = Vec::new();
    for index in 0..5 {
        let name = format!("member{index}");
        let held: Vec<_> = (0..random.below(4)).map(|_| ids[random.below(ids.len())].clone()).collect();
        links.extend(held.iter().map(|(_, role)| vec![name.clone(), role.clone()]));
        let held: Vec<_> = held.iter().map(|(role, _)| Assignment { role: *role, store: None }).collect();
        members.push((name, snapshot.rights(&held)));
    }
    links.sort_unstable();
    links.dedup();
    let casbin = enforcer(rules, links).await;

    for (name, rights) in &members {
        for (resource, action) in RESOURCES.iter().flat_map(|resource| ACTIONS.map(|action| (*resource, action))) {
            let permission: Permission = format!("{resource}:{action}").parse().unwrap();
            let (question, now) = (Question::new(&permission), Timestamp::from_seconds(0));
            let ours = snapshot.decide(rights, &question, &Subject::default(), now).is_allowed();
            let theirs = casbin.enforce((name.as_str(), resource, action)).unwrap();
            assert_eq!(ours, theirs, "{name} {permission} {:#?}", snapshot.model());
        }
    }
}

fn invent_grant(random: &mut Random) -> Grant {
    let resource = random.choose(&RESOURCES);
    let permission = match random.below(12) {
        0 => "*".to_owned(),
        1..4 => format!("{resource}:*"),
        _ => format!("{resource}:{}", random.choose(&ACTIONS)),
    };
    let effect = if random.one_in(5) { Effect::Deny } else { Effect::Allow };
    Grant { permission: permission.parse().unwrap(), effect, when: None, step_up: None }
}

fn rule(role: &str, grant: &Grant) -> Vec<String> {
    let pattern = grant.permission.to_string();
    let (resource, action) = pattern.split_once(':').unwrap_or(("*", "*"));
    let effect = if grant.effect == Effect::Deny { "deny" } else { "allow" };
    [role, resource, action, effect].map(str::to_owned).to_vec()
}

async fn enforcer(mut rules: Vec<Vec<String>>, links: Vec<Vec<String>>) -> Enforcer {
    let mut model = DefaultModel::default();
    model.add_def("r", "r", "sub, obj, act");
    model.add_def("p", "p", "sub, obj, act, eft");
    model.add_def("g", "g", "_, _");
    model.add_def("e", "e", "some(where (p.eft == allow)) && !some(where (p.eft == deny))");
    let matcher = "g(r.sub, p.sub) && (p.obj == \"*\" || r.obj == p.obj) && (p.act == \"*\" || r.act == p.act)";
    model.add_def("m", "m", matcher);
    let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.unwrap();
    rules.sort_unstable();
    rules.dedup();
    // Casbin refuses an empty list; without any rule at all it has an opinion of its own.
    rules.push(["nobody", "nothing", "none", "allow"].map(str::to_owned).to_vec());
    assert!(enforcer.add_policies(rules).await.unwrap());
    if !links.is_empty() {
        assert!(enforcer.add_grouping_policies(links).await.unwrap());
    }
    enforcer
}
