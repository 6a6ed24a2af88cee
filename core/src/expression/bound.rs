//! What an evaluation can cost at most, from the shapes of its variables.
//!
//! Sizes are counted in values: one for each value of a list or map, and one for every 16 bytes of
//! text. A step of the evaluation takes some hundred nanoseconds.

use cel::{
    IdedExpr,
    common::ast::{ComprehensionExpr, Expr, LiteralValue, operators},
};
use serde_json::Value as Json;

use super::{Variables, names::parts};

const BYTES_PER_VALUE: u64 = 16;
/// The longest text that a number becomes, and more.
const CALL_VALUES: u64 = 24;
/// What makes a number or a condition of whatever it is given.
const SCALARS: [&str; 13] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::NOT_STRICTLY_FALSE,
    operators::IN,
    operators::NEGATE,
    "size",
];

/// How large a value is at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// With all that is in it.
    pub values: u64,
    /// How many parts it has when it is gone through.
    len: u64,
    /// How large each part is at most; `None` if there is none.
    part: Option<Box<Shape>>,
}

/// Upper bounds of an evaluation and of what comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub steps: u64,
    pub shape: Shape,
}

type Scope<'e> = Vec<(&'e str, Shape)>;

impl Shape {
    const SCALAR: Self = Self { values: 1, len: 0, part: None };
    const NONE: Self = Self { values: 0, len: 0, part: None };

    fn text(bytes: usize) -> Self {
        Self { values: 1 + bytes as u64 / BYTES_PER_VALUE, len: 0, part: None }
    }

    fn of(json: &Json) -> Self {
        match json {
            Json::Null | Json::Bool(_) | Json::Number(_) => Self::SCALAR,
            Json::String(text) => Self::text(text.len()),
            Json::Array(items) => Self::whole(items.iter().map(Self::of)),
            Json::Object(fields) => {
                let field = |(name, value): (&String, &Json)| {
                    let value = Self::of(value);
                    Self { values: Self::text(name.len()).values + value.values, ..value }
                };
                Self::whole(fields.iter().map(field))
            }
        }
    }

    /// A list of such parts.
    fn whole(parts: impl Iterator<Item = Self>) -> Self {
        let mut whole = Self::SCALAR;
        for part in parts {
            whole.values = whole.values.saturating_add(part.values);
            whole.len += 1;
            whole.part = join(whole.part, Some(Box::new(part)));
        }
        whole
    }

    /// One of the two.
    fn or(self, other: Self) -> Self {
        Self {
            values: self.values.max(other.values),
            len: self.len.max(other.len),
            part: join(self.part, other.part),
        }
    }

    /// The two behind each other.
    fn and(self, other: Self) -> Self {
        Self {
            values: self.values.saturating_add(other.values),
            len: self.len.saturating_add(other.len),
            part: join(self.part, other.part),
        }
    }

    fn times(self, count: u64) -> Self {
        Self {
            values: self.values.saturating_mul(count),
            len: self.len.saturating_mul(count),
            part: self.part,
        }
    }

    fn part(self) -> Self {
        self.part.map_or(Self::SCALAR, |part| *part)
    }
}

fn join(one: Option<Box<Shape>>, other: Option<Box<Shape>>) -> Option<Box<Shape>> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Box::new(one.or(*other))),
        (one, other) => one.or(other),
    }
}

impl Bound {
    /// Of an expression with these variables.
    pub fn of(expression: &IdedExpr, variables: &Variables<'_>) -> Self {
        let mut scope: Scope<'_> =
            variables.iter().map(|(name, value)| (*name, Shape::of(value))).collect();
        bound(expression, &mut scope)
    }

    fn new(steps: u64, shape: Shape) -> Self {
        Self { steps: steps.saturating_add(1), shape }
    }
}

