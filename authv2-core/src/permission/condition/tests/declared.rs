//! Conditions against declared resource types.

use super::*;

fn order() -> ResourceType {
    resource_type(&[
        ("amount", AttributeType::Long),
        ("name", AttributeType::String),
        ("open", AttributeType::Boolean),
        ("origin", AttributeType::Ip),
        ("tags", AttributeType::StringSet),
    ])
}

#[test]
fn accepts_what_agrees_with_the_declaration() {
    for text in [
        "resource.amount <= 500 && resource.open",
        r#"resource.name like "a*" || resource["name"] == context.name"#,
        r#"resource.tags.contains("x") && resource.tags.containsAny(context.tags) && !resource.tags.isEmpty()"#,
        r#"resource.origin.isInRange(ip("10.0.0.0/8")) && resource.origin == principal.ip"#,
        r#"resource.id == "7" && resource.type == "orders""#,
        "resource has amount && -resource.amount + 1 > context.limit",
        "if resource.open then resource.amount == 1 else true",
        "[resource.amount, 2].contains(context.amount)",
        r#"(if principal.vip then resource else context).amount == "x""#,
        // Not declared, so not known.
        r#"context.amount == "x" && action.soft < 3 && principal.age like "y""#,
        "principal == resource",
    ] {
        assert_eq!(Condition::parse(text).unwrap().check(&order()), Ok(()), "{text}");
    }
}

#[test]
fn refuses_what_contradicts_the_declaration_and_says_where() {
    for (text, column) in [
        ("resource.color == 1", 1),
        ("true && resource.color == 1", 9),
        ("resource has color", 1),
        ("resource has name.first", 1),
        (r#"resource.amount == "x""#, 20),
        (r#""x" == resource.amount"#, 8),
        (r#"resource.amount like "a*""#, 1),
        ("resource.tags < 3", 1),
        ("3 > resource.tags", 5),
        ("!resource.name", 2),
        ("resource.name && true", 1),
        ("if resource.amount then true else false", 4),
        ("resource.name.length == 3", 1),
        ("resource.tags.contains(7)", 24),
        ("resource.tags.containsAll([1, 2])", 27),
        (r#"resource.name.contains("x")"#, 1),
        ("resource.amount.isEmpty()", 1),
        (r#"resource.amount.lessThan(decimal("1.0"))"#, 1),
        (r#"resource.name.isInRange(ip("10.0.0.0/8"))"#, 1),
        (r#"resource.origin == "10.0.0.1""#, 20),
        ("ip(resource.amount).isIpv4()", 4),
        ("resource.open + 1 == 2", 1),
        ("-resource.name == 2", 2),
        (r#"resource == "x""#, 13),
        (r#"resource in Shop::"x""#, 1),
        ("resource is Shop", 1),
        ("{a: resource.color} == context", 5),
        ("resource.amount", 1),
    ] {
        let error = Condition::parse(text).unwrap().check(&order()).unwrap_err();
        assert_eq!((error.line, error.column), (1, column), "{text}: {error}");
    }
}

#[test]
fn says_what_is_wrong_in_the_users_words() {
    let error = |text| Condition::parse(text).unwrap().check(&order()).unwrap_err().message;
    assert_eq!(error("resource.color == 1"), "the resource has no attribute `color`");
    assert_eq!(error("!resource.name"), "this is a string, where a boolean is needed");
}

#[test]
fn counts_lines_and_characters() {
    let text = "// größer\ncontext.größe == 1 &&\n  \"ä\" == context.x && resource.color";
    let text = text.replace("context.größe", "context[\"größe\"]");
    let error = Condition::parse(&text).unwrap().check(&order()).unwrap_err();
    assert_eq!((error.line, error.column), (3, 23), "{error}");
}
