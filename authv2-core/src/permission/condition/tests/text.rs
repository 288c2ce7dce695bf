//! What is a condition, and what is not.

use super::{super::CONDITION_MAX, *};

#[track_caller]
fn refused(text: &str) -> (usize, usize, String) {
    let error = Condition::parse(text).unwrap_err();
    (error.line, error.column, error.message)
}

#[test]
fn keeps_its_text() {
    assert_eq!(Condition::parse(" true // always").unwrap().as_str(), " true // always");
}

#[test]
fn says_where_it_stops_making_sense() {
    assert_eq!(refused("resource.amount <=").0, 1);
    assert_eq!(refused("resource.amount =< 5").1, 18);
    assert_eq!(refused("true &&\n  ä").0, 2);
    assert_eq!(refused("true &&\n  \"ä\" == §").1, 10);
    assert_eq!(refused("a.b == 1").1, 1);
    assert_eq!(refused("resource.amount.nope()").0, 1);
    assert_eq!(refused(""), (1, 1, "unexpected end of input".to_owned()));
}

#[test]
fn takes_one_expression_and_nothing_more() {
    for text in [
        "true) || (true",
        "true } ; permit(principal, action, resource) when { true",
        "true; true",
        "true true",
        "permit(principal, action, resource);",
        "when { true }",
        "// nothing",
    ] {
        assert!(Condition::parse(text).is_err(), "{text}");
    }
}

#[test]
fn refuses_the_slots_of_templates() {
    for text in ["?principal == principal", "resource.owner == ?resource", "?x == 1", "true || ?principal == 1"] {
        assert!(Condition::parse(text).is_err(), "{text}");
    }
}

#[test]
fn refuses_what_can_never_be_true_or_false() {
    for text in [
        "1",
        r#""true""#,
        "1 + 1",
        "-resource.amount",
        "principal",
        "[true]",
        "{a: true}",
        r#"ip("10.0.0.1")"#,
        r#"if true then 1 else "x""#,
        r#"User::"x""#,
    ] {
        assert_eq!(refused(text).2, "a condition is true or false, and this is neither", "{text}");
    }
    for text in ["true", "resource.open", "if true then 1 else false", r#"ip("10.0.0.1").isIpv4()"#] {
        assert!(Condition::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn is_bounded_in_length() {
    let fits = format!("{}true", " ".repeat(CONDITION_MAX - 4));
    assert!(Condition::parse(&fits).is_ok());
    let (line, column, message) = refused(&format!(" {fits}"));
    assert_eq!((line, column), (1, CONDITION_MAX + 1));
    assert_eq!(message, "longer than 4096 bytes");
}
