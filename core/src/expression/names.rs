//! What an expression names that it does not bind itself, and what it calls.

use std::collections::BTreeSet;

use cel::{
    IdedExpr,
    common::ast::{EntryExpr, Expr, IdedEntryExpr, LiteralValue, operators},
};

/// The variable that holds what is waited for, by name.
const NODES: &str = "nodes";

/// What an expression needs.
#[derive(Default)]
pub(super) struct Needs {
    /// The variables that must be given to it.
    pub variables: BTreeSet<String>,
    /// The nodes that it looks for by a name that it writes out.
    pub nodes: BTreeSet<String>,
    /// What it calls; operators have names that no function can have.
    pub functions: BTreeSet<String>,
}

/// What it needs; `None` if it nests deeper than `depth_max`.
pub(super) fn needs(expression: &IdedExpr, depth_max: usize) -> Option<Needs> {
    let needs = Needs::default();
    let mut walk = Walk { bound: Vec::new(), needs };
    walk.see(expression, depth_max)?;
    Some(walk.needs)
}

struct Walk<'e> {
    bound: Vec<&'e str>,
    needs: Needs,
}

impl<'e> Walk<'e> {
    fn see(&mut self, expression: &'e IdedExpr, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Some(()),
            Expr::Ident(name) => {
                if !self.bound.contains(&name.as_str()) {
                    self.needs.variables.insert(name.clone());
                }
                Some(())
            }
            Expr::Select(select) => {
                if !select.test && self.is_nodes(&select.operand) {
                    self.needs.nodes.insert(select.field.clone());
                }
                self.see(&select.operand, depth)
            }
            Expr::List(list) => self.all(list.elements.iter(), depth),
            Expr::Map(map) => self.all(map.entries.iter().flat_map(parts), depth),
            Expr::Struct(fields) => self.all(fields.entries.iter().flat_map(parts), depth),
            Expr::Call(call) => {
                if call.func_name.starts_with(|first: char| first.is_ascii_alphabetic()) {
                    self.needs.functions.insert(call.func_name.clone());
                }
                if let (operators::INDEX, [of, key]) = (call.func_name.as_str(), &call.args[..])
                    && let Expr::Literal(LiteralValue::String(name)) = &key.expr
                    && self.is_nodes(of)
                {
                    self.needs.nodes.insert(name.inner().to_owned());
                }
                let target = call.target.iter().map(|target| &**target);
                self.all(target.chain(&call.args), depth)
            }
            Expr::Comprehension(of) => {
                self.all([&of.iter_range, &of.accu_init].into_iter(), depth)?;
                let outside = self.bound.len();
                self.bound.extend([of.iter_var.as_str(), of.accu_var.as_str()]);
                self.bound.extend(of.iter_var2.as_deref());
                self.all([&of.loop_cond, &of.loop_step, &of.result].into_iter(), depth)?;
                self.bound.truncate(outside);
                Some(())
            }
        }
    }

    fn is_nodes(&self, expression: &IdedExpr) -> bool {
        let is_nodes = |name: &str| name == NODES && !self.bound.contains(&name);
        matches!(&expression.expr, Expr::Ident(name) if is_nodes(name))
    }

    fn all(&mut self, parts: impl Iterator<Item = &'e IdedExpr>, depth: usize) -> Option<()> {
        let mut parts = parts;
        parts.try_for_each(|part| self.see(part, depth))
    }
}

/// The expressions of an entry of a map or struct.
pub(super) fn parts(entry: &IdedEntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (key, value) = match &entry.expr {
        EntryExpr::StructField(field) => (None, &field.value),
        EntryExpr::MapEntry(entry) => (Some(&entry.key), &entry.value),
    };
    key.into_iter().chain(std::iter::once(value))
}
