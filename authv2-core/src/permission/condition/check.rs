//! Conditions against declared resource types.
//!
//! A small inference over the expression. Cedar's own validator wants everything declared, entities and contexts too;
//! its partial one, which would not, is experimental and may change in any release.
//! What is not declared has no known type and is never wrong.

use cedar_policy_core::{
    ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Var},
    entities::SchemaType,
    extensions::Extensions,
};

use super::tree::{Wrong, record_of};
use crate::permission::role::{AttributeType, ResourceType};

/// Refuses what contradicts the declaration.
pub(super) fn check(expression: &Expr, resource: &ResourceType) -> Result<(), Wrong> {
    Check { resource }.expect(expression, Type::BOOLEAN)
}

/// A single value's type, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum One {
    Any,
    Boolean,
    Long,
    String,
    Decimal,
    Ip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    One(One),
    SetOf(One),
    Record,
    /// The record `resource`.
    Resource,
}

impl Type {
    const ANY: Self = Self::One(One::Any);
    const BOOLEAN: Self = Self::One(One::Boolean);
    const LONG: Self = Self::One(One::Long);
    const STRING: Self = Self::One(One::String);
    const SET: Self = Self::SetOf(One::Any);

    fn of_attribute(declared: AttributeType) -> Self {
        match declared {
            AttributeType::String => Self::STRING,
            AttributeType::Long => Self::LONG,
            AttributeType::Boolean => Self::BOOLEAN,
            AttributeType::Ip => Self::One(One::Ip),
            AttributeType::StringSet => Self::SetOf(One::String),
        }
    }

    fn of_schema(schema: &SchemaType) -> Self {
        match schema {
            SchemaType::Bool => Self::BOOLEAN,
            SchemaType::Long => Self::LONG,
            SchemaType::String => Self::STRING,
            SchemaType::Extension { name } => match name.to_string().as_str() {
                "decimal" => Self::One(One::Decimal),
                "ipaddr" => Self::One(One::Ip),
                _ => Self::ANY,
            },
            _ => Self::ANY,
        }
    }

    /// Whether a value can be of both.
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::One(One::Any), _) | (_, Self::One(One::Any)) => true,
            (Self::SetOf(one), Self::SetOf(other)) => one == One::Any || other == One::Any || one == other,
            (Self::Record | Self::Resource, Self::Record | Self::Resource) => true,
            _ => self == other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::One(One::Any) => "a value",
            Self::One(One::Boolean) => "a boolean",
            Self::One(One::Long) => "a whole number",
            Self::One(One::String) => "a string",
            Self::One(One::Decimal) => "a decimal",
            Self::One(One::Ip) => "an IP address",
            Self::SetOf(One::String) => "a set of strings",
            Self::SetOf(_) => "a set",
            Self::Record | Self::Resource => "a record",
        }
    }
}

struct Check<'a> {
    resource: &'a ResourceType,
}

