//! What conditions see, and what beats what.

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::StoreId;

#[test]
fn sees_the_example_of_the_contract() {
    let text = r#"resource.amount <= 500 && context.channel == "web""#;
    let world = |amount: i64, channel: &str| World {
        context: json!({"channel": channel}),
        ..World::with_resource(json!({"amount": amount}))
    };
    world(500, "web").is_true(text);
    world(501, "web").is_false(text);
    world(500, "shop").is_false(text);
}

#[test]
fn sees_what_the_server_knows_of_the_principal() {
    let world = World::new();
    for text in [
        r#"principal.id == "u-1" && principal.email == "ann@example.com""#,
        r#"principal.roles == ["auditor", "clerk"]"#,
        r#"principal.method == "bearer" && principal.acr == "aal2" && principal.risk == "medium""#,
        r#"principal.amr.containsAll(["pwd", "otp"])"#,
        "principal.auth_age == 60 && principal.session_age == 3600",
        r#"principal.ip.isIpv4() && principal.ip.isInRange(ip("10.0.0.0/8"))"#,
        r#"action.name == "refund" && resource.type == "orders""#,
        &format!(r#"principal.organization == "{}" && !(principal has store)"#, world.organization),
    ] {
        world.is_true(text);
    }
}

#[test]
fn sees_the_store_only_when_decided_at_one() {
    let store = StoreId::new();
    let world = World { store: Some(store), ..World::new() };
    world.is_true(&format!(r#"principal.store == "{store}""#));
    let claimed = World { properties: json!({"store": store.to_string()}), ..World::new() };
    claimed.is_true("!(principal has store)");
}

#[test]
fn tells_the_time_in_the_organizations_time_zone() {
    World::new().is_true("context.now == {hour: 23, minute: 30, weekday: 3}");
    let world = World { time_zone: TimeZone::get("Asia/Kolkata").unwrap(), ..World::new() };
    world.is_true("context.now.hour == 5 && context.now.minute == 0 && context.now.weekday == 4");
}

#[test]
fn believes_the_server_rather_than_the_caller() {
    let world = World {
        properties: json!({
            "id": "root", "email": "root@example.com", "roles": ["owner"], "method": "cookie", "amr": ["hwk"],
            "acr": "aal3", "auth_age": 0, "session_age": 0, "risk": "low", "ip": "127.0.0.1", "organization": "o",
        }),
        action: json!({"name": "read"}),
        context: json!({"now": {"hour": 12, "minute": 0, "weekday": 1}}),
        ..World::new()
    };
    world.is_true(r#"principal.id == "u-1" && !principal.roles.contains("owner") && action.name == "refund""#);
    world.is_true(r#"context.now.hour == 23 && principal.risk == "medium" && principal.auth_age == 60"#);
    // Claimed by somebody else's call, where there is no session, they are absent.
    let world = World { signed_in: false, email: None, ..world };
    for fact in ["email", "method", "amr", "acr", "auth_age", "session_age", "risk", "ip"] {
        world.is_false(&format!("principal has {fact}"));
    }
    // The same where the condition looks at the record as a whole.
    world.is_true(r#"(if true then principal else context).id == "u-1" && !(principal has risk)"#);
    world.is_false("(if true then principal else context) has risk");
}

#[test]
fn takes_other_properties_from_the_caller() {
    let world = World {
        properties: json!({"department": "sales"}),
        action: json!({"soft": true}),
        ..World::with_resource(json!({"id": "o-1", "type": "special"}))
    };
    world.is_true(r#"principal.department == "sales" && action.soft && resource.id == "o-1""#);
    world.is_true(r#"resource.type == "special""#);
}

#[test]
fn fails_on_what_is_unknown_and_says_what() {
    let world = World { properties: json!({"card": "4111"}), ..World::new() };
    assert_eq!(world.fails("resource.amount < 5"), "record does not have the attribute `amount`");
    assert_eq!(world.fails("principal.card < 5"), "type error: expected long, got string");
    assert_eq!(world.fails("principal.id"), "it is neither true nor false");
    assert!(!world.fails("decimal(principal.card).lessThan(decimal(\"1.0\"))").contains("4111"));
    let big = World::with_resource(json!({"amount": i64::MAX}));
    assert_eq!(big.fails("resource.amount + 1 > 0"), "integer overflow");
}

#[test]
fn evaluates_no_further_than_it_must() {
    World::new().is_true("true || resource.amount < 5");
    World::new().is_false("resource has amount && resource.amount < 5");
    World::new().is_false("context has customer.address.city");
    let world = World { context: json!({"customer": {"address": {"city": "Rome"}}}), ..World::new() };
    world.is_true(r#"context has customer.address.city && context.customer.address.city like "R*""#);
}

#[test]
fn knows_no_entities() {
    World::new().is_false(r#"principal == User::"u-1""#);
    World::new().fails(r#"principal in Group::"staff""#);
    World::new().fails("principal is User");
}

#[test]
fn clones_share_one_compilation() {
    let condition = Condition::parse("resource.amount < 5").unwrap();
    assert_eq!(condition.clone().as_str().as_ptr(), condition.as_str().as_ptr());
}

const EXPRESSIONS: [&str; 8] = [
    "resource.amount <= 500",
    "resource.amount + context.fee < 1000 && resource.open",
    r#"resource.tags.contains(context.channel) || !resource.open"#,
    r#"context.channel like "w*" && resource has amount"#,
    r#"if resource.open then resource.amount == context.fee else context.channel == "web""#,
    r#"resource.tags.containsAny(["web", context.channel]) && resource.amount != 7"#,
    "context.fee * resource.amount > 0 || resource has missing",
    "[resource.amount, context.fee].containsAll([7]) && resource.missing",
];

/// What Cedar itself decides, with the resource as an entity: the other way to ask.
fn cedar_decides(expression: &str, amount: i64, fee: i64, open: bool, tags: &[String], channel: &str) -> Held {
    let policy = format!("permit(principal, action, resource) when {{ {expression} }};");
    let (text, long) = (RestrictedExpression::new_string, RestrictedExpression::new_long);
    let uid: EntityUid = r#"Order::"o-1""#.parse().unwrap();
    let attributes = [
        ("amount".to_owned(), long(amount)),
        ("open".to_owned(), RestrictedExpression::new_bool(open)),
        ("tags".to_owned(), RestrictedExpression::new_set(tags.iter().cloned().map(text))),
    ];
    let entity = Entity::new(uid.clone(), attributes.into(), [].into()).unwrap();
    let context = [("channel".to_owned(), text(channel.to_owned())), ("fee".to_owned(), long(fee))];
    let request = Request::new(
        r#"User::"u-1""#.parse().unwrap(),
        r#"Action::"refund""#.parse().unwrap(),
        uid,
        Context::from_pairs(context).unwrap(),
        None,
    );
    let policies: PolicySet = policy.parse().unwrap();
    let entities = Entities::from_entities([entity], None).unwrap();
    let response = Authorizer::new().is_authorized(&request.unwrap(), &policies, &entities);
    match (response.diagnostics().errors().count(), response.decision()) {
        (0, Decision::Allow) => Held::Yes,
        (0, Decision::Deny) => Held::No,
        _ => Held::Failed(String::new()),
    }
}

proptest! {
    #[test]
    fn agrees_with_cedar_deciding_a_policy(
        place in 0..EXPRESSIONS.len(),
        amount in prop_oneof![any::<i64>(), -10..1000_i64, Just(7)],
        fee in prop_oneof![any::<i64>(), -10..1000_i64, Just(7)],
        open: bool,
        tags in prop::collection::vec("web|shop|w[a-z]", 0..4),
        channel in "web|shop|w[a-z]",
    ) {
        let world = World {
            context: json!({"channel": channel, "fee": fee}),
            ..World::with_resource(json!({"amount": amount, "open": open, "tags": tags}))
        };
        let ours = match world.holds(EXPRESSIONS[place]) {
            Held::Failed(_) => Held::Failed(String::new()),
            held => held,
        };
        prop_assert_eq!(ours, cedar_decides(EXPRESSIONS[place], amount, fee, open, &tags, &channel));
    }
}
