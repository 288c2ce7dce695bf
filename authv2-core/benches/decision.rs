//! Decisions: ours at two sizes of an organization, then casbin's and Cedar's on the same one.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark may stop where it cannot go on"
)]

mod organization;

use std::{
    collections::{HashMap, HashSet},
    hint::black_box,
    str::FromStr,
    time::Duration,
};

use authv2_core::{
    clock::Timestamp,
    permission,
    permission::{Effect, Grant, Model, Permission, Question, Rights, Snapshot, Subject},
    store::Assignment,
};
use casbin::{CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi, Model as _};
use cedar_policy::{Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use serde_json::{Map, json};

const MEMBERS: usize = 100_000;
const ROLES: usize = 1_000;
const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);

criterion_group!(benches, ours, conditions, peers);
criterion_main!(benches);

struct World {
    snapshot: Snapshot,
    members: Vec<Rights>,
}

impl World {
    fn new(members: usize, roles: usize) -> Self {
        let snapshot = Snapshot::compile(organization::model(roles));
        let members =
            (0..members).map(|member| snapshot.rights(&organization::assignments(snapshot.model(), member))).collect();
        Self { snapshot, members }
    }

    fn decide(&self, member: usize, permission: &Permission) -> bool {
        let question = Question::new(permission);
        self.snapshot.decide(&self.members[member], &question, &Subject::default(), NOW).is_allowed()
    }
}

fn ours(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    measure(&mut group, "100k members, 1000 roles", &World::new(MEMBERS, ROLES), ROLES);
    measure(&mut group, "1k members, 20 roles", &World::new(1_000, 20), 20);
    group.finish();
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, size: &str, world: &World, roles: usize) {
    for (outcome, text) in [("allow", organization::allowed(7, roles)), ("deny", organization::denied(7, roles))] {
        let permission: Permission = text.parse().unwrap();
        assert_eq!(world.decide(7, &permission), outcome == "allow");
        group.bench_function(format!("{size}: typed, {outcome}"), |bencher| {
            bencher.iter(|| world.decide(7, black_box(&permission)));
        });
        group.bench_function(format!("{size}: string, {outcome}"), |bencher| {
            bencher.iter(|| world.decide(7, &black_box(text.as_str()).parse().unwrap()));
        });
        // Other members and permissions each time, all over the memory.
        let questions: Vec<(usize, Permission)> = (0..4_096)
            .map(|index| {
                let member = index * 7_919 % world.members.len();
                let ask = if outcome == "allow" { organization::allowed } else { organization::denied };
                (member, ask(member, roles).parse().unwrap())
            })
            .collect();
        let mut next = questions.iter().cycle();
        group.bench_function(format!("{size}: typed, {outcome}, everybody in turn"), |bencher| {
            bencher.iter(|| {
                let (member, permission) = next.next().unwrap();
                world.decide(*member, permission)
            });
        });
        group.bench_function(format!("{size}: explain, {outcome}"), |bencher| {
            let (rights, question) = (&world.members[7], Question::new(&permission));
            bencher.iter(|| world.snapshot.explain(rights, &question, &Subject::default(), NOW));
        });
    }
    let unknown = permission!("nobody:knows");
    group.bench_function(format!("{size}: typed, deny, unknown permission"), |bencher| {
        bencher.iter(|| world.decide(7, black_box(&unknown)));
    });
}