impl Check<'_> {
    fn expect(&self, expression: &Expr, expected: Type) -> Result<(), Wrong> {
        let found = self.infer(expression)?;
        if found.meets(expected) {
            return Ok(());
        }
        Err(Wrong::at(expression, format!("this is {}, where {} is needed", found.name(), expected.name())))
    }

    fn expect_all<'a>(&self, all: impl IntoIterator<Item = &'a Expr>, expected: Type) -> Result<(), Wrong> {
        all.into_iter().try_for_each(|expression| self.expect(expression, expected))
    }

    fn infer(&self, expression: &Expr) -> Result<Type, Wrong> {
        match expression.expr_kind() {
            ExprKind::Lit(literal) => Ok(of_literal(literal)),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                self.expect(test_expr, Type::BOOLEAN)?;
                let (one, other) = (self.infer(then_expr)?, self.infer(else_expr)?);
                Ok(if one == other { one } else { Type::ANY })
            }
            ExprKind::And { left, right } | ExprKind::Or { left, right } => {
                self.expect_all([&**left, &**right], Type::BOOLEAN)?;
                Ok(Type::BOOLEAN)
            }
            ExprKind::UnaryApp { op, arg } => self.infer_unary(*op, arg),
            ExprKind::BinaryApp { op, arg1, arg2 } => self.infer_binary(*op, arg1, arg2),
            ExprKind::ExtensionFunctionApp { fn_name, args } => {
                let Ok(function) = Extensions::all_available().func(fn_name) else { return Ok(Type::ANY) };
                for (arg, expected) in args.iter().zip(function.arg_types()) {
                    self.expect(arg, Type::of_schema(expected))?;
                }
                Ok(function.return_type().map_or(Type::ANY, Type::of_schema))
            }
            ExprKind::GetAttr { expr, attr } => match record_of(expression) {
                Some(Var::Resource) => Ok(Type::Resource),
                Some(_) => Ok(Type::ANY),
                None => self.infer_attribute(expression, expr, attr),
            },
            ExprKind::HasAttr { expr, attr } => {
                self.infer_attribute(expression, expr, attr)?;
                Ok(Type::BOOLEAN)
            }
            ExprKind::ExtHasAttr { expr, attrs } => {
                let first = self.infer_attribute(expression, expr, attrs.first())?;
                if attrs.len() > 1 {
                    has_attributes(expression, first)?;
                }
                Ok(Type::BOOLEAN)
            }
            ExprKind::Like { expr, .. } => {
                self.expect(expr, Type::STRING)?;
                Ok(Type::BOOLEAN)
            }
            ExprKind::Is { expr, .. } => {
                self.expect_entity(expr)?;
                Ok(Type::BOOLEAN)
            }
            ExprKind::Set(elements) => self.infer_set(elements),
            ExprKind::Record(fields) => {
                self.expect_all(fields.values(), Type::ANY)?;
                Ok(Type::Record)
            }
            _ => Ok(Type::ANY),
        }
    }

    fn infer_unary(&self, op: UnaryOp, arg: &Expr) -> Result<Type, Wrong> {
        let (expected, found) = match op {
            UnaryOp::Not => (Type::BOOLEAN, Type::BOOLEAN),
            UnaryOp::Neg => (Type::LONG, Type::LONG),
            UnaryOp::IsEmpty => (Type::SET, Type::BOOLEAN),
        };
        self.expect(arg, expected)?;
        Ok(found)
    }

    fn infer_binary(&self, op: BinaryOp, one: &Expr, other: &Expr) -> Result<Type, Wrong> {
        match op {
            BinaryOp::Eq => {
                self.expect(other, self.infer(one)?)?;
                Ok(Type::BOOLEAN)
            }
            // Times are compared so too, and are of no type that is known here.
            BinaryOp::Less | BinaryOp::LessEq => {
                self.expect_all([one, other], Type::LONG)?;
                Ok(Type::BOOLEAN)
            }
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => {
                self.expect_all([one, other], Type::LONG)?;
                Ok(Type::LONG)
            }
            BinaryOp::Contains => {
                self.expect(one, Type::SET)?;
                if let Type::SetOf(element) = self.infer(one)? {
                    self.expect(other, Type::One(element))?;
                }
                self.infer(other)?;
                Ok(Type::BOOLEAN)
            }
            BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                self.expect_all([one, other], Type::SET)?;
                self.expect(other, self.infer(one)?)?;
                Ok(Type::BOOLEAN)
            }
            BinaryOp::In => {
                self.expect_entity(one)?;
                self.infer(other)?;
                Ok(Type::BOOLEAN)
            }
            BinaryOp::GetTag | BinaryOp::HasTag => {
                self.expect_entity(one)?;
                self.expect(other, Type::STRING)?;
                Ok(if op == BinaryOp::HasTag { Type::BOOLEAN } else { Type::ANY })
            }
        }
    }

    /// Nothing declared is an entity.
    fn expect_entity(&self, expression: &Expr) -> Result<(), Wrong> {
        match self.infer(expression)? {
            Type::ANY => Ok(()),
            found => Err(Wrong::at(expression, format!("this is {}, where an entity is needed", found.name()))),
        }
    }

    fn infer_attribute(&self, whole: &Expr, holder: &Expr, attribute: &str) -> Result<Type, Wrong> {
        let held = self.infer(holder)?;
        if held != Type::Resource {
            return has_attributes(whole, held).map(|()| Type::ANY);
        }
        match (self.resource.attributes.get(attribute), attribute) {
            (Some(declared), _) => Ok(Type::of_attribute(*declared)),
            (None, "id" | "type") => Ok(Type::STRING),
            (None, _) => Err(Wrong::at(whole, format!("the resource has no attribute `{attribute}`"))),
        }
    }

    fn infer_set(&self, elements: &[Expr]) -> Result<Type, Wrong> {
        let types = elements.iter().map(|element| self.infer(element)).collect::<Result<Vec<_>, _>>()?;
        match types.split_first() {
            Some((Type::One(first), rest)) if rest.iter().all(|other| *other == Type::One(*first)) => {
                Ok(Type::SetOf(*first))
            }
            _ => Ok(Type::SET),
        }
    }
}

fn has_attributes(expression: &Expr, holder: Type) -> Result<(), Wrong> {
    if holder.meets(Type::Record) {
        return Ok(());
    }
    Err(Wrong::at(expression, format!("{} has no attributes", holder.name())))
}

fn of_literal(literal: &Literal) -> Type {
    match literal {
        Literal::Bool(_) => Type::BOOLEAN,
        Literal::Long(_) => Type::LONG,
        Literal::String(_) => Type::STRING,
        // Equal to nothing that is declared, but an error nowhere.
        Literal::EntityUID(_) => Type::ANY,
    }
}