fn bound<'e>(expression: &'e IdedExpr, scope: &mut Scope<'e>) -> Bound {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => Bound::new(0, Shape::text(text.inner().len())),
        Expr::Literal(LiteralValue::Bytes(text)) => Bound::new(0, Shape::text(text.inner().len())),
        Expr::Literal(_) | Expr::Unspecified => Bound::new(0, Shape::SCALAR),
        Expr::Ident(name) => {
            let known = scope.iter().rev().find(|(known, _)| known == name);
            Bound::new(0, known.map_or(Shape::SCALAR, |(_, shape)| shape.clone()))
        }
        Expr::Select(select) => {
            let operand = bound(&select.operand, scope);
            Bound::new(operand.steps, operand.shape.part())
        }
        Expr::List(list) => whole(list.elements.iter(), scope),
        Expr::Map(map) => whole(map.entries.iter().flat_map(parts), scope),
        Expr::Struct(fields) => whole(fields.entries.iter().flat_map(parts), scope),
        Expr::Call(call) => {
            let target = call.target.iter().map(|target| &**target);
            let given: Vec<Bound> =
                target.chain(&call.args).map(|part| bound(part, scope)).collect();
            called(&call.func_name, given)
        }
        Expr::Comprehension(all) => comprehension(all, scope),
    }
}

fn whole<'e>(parts: impl Iterator<Item = &'e IdedExpr>, scope: &mut Scope<'e>) -> Bound {
    let parts: Vec<Bound> = parts.map(|part| bound(part, scope)).collect();
    // What goes in is copied.
    let steps = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(part.steps).saturating_add(part.shape.values));
    Bound::new(steps, Shape::whole(parts.into_iter().map(|part| part.shape)))
}

fn called(function: &str, given: Vec<Bound>) -> Bound {
    let steps = given.iter().fold(0_u64, |sum, part| sum.saturating_add(part.steps));
    let mut shapes = given.into_iter().map(|part| part.shape);
    match function {
        operators::CONDITIONAL => {
            let branches = shapes.skip(1).reduce(Shape::or);
            Bound::new(steps, branches.unwrap_or(Shape::SCALAR))
        }
        operators::INDEX => Bound::new(steps, shapes.next().unwrap_or(Shape::SCALAR).part()),
        // What it makes is as new as what it is made of.
        operators::ADD => {
            let sum = shapes.reduce(Shape::and).unwrap_or(Shape::SCALAR);
            Bound::new(steps.saturating_add(sum.values), sum)
        }
        // They look at all of what they are given.
        _ if SCALARS.contains(&function) => {
            let looks = shapes.fold(0_u64, |sum, shape| sum.saturating_add(shape.values));
            Bound::new(steps.saturating_add(looks), Shape::SCALAR)
        }
        _ => {
            let sum = Shape::whole(shapes);
            let values = sum.values.saturating_add(CALL_VALUES);
            Bound::new(steps.saturating_add(values), Shape { values, len: values, ..sum })
        }
    }
}

fn comprehension<'e>(all: &'e ComprehensionExpr, scope: &mut Scope<'e>) -> Bound {
    let range = bound(&all.iter_range, scope);
    let first = bound(&all.accu_init, scope);
    let outside = scope.len();
    let (count, part) = (range.shape.len, range.shape.part());
    // Each round has a copy of its part.
    let copy = part.values;
    scope.extend(all.iter_var2.as_deref().map(|name| (name, part.clone())));
    scope.push((&all.iter_var, part));
    // A round adds what its step makes without what there was before.
    scope.push((&all.accu_var, Shape::NONE));
    let round = bound(&all.loop_step, scope);
    let goes_on = bound(&all.loop_cond, scope);
    let made = first.shape.and(round.shape.times(count));
    scope.truncate(outside);
    scope.push((&all.accu_var, made));
    let result = bound(&all.result, scope);
    scope.truncate(outside);
    let round_steps = round.steps.saturating_add(goes_on.steps).saturating_add(copy);
    let rounds = round_steps.saturating_mul(count);
    let steps = [range.steps, first.steps, result.steps, rounds];
    Bound::new(steps.into_iter().fold(0, u64::saturating_add), result.shape)
}
