//! From text to an expression, within bounds.

use cedar_policy_core::{ast::Expr, parser::err::ParseErrors};
use miette::Diagnostic;

use super::{CONDITION_MAX, ConditionError};

/// How many brackets may stand open, each `if` counting as one.
const NESTING_MAX: usize = 48;

/// Refuses a text that is too long or nested too deep; how many levels it takes to parse it and to take it apart again.
pub(super) fn levels(text: &str) -> Result<usize, ConditionError> {
    if text.len() > CONDITION_MAX {
        return Err(ConditionError::at(text, CONDITION_MAX, format!("longer than {CONDITION_MAX} bytes")));
    }
    let nesting = nesting(text).map_err(|place| ConditionError::at(text, place, "nested too deep"))?;
    // A chain like `1+1+…` is a tree as deep as it is long, of smaller levels.
    Ok(nesting + text.len() / 32)
}

/// Parses one expression.
pub(super) fn expression(text: &str) -> Result<Expr, ConditionError> {
    text.parse().map_err(|errors: ParseErrors| {
        let error = errors.first();
        let label = error.labels().and_then(|mut labels| labels.next());
        ConditionError::at(text, label.map_or(0, |label| label.offset()), error.to_string())
    })
}

/// How deep the text is nested, or where that passes the bound. Reads text as Cedar's lexer does: strings with escapes, comments to the end of
/// the line.
fn nesting(text: &str) -> Result<usize, usize> {
    let (mut depth, mut deepest): (usize, usize) = (0, 0);
    let mut characters = text.char_indices().peekable();
    let mut in_word = false;
    while let Some((place, character)) = characters.next() {
        let begins_word = !in_word && is_word(character);
        in_word = is_word(character);
        match character {
            '"' => {
                let mut escaped = false;
                for (_, inside) in characters.by_ref() {
                    match inside {
                        '"' if !escaped => break,
                        _ => escaped = inside == '\\' && !escaped,
                    }
                }
            }
            '/' if characters.peek().is_some_and(|(_, next)| *next == '/') => {
                characters.by_ref().find(|(_, inside)| matches!(inside, '\n' | '\r'));
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            'i' if begins_word && starts_with_if(text, place) => depth += 1,
            _ => {}
        }
        deepest = deepest.max(depth);
        if deepest > NESTING_MAX {
            return Err(place);
        }
    }
    Ok(deepest)
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn starts_with_if(text: &str, place: usize) -> bool {
    let rest = text.get(place..).and_then(|rest| rest.strip_prefix("if"));
    rest.is_some_and(|rest| !rest.starts_with(is_word))
}
