//! What a schedule makes when it fires.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    create::NewTask,
    id::{IdError, TaskId, TypeName, WorkflowId},
    task::{Content, Labels},
    workflow::definition::{self, Flow},
};

/// What is made. Its user is that of the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Task(Box<NewTask>),
    Workflow(Box<FlowAction>),
}

/// A workflow that is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowAction {
    pub name: String,
    pub labels: Labels,
    pub input: Content,
    pub flow: Flow,
}

impl Action {
    /// Its tasks, on all levels.
    pub fn tasks(&self) -> Vec<&NewTask> {
        match self {
            Self::Task(task) => vec![task],
            Self::Workflow(workflow) => workflow.flow.tasks().collect(),
        }
    }

    /// Their types, and whether some of a type have commands.
    pub fn task_types(&self) -> BTreeMap<&TypeName, bool> {
        definition::task_types(self.tasks().into_iter())
    }

    /// How many nodes it has; 0 for a task.
    pub fn nodes(&self) -> usize {
        match self {
            Self::Task(_) => 0,
            Self::Workflow(workflow) => workflow.flow.nodes.len(),
        }
    }
}

/// What a schedule has made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Run {
    Task(TaskId),
    Workflow(WorkflowId),
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(id) => id.fmt(f),
            Self::Workflow(id) => id.fmt(f),
        }
    }
}

impl FromStr for Run {
    type Err = IdError;

    /// The ids of tasks have three parts, those of workflows two.
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.parse() {
            Ok(id) => Ok(Self::Workflow(id)),
            Err(_) => text.parse().map(Self::Task),
        }
    }
}
