//! An expression brought into the form that is evaluated.

use std::sync::Arc;

use cedar_policy_core::{
    ast::{BinaryOp, Expr, ExprBuilder, ExprKind, Literal, UnaryOp, Var},
    entities::SchemaType,
    expr_builder::ExprBuilder as _,
    extensions::Extensions,
    parser::Loc,
};

use super::{
    ConditionError,
    facts::{Mentions, Wanted, name_of},
};

/// How deep an expression may be: also a chain of `&&` or `.` is one, and evaluating it recurses.
const DEPTH_MAX: usize = 256;

/// The longest pattern of a `like`, in characters.
const PATTERN_MAX: usize = 256;

/// Something wrong with an expression, at a byte of its text.
#[derive(Debug)]
pub(super) struct Wrong {
    offset: usize,
    message: String,
}

impl Wrong {
    pub(super) fn at(expression: &Expr, message: impl Into<String>) -> Self {
        Self { offset: expression.source_loc().map_or(0, Loc::start), message: message.into() }
    }

    pub(super) fn in_text(self, text: &str) -> ConditionError {
        ConditionError::at(text, self.offset, self.message)
    }
}

/// The expression with every variable as a field of one record, which Cedar is then given as the context: values need
/// no entities around them, which cost more than the evaluation. Beside it, what it mentions of each
/// and how deep it is.
pub(super) fn scoped(expression: &Expr) -> Result<(Expr, Mentions, usize), Wrong> {
    if !can_be_boolean(expression) {
        return Err(Wrong::at(expression, "a condition is true or false, and this is neither"));
    }
    let mut scope = Scope { mentions: Mentions::default(), depth_left: DEPTH_MAX };
    let scoped = scope.bring(expression, DEPTH_MAX)?;
    // A variable has become a field of a field.
    Ok((scoped, scope.mentions, DEPTH_MAX - scope.depth_left + 2))
}

struct Scope {
    mentions: Mentions,
    /// At the deepest place so far.
    depth_left: usize,
}

impl Scope {
    fn bring(&mut self, expression: &Expr, depth: usize) -> Result<Expr, Wrong> {
        let Some(depth) = depth.checked_sub(1) else { return Err(Wrong::at(expression, "nested too deep")) };
        self.depth_left = self.depth_left.min(depth);
        let build = || ExprBuilder::<()>::new().with_maybe_source_loc(expression.source_loc());
        Ok(match expression.expr_kind() {
            ExprKind::Lit(literal) => build().val(literal.clone()),
            ExprKind::Var(record) => {
                *self.mentions.of(*record) = Wanted::Everything;
                field(expression, *record)
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                build().ite(self.bring(test_expr, depth)?, self.bring(then_expr, depth)?, self.bring(else_expr, depth)?)
            }
            ExprKind::And { left, right } => build().and(self.bring(left, depth)?, self.bring(right, depth)?),
            ExprKind::Or { left, right } => build().or(self.bring(left, depth)?, self.bring(right, depth)?),
            ExprKind::UnaryApp { op, arg } => build().unary_app(*op, self.bring(arg, depth)?),
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                build().binary_app(*op, self.bring(arg1, depth)?, self.bring(arg2, depth)?)
            }
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                let args = self.bring_all(args.iter(), depth)?;
                Expr::call_extension_fn(fn_name.clone(), args).with_maybe_source_loc(expression.source_loc().cloned())
            }
            ExprKind::GetAttr { expr, attr } => build().get_attr(self.holder(expr, attr, depth)?, attr.clone()),
            ExprKind::HasAttr { expr, attr } => build().has_attr(self.holder(expr, attr, depth)?, attr.clone()),
            ExprKind::ExtHasAttr { expr, attrs } => {
                let holder = self.holder(expr, attrs.first(), depth)?;
                build().extended_has_attr(holder, attrs.clone())
            }
            // Matching takes time of its length times the text's.
            ExprKind::Like { pattern, .. } if pattern.len() > PATTERN_MAX => {
                return Err(Wrong::at(expression, format!("a pattern has at most {PATTERN_MAX} characters")));
            }
            ExprKind::Like { expr, pattern } => build().like(self.bring(expr, depth)?, pattern.clone()),
            ExprKind::Is { expr, entity_type } => build().is_entity_type(self.bring(expr, depth)?, entity_type.clone()),
            ExprKind::Set(elements) => build().set(self.bring_all(elements.iter(), depth)?),
            ExprKind::Record(fields) => {
                let values = self.bring_all(fields.values(), depth)?;
                let fields = fields.keys().cloned().zip(values);
                build().record(fields).map_err(|error| Wrong::at(expression, error.to_string()))?
            }
            ExprKind::Slot(_) => return Err(Wrong::at(expression, "there is nothing to fill this in a condition")),
            // Of partial evaluation.
            ExprKind::Unknown(_) => return Err(Wrong::at(expression, "not for conditions")),
        })
    }

    fn bring_all<'a>(&mut self, all: impl Iterator<Item = &'a Expr>, depth: usize) -> Result<Vec<Expr>, Wrong> {
        all.map(|expression| self.bring(expression, depth)).collect()
    }

    /// What an attribute is taken from: of a record, only that attribute is then wanted.
    fn holder(&mut self, expression: &Arc<Expr>, attribute: &str, depth: usize) -> Result<Expr, Wrong> {
        match expression.expr_kind() {
            ExprKind::Var(record) => {
                self.mentions.of(*record).add(attribute);
                Ok(field(expression, *record))
            }
            _ => self.bring(expression, depth),
        }
    }
}

fn field(variable: &Expr, record: Var) -> Expr {
    let build = || ExprBuilder::<()>::new().with_maybe_source_loc(variable.source_loc());
    build().get_attr(build().var(Var::Context), name_of(record).into())
}

/// The record that an expression of the form above names, if it is one.
pub(super) fn record_of(expression: &Expr) -> Option<Var> {
    let ExprKind::GetAttr { expr, attr } = expression.expr_kind() else { return None };
    let records = [Var::Principal, Var::Action, Var::Resource, Var::Context];
    let found = records.into_iter().find(|record| name_of(*record) == attr.as_str());
    found.filter(|_| matches!(expr.expr_kind(), ExprKind::Var(_)))
}

/// Whether there are values with which it is true or false.
fn can_be_boolean(expression: &Expr) -> bool {
    match expression.expr_kind() {
        ExprKind::Lit(literal) => matches!(literal, Literal::Bool(_)),
        ExprKind::UnaryApp { op, .. } => !matches!(op, UnaryOp::Neg),
        ExprKind::BinaryApp { op, .. } => !matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul),
        ExprKind::If { then_expr, else_expr, .. } => can_be_boolean(then_expr) || can_be_boolean(else_expr),
        ExprKind::ExtensionFunctionApp { fn_name, .. } => Extensions::all_available()
            .func(fn_name)
            .is_ok_and(|function| function.return_type().is_none_or(|returned| *returned == SchemaType::Bool)),
        ExprKind::Var(_) | ExprKind::Set(_) | ExprKind::Record(_) => false,
        _ => true,
    }
}
