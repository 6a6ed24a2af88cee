//! What the nodes of a workflow do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Node, Policy};
use crate::{
    create::NewTask,
    id::TypeName,
    task::{Content, Labels},
};

/// What a node does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// An expression that must hold when its turn has come; else it is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_if: Option<String>,
    #[serde(flatten)]
    pub kind: Kind,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One of them.
    One(Part),
    /// Each of them.
    Group(Vec<Part>),
    /// One for each item of a list.
    Map {
        /// An expression for the list.
        over: String,
        part: Box<Part>,
    },
}

/// What is run for one item of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// For people and for results; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// An expression for its input; without it, what came before decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    #[serde(flatten)]
    pub runs: Runs,
}

/// A task, or a workflow of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runs {
    /// User, request id and trace are those of the workflow.
    Task(Box<NewTask>),
    Flow(Flow),
}

/// A graph as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    pub nodes: Vec<Node<Work>>,
    #[serde(default)]
    pub policy: Policy,
    /// The node whose result is that of the whole; without it, the results of all nodes that nobody
    /// waits for, by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u32>,
}

/// A checked request for a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWorkflow {
    pub user: String,
    /// What people call it; may be empty.
    pub name: String,
    pub labels: Labels,
    pub input: Content,
    pub flow: Flow,
    /// Unique per user; `None` = the client does not mind duplicates.
    pub request_id: Option<String>,
    /// Of the call that creates it; 32 hexadecimal digits, or empty.
    pub trace_id: String,
}

impl Flow {
    /// Its tasks, on all levels.
    pub fn tasks(&self) -> impl Iterator<Item = &NewTask> {
        let mut tasks = Vec::new();
        self.parts(&mut |part| {
            if let Runs::Task(task) = &part.runs {
                tasks.push(&**task);
            }
        });
        tasks.into_iter()
    }

    /// Their types, and whether some of a type have commands.
    pub fn task_types(&self) -> BTreeMap<&TypeName, bool> {
        task_types(self.tasks())
    }

    /// Shows each part on all levels. It nests no deeper than what is checked.
    fn parts<'a>(&'a self, see: &mut dyn FnMut(&'a Part)) {
        for node in &self.nodes {
            let parts = match &node.work.kind {
                Kind::One(part) => std::slice::from_ref(part),
                Kind::Group(parts) => parts,
                Kind::Map { part, .. } => std::slice::from_ref(&**part),
            };
            for part in parts {
                see(part);
                if let Runs::Flow(flow) = &part.runs {
                    flow.parts(see);
                }
            }
        }
    }

    /// Its graph.
    ///
    /// # Errors
    /// [`super::graph::Cycle`]; never for one that was checked.
    pub fn into_graph(self) -> Result<Graph<Work>, super::graph::Cycle> {
        Graph::new(self.nodes, self.policy)
    }
}

/// The types of these, and whether some of a type have commands.
pub(crate) fn task_types<'a>(
    tasks: impl Iterator<Item = &'a NewTask>,
) -> BTreeMap<&'a TypeName, bool> {
    let mut types = BTreeMap::new();
    for task in tasks {
        *types.entry(&task.task_type).or_default() |= task.payload.is_command();
    }
    types
}
