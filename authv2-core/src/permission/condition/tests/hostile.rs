//! Texts made to break the parser, on a stack as small as a server's worker has.

use std::thread;

use proptest::prelude::*;

use super::{super::CONDITION_MAX, *};

/// What a worker thread of tokio has.
const STACK: usize = 2 * 1024 * 1024;

/// As often as it fits.
fn filled(part: &str, end: &str) -> String {
    format!("{}{end}", part.repeat((CONDITION_MAX - end.len()) / part.len()))
}

/// `open` and `close` around `core`, as often as it fits.
fn nested(open: &str, core: &str, close: &str) -> String {
    let times = (CONDITION_MAX - core.len()) / (open.len() + close.len());
    format!("{}{core}{}", open.repeat(times), close.repeat(times))
}

fn bombs() -> Vec<String> {
    let chains = [
        filled("true && ", "true"),
        filled("true||", "true"),
        filled("1+", "1 == 1"),
        filled("1-", "1 == 1"),
        filled("1*", "1 == 1"),
        filled("context.", "a"),
        filled("context.a.", "a == 1"),
        format!("context{}", filled(".a", "").split_off(8)),
        format!("context{}", filled(r#"["a"]"#, "").split_off(10)),
        format!("context has {}", filled("a.", "a").split_off(16)),
        format!("context{}", filled(".a()", "").split_off(8)),
        filled("1 == ", "1"),
        filled("!", "true"),
        filled("-", "1 == 1"),
        filled("if ", "true"),
        filled("if true then true else ", "true"),
        filled("a::", "a"),
        filled(r#"a::""::"#, "a"),
        filled("true ? ", "true"),
        filled("\"\\u{10FFFF}", "\""),
        format!("\"{}\" like \"{}\"", "a".repeat(2000), "*a".repeat(1000)),
        format!("\"{}b\" like \"{}c\"", "a".repeat(2000), "a*".repeat(1000)),
        filled("//", ""),
        filled("\"", ""),
        filled("\n", "x"),
        filled("§", ""),
        filled("context is a in ", "b"),
    ];
    let brackets = [
        ("(", "true", ")"),
        ("!(", "true", ")"),
        ("[", "1", "]"),
        ("{a:", "1", "}"),
        ("{\"a\":", "1", "}"),
        ("context[", "1", "]"),
        ("ip(", "\"a\"", ")"),
        ("principal.f(", "1", ")"),
        ("if ", "true", " then true else true"),
        ("if(", "true", ")then true else true"),
        ("true && (", "true", ")"),
    ];
    let long = filled(" + 1", " > 0").split_off(3200);
    let nested = brackets.iter().flat_map(|(open, core, close)| {
        let deep = |core: &str| format!("{}{core}{} == 1", open.repeat(47), close.repeat(47));
        [
            nested(open, core, close),
            filled(open, ""),
            filled(open, core),
            filled(close, ""),
            deep(core),
            deep(&format!("context.a{long}")),
        ]
    });
    chains.into_iter().chain(nested).collect()
}

#[test]
fn survives_bombs_of_every_kind() {
    let tried = thread::Builder::new().stack_size(STACK).spawn(|| {
        let declared = resource_type(&[]);
        for text in bombs() {
            if let Ok(condition) = Condition::parse(&text) {
                let _ = condition.check(&declared);
                World::with_resource(json!({"a": 1})).ask(&condition);
                assert!(!format!("{condition:?}").is_empty());
            }
        }
    });
    tried.unwrap().join().unwrap();
}

#[test]
fn takes_what_people_write_however_long() {
    let many = filled(r#"context.a == "bbbbb" || "#, "true");
    World { context: json!({"a": "c"}), ..World::new() }.is_true(&many);
    let nested = format!("{}true{}", "(".repeat(40), ")".repeat(40));
    World::new().is_true(&nested);
}

#[test]
fn refuses_nesting_beyond_the_bound_and_says_where() {
    let error = Condition::parse(&nested("(", "true", ")")).unwrap_err();
    assert_eq!((error.line, error.column, error.message.as_str()), (1, 49, "nested too deep"));
    // Brackets in strings and comments nest nothing.
    let quoted = format!(r#""{0}\"{0}" == "" // {0}"#, "(".repeat(100));
    assert!(Condition::parse(&quoted).is_ok());
}

proptest! {
    #[test]
    fn never_panics_on_any_text(text in ".{0,200}") {
        let _ = Condition::parse(&text);
    }

    #[test]
    fn never_panics_on_text_like_conditions(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "principal", "resource", "context", "action", ".", "a", "\"x\"", "1", "==", "<", ">", "!=", "&&", "||",
                "!", "-", "+", "*", "(", ")", "[", "]", "{", "}", ",", ":", "::", "if", "then", "else", "has", "like",
                "in", "is", "ip", "decimal", "contains", "isEmpty", "true", "false", "?principal", "?resource", " ",
                "\n", "//", "\"", "\\", "ä", "9223372036854775808", "unknown",
            ]),
            0..40,
        ),
    ) {
        if let Ok(condition) = Condition::parse(&parts.join(" ")) {
            let _ = condition.check(&resource_type(&[("a", AttributeType::Long)]));
            World::with_resource(json!({"a": 1})).ask(&condition);
        }
    }
}
