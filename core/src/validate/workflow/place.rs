//! What a node may say about its place among the others.

use std::collections::BTreeSet;

use super::{Check, NodeInput};
use crate::{
    limits::NODE_NAME_BYTES_MAX,
    validate::{at::At, text},
    violation::shown,
    workflow::graph::When,
};

impl Check<'_> {
    /// Each node of a flow has a name of its own, and waits for names that are there; only one
    /// that waits may say how.
    pub(super) fn neighbours(&mut self, nodes: &[NodeInput], list: At<'_>) {
        let mut names = BTreeSet::new();
        for (index, node) in nodes.iter().enumerate() {
            let at = list.item(index);
            self.name(&node.name, at.field("name"));
            if !names.insert(node.name.as_str()) {
                let what = format!("{} is the name of another node too", shown(&node.name));
                self.violations.add(at.field("name"), what);
            }
        }
        for (index, node) in nodes.iter().enumerate() {
            let at = list.item(index);
            if node.depends_on.is_empty() && node.when != When::default() {
                let (when, name) = (node.when.text(), shown(&node.name));
                let what = format!("{when} needs depends_on: the node {name} depends on no other");
                self.violations.add(at.field("when"), what);
            }
            let at = at.field("depends_on");
            for (index, name) in node.depends_on.iter().enumerate() {
                if !names.contains(name.as_str()) {
                    let what = format!("there is no node {} beside it", shown(name));
                    self.violations.add(at.item(index), what);
                }
            }
        }
    }

    pub(super) fn name(&mut self, name: &str, at: At<'_>) {
        text::token(name, NODE_NAME_BYTES_MAX, at, self.violations);
    }

    /// A step, member, callback or reduce has its place, and cannot choose another.
    pub(super) fn stands_alone(&mut self, node: &NodeInput, at: At<'_>) {
        if !node.depends_on.is_empty() {
            let what = "must be empty: its place says what it waits for";
            self.violations.add(at.field("depends_on"), what);
        }
    }

    /// A step starts after the one before it, a member with the others.
    pub(super) fn starts_by_its_place(&mut self, node: &NodeInput, at: At<'_>) {
        if node.when != When::default() {
            let what = format!("{} must not be given: its place says it", node.when.text());
            self.violations.add(at.field("when"), what);
        }
    }
}