/// One condition, ours and Cedar's own, on values that are new with each request.
fn conditions(criterion: &mut Criterion) {
    const TEXT: &str = "resource.amount <= 500 && context.channel == \"web\"";
    let mut group = criterion.benchmark_group("condition");

    let mut role = organization::model(1).roles()[0].clone();
    role.grants = vec![Grant {
        permission: "orders:refund".parse().unwrap(),
        effect: Effect::Allow,
        when: Some(TEXT.to_owned()),
        step_up: None,
    }];
    let id = role.id;
    let organization = authv2_core::id::OrgId::new();
    let snapshot = Snapshot::compile(Model::new(organization, 1, "UTC").with_roles(vec![role]).unwrap());
    let rights = snapshot.rights(&[Assignment { role: id, store: None }]);
    let as_map = |value: serde_json::Value| -> Map<String, serde_json::Value> { value.as_object().unwrap().clone() };
    let resource = as_map(json!({"id": "order-1", "type": "orders", "amount": 250}));
    let context = as_map(json!({"channel": "web"}));
    let refund = permission!("orders:refund");
    let question = Question { resource: Some(&resource), context: Some(&context), ..Question::new(&refund) };
    let user = "0199d0a5-0000-7000-8000-000000000001";
    let subject = Subject { id: user, email: Some("ada@example.org"), ..Subject::default() };
    let ours = || snapshot.decide(&rights, black_box(&question), &subject, NOW).is_allowed();

    let text = format!("permit(principal, action == Action::\"refund\", resource) when {{ {TEXT} }};");
    let policies = PolicySet::from_str(&text).unwrap();
    let authorizer = Authorizer::new();
    let organization = organization.to_string();
    let cedars = || {
        let string = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let entity = |kind: &str, id: &str, attributes: Vec<(&str, RestrictedExpression)>| {
            let uid = EntityUid::from_type_name_and_id(kind.parse().unwrap(), id.parse().unwrap());
            let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            Entity::new(uid, attributes, HashSet::new()).unwrap()
        };
        let principal = entity(
            "User",
            user,
            vec![
                ("id", string(user)),
                ("email", string("ada@example.org")),
                ("roles", RestrictedExpression::new_set([string("role0")])),
                ("organization", string(&organization)),
            ],
        );
        let action = entity("Action", "refund", vec![("name", string("refund"))]);
        let resource = entity(
            "Resource",
            "order-1",
            vec![
                ("id", string("order-1")),
                ("type", string("orders")),
                ("amount", RestrictedExpression::new_long(250)),
            ],
        );
        let now = [("hour", 12), ("minute", 30), ("weekday", 2)];
        let now = now.map(|(name, value)| (name.to_owned(), RestrictedExpression::new_long(value)));
        let context = Context::from_pairs([
            ("channel".to_owned(), string("web")),
            ("now".to_owned(), RestrictedExpression::new_record(now).unwrap()),
        ]);
        let uids = (principal.uid(), action.uid(), resource.uid());
        let request = Request::new(uids.0, uids.1, uids.2, context.unwrap(), None).unwrap();
        let entities = Entities::from_entities([principal, action, resource], None).unwrap();
        authorizer.is_authorized(black_box(&request), &policies, &entities).decision() == cedar_policy::Decision::Allow
    };
    assert!(ours() && cedars());
    group.bench_function("ours", |bencher| bencher.iter(ours));
    group.bench_function("cedar-policy", |bencher| bencher.iter(cedars));
    group.bench_function("ours, explained", |bencher| {
        bencher.iter(|| snapshot.explain(&rights, &question, &subject, NOW));
    });
    // The machine's mood changes by the minute: turn and turn about, the least time of each.
    let (mut least_ours, mut least_cedars) = (Duration::MAX, Duration::MAX);
    for _ in 0..200 {
        least_ours = least_ours.min(time(&ours));
        least_cedars = least_cedars.min(time(&cedars));
    }
    println!("condition: {:.2} of cedar-policy", least_ours.as_secs_f64() / least_cedars.as_secs_f64());
    group.finish();
}

fn time(work: &impl Fn() -> bool) -> Duration {
    let started = std::time::Instant::now();
    for _ in 0..200 {
        black_box(work());
    }
    started.elapsed()
}

