//! A condition, compiled.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use cedar_policy::{Entities, EvalResult, EvaluationError, Expression, Request, eval_expression};
use cedar_policy_core::ast;

use super::{
    ConditionError, Held, Scene, check,
    facts::{self, Mentions},
    parse, stack, tree,
};
use crate::permission::role::ResourceType;

static NO_ENTITIES: LazyLock<Entities> = LazyLock::new(Entities::empty);

/// A compiled condition. A cheap clone.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    /// In the form of [`tree::scoped`].
    expression: Expression,
    mentions: Mentions,
    depth: usize,
}

impl Condition {
    /// Compiles `text`, which must be one expression that can be true or false.
    ///
    /// # Errors
    /// [`ConditionError`] with the place where it stops making sense.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        stack::with_room(parse::levels(text)?, || Self::parse_here(text))
    }

    fn parse_here(text: &str) -> Result<Self, ConditionError> {
        let parsed = parse::expression(text)?;
        let (scoped, mentions, depth) = tree::scoped(&parsed).map_err(|wrong| wrong.in_text(text))?;
        Ok(Self(Arc::new(Compiled { text: text.into(), expression: scoped.into(), mentions, depth })))
    }

    /// Checks the expression against the declared type of the resource it will be asked about.
    ///
    /// # Errors
    /// [`ConditionError`] where it contradicts the declaration.
    pub fn check(&self, resource: &ResourceType) -> Result<(), ConditionError> {
        check::check(self.0.expression.as_ref(), resource).map_err(|wrong| wrong.in_text(&self.0.text))
    }

    /// The text it was made of.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    pub(crate) fn holds(&self, scene: &Scene<'_>) -> Held {
        let nobody = ast::EntityUIDEntry::unknown;
        let records = facts::records(scene, &self.0.mentions);
        let request = Request::from(ast::Request::new_unchecked(nobody(), nobody(), nobody(), Some(records)));
        stack::with_room(self.0.depth, || match eval_expression(&request, &NO_ENTITIES, &self.0.expression) {
            Ok(EvalResult::Bool(true)) => Held::Yes,
            Ok(EvalResult::Bool(false)) => Held::No,
            Ok(_) => Held::Failed("it is neither true nor false".to_owned()),
            Err(error) => Held::Failed(reason(&error)),
        })
    }
}

/// What Cedar says, without the values it says it of: those may be nobody's business.
fn reason(error: &EvaluationError) -> String {
    match error {
        EvaluationError::IntegerOverflow(_) => "integer overflow".to_owned(),
        EvaluationError::FailedExtensionFunctionExecution(_) => {
            "a function cannot make sense of its argument".to_owned()
        }
        EvaluationError::NonValue(_) => "it has no value".to_owned(),
        _ => error.to_string(),
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({:?})", self.0.text)
    }
}
