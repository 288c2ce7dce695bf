//! Conditions: Cedar expressions, compiled once, evaluated over plain values.
//!
//! `principal`, `action`, `resource` and `context` are records: there are no entities, so that `in`, `is` and entity
//! literals find nothing. What a record lacks makes the evaluation fail, unless the condition asks with `has`.
//!
//! What a caller sends becomes values so: texts, booleans, whole numbers of 64 bits, arrays as sets, objects as
//! records; a number with a fraction of up to four digits (`5.0` among them) as a Cedar decimal. What Cedar cannot
//! hold is absent, in an array that element: null, bigger numbers, finer fractions, more than fifteen digits (JSON
//! readers round those), and what lies deeper than [`scene::DEPTH_MAX`].

#[cfg(not(feature = "cedar"))]
mod absent;
#[cfg(feature = "cedar")]
mod check;
#[cfg(feature = "cedar")]
mod compiled;
#[cfg(feature = "cedar")]
mod facts;
#[cfg(feature = "cedar")]
mod parse;
mod scene;
#[cfg(feature = "cedar")]
mod stack;
#[cfg(test)]
#[cfg(feature = "cedar")]
mod tests;
#[cfg(feature = "cedar")]
mod tree;
#[cfg(feature = "cedar")]
mod value;

#[cfg(not(feature = "cedar"))]
pub use absent::Condition;
#[cfg(feature = "cedar")]
pub use compiled::Condition;
pub(crate) use scene::{Place, Scene};

/// The longest condition, in bytes.
pub const CONDITION_MAX: usize = 4096;

/// A text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ConditionError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

impl ConditionError {
    /// An error at a byte of the text; past its end, or inside a character, at what comes before.
    fn at(text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (mut line, mut column) = (1, 1);
        for (_, character) in
            text.char_indices().take_while(|(place, character)| place + character.len_utf8() <= offset)
        {
            if character == '\n' {
                (line, column) = (line + 1, 1);
            } else {
                column += 1;
            }
        }
        Self { line, column, message: message.into() }
    }
}

/// What became of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is true.
    Yes,
    /// It is false.
    No,
    /// It could not be evaluated: why.
    Failed(String),
}