fn peers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peers, 100k members, 1000 roles");
    group.sample_size(10).warm_up_time(Duration::from_secs(1));
    let questions = [("allow", organization::allowed(7, ROLES)), ("deny", organization::denied(7, ROLES))];

    let casbin = casbin();
    for (outcome, text) in &questions {
        let (resource, action) = text.split_once(':').unwrap();
        assert_eq!(casbin.enforce(("member7", resource, action)).unwrap(), *outcome == "allow");
        group.bench_function(format!("casbin, {outcome}"), |bencher| {
            bencher.iter(|| casbin.enforce(("member7", resource, action)).unwrap());
        });
    }
    drop(casbin);

    let (policies, entities) = cedar();
    let authorizer = Authorizer::new();
    for (outcome, text) in &questions {
        let decide = || {
            let uid = |text: &str| EntityUid::from_str(text).unwrap();
            let action = uid(&format!("Action::\"{text}\""));
            let request =
                Request::new(uid("User::\"7\""), action, uid("Any::\"any\""), Context::empty(), None).unwrap();
            authorizer.is_authorized(&request, &policies, &entities).decision() == cedar_policy::Decision::Allow
        };
        assert_eq!(decide(), *outcome == "allow");
        group.bench_function(format!("cedar-policy, {outcome}"), |bencher| bencher.iter(decide));
    }
    group.finish();
}

fn casbin() -> Enforcer {
    let mut model = DefaultModel::default();
    model.add_def("r", "r", "sub, obj, act");
    model.add_def("p", "p", "sub, obj, act, eft");
    model.add_def("g", "g", "_, _");
    model.add_def("e", "e", "some(where (p.eft == allow)) && !some(where (p.eft == deny))");
    let matcher = "g(r.sub, p.sub) && (p.obj == \"*\" || r.obj == p.obj) && (p.act == \"*\" || r.act == p.act)";
    model.add_def("m", "m", matcher);
    let (mut rules, mut links) = (Vec::new(), Vec::new());
    for role in 0..ROLES {
        let name = organization::role_name(role);
        links.extend(organization::parent(role).map(|parent| vec![name.clone(), organization::role_name(parent)]));
        rules.extend(organization::grants(role).map(|(pattern, effect)| {
            let (resource, action) = pattern.split_once(':').unwrap();
            let effect = if effect == Effect::Deny { "deny" } else { "allow" };
            [&name, resource, action, effect].map(str::to_owned).to_vec()
        }));
    }
    let held = |member: usize| {
        let roles: HashSet<usize> = organization::held(member, ROLES).into_iter().collect();
        roles.into_iter().map(move |role| vec![format!("member{member}"), organization::role_name(role)])
    };
    links.extend((0..MEMBERS).flat_map(held));
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        let mut enforcer = Enforcer::new(model, MemoryAdapter::default()).await.unwrap();
        assert!(enforcer.add_policies(rules).await.unwrap());
        assert!(enforcer.add_grouping_policies(links).await.unwrap());
        enforcer
    })
}

/// A policy a grant, an entity a role, and the one member that is asked about: more members cost Cedar memory, not time.
fn cedar() -> (PolicySet, Entities) {
    let mut text = String::new();
    let uid = |kind: &str, id: &str| EntityUid::from_type_name_and_id(kind.parse().unwrap(), id.parse().unwrap());
    let role = |role: usize| uid("Role", &organization::role_name(role));
    let mut entities = Vec::new();
    for number in 0..ROLES {
        for (pattern, effect) in organization::grants(number) {
            let effect = if effect == Effect::Deny { "forbid" } else { "permit" };
            text += &format!("{effect}(principal in {}, action == Action::\"{pattern}\", resource);\n", role(number));
        }
        let parents = organization::parent(number).map(role).into_iter().collect();
        entities.push(Entity::new(role(number), HashMap::new(), parents).unwrap());
    }
    let held = organization::held(7, ROLES).map(role).into_iter().collect();
    entities.push(Entity::new(uid("User", "7"), HashMap::new(), held).unwrap());
    (PolicySet::from_str(&text).unwrap(), Entities::from_entities(entities, None).unwrap())
}
