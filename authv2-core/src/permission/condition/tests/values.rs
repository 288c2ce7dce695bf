//! What becomes of the caller's JSON.
#![allow(clippy::needless_pass_by_value, reason = "a test reads better with values")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn a(value: Value) -> World {
    World::with_resource(json!({"a": value}))
}

#[test]
fn turns_json_into_plain_values() {
    a(json!("x")).is_true(r#"resource.a == "x""#);
    a(json!(true)).is_true("resource.a");
    a(json!(-5)).is_true("resource.a == -5");
    a(json!(i64::MIN)).is_true("resource.a == -9223372036854775808");
    a(json!([1, "x", [2]])).is_true(r#"resource.a == ["x", 1, [2], 1]"#);
    a(json!({"b": {"c": "d"}})).is_true(r#"resource.a == {b: {c: "d"}}"#);
}

#[test]
fn turns_fractions_of_up_to_four_digits_into_decimals() {
    for (json, decimal) in
        [("0.5", "0.5"), ("5.0", "5.0"), ("-12.3456", "-12.3456"), ("1e3", "1000.0"), ("1e-4", "0.0001")]
    {
        let value: Value = serde_json::from_str(json).unwrap();
        a(value).is_true(&format!(r#"resource.a == decimal("{decimal}")"#));
    }
    a(json!(499.99)).is_true(r#"resource.a.lessThan(decimal("500.0"))"#);
    a(json!(12_345_678_901.234_5)).is_true(r#"resource.a == decimal("12345678901.2345")"#);
}

#[test]
fn leaves_out_what_cedar_cannot_hold() {
    for json in ["null", "9223372036854775808", "-9223372036854775809", "1e300", "0.00001", "12345678901234.5678"] {
        let value: Value = serde_json::from_str(json).unwrap();
        a(value.clone()).is_false("resource has a");
        a(json!([value, 1])).is_true("resource.a == [1]");
        a(json!({"b": value, "c": 1})).is_true("resource.a == {c: 1}");
    }
}

#[test]
fn keeps_escapes_of_cedars_json_as_data() {
    a(json!({"__entity": {"type": "User", "id": "root"}}))
        .is_true(r#"resource.a["__entity"] == {"type": "User", "id": "root"}"#);
    a(json!({"__extn": {"fn": "ip", "arg": "127.0.0.1"}})).is_true(r#"resource.a["__extn"].fn == "ip""#);
    a(json!({"__expr": "principal"})).is_true(r#"resource.a["__expr"] == "principal""#);
    a(json!({"__extn": {"fn": "ip", "arg": "127.0.0.1"}})).fails("resource.a.isLoopback()");
}

#[test]
fn reads_declared_addresses() {
    let declared = Some(resource_type(&[("a", AttributeType::Ip)]));
    let at = |value: Value| World { declared: declared.clone(), ..a(value) };
    at(json!("10.1.2.3")).is_true(r#"resource.a.isInRange(ip("10.0.0.0/8"))"#);
    at(json!("10.0.0.0/8")).is_true(r#"resource.a == ip("10.0.0.0/8")"#);
    at(json!("2001:db8::1")).is_true("resource.a.isIpv6()");
    at(json!("nowhere")).is_true(r#"resource.a == "nowhere""#);
    a(json!("10.1.2.3")).is_true(r#"resource.a == "10.1.2.3""#);
}

#[test]
fn leaves_out_texts_that_are_too_long_and_refuses_long_patterns() {
    a(json!("x".repeat(4096))).is_true("resource has a");
    a(json!("x".repeat(4097))).is_false("resource has a");
    let like =
        |stars: usize| crate::permission::Condition::parse(&format!("resource.a like \"{}\"", "*a".repeat(stars)));
    assert!(like(128).is_ok());
    assert_eq!(like(129).unwrap_err().message, "a pattern has at most 256 characters");
}

#[test]
fn leaves_out_what_lies_too_deep() {
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    a(deep).is_true("resource has a && !resource.a.contains(1)");
    let mut shallow = json!(1);
    for _ in 0..50 {
        shallow = json!({ "b": shallow });
    }
    a(shallow).is_true(&format!("resource.a{} == 1", ".b".repeat(50)));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-99_999_i64..99_999, 0..6_i32).prop_map(|(whole, digits)| Value::from(whole as f64 / 10_f64.powi(digits))),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("a|id|type|now|name|__entity|__extn|.*", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn never_panics_on_any_json(resource in any_json(), action in any_json(), context in any_json(), properties in any_json()) {
        let world = World { resource, action, context, properties, ..World::new() };
        for text in ["resource == context", "principal == action", "resource.a == context.a && action has name", "resource.id < 5"] {
            world.holds(text);
        }
    }
}
