//! Reads workflows.

use std::collections::{BTreeMap, HashMap};

use asyncflow_core::{
    id::{TaskId, WorkflowId},
    task::{Member, Task},
    workflow::{graph::When, progress::NodeProgress},
};

use super::{
    items::{self, Is},
    known::flow_of,
    row::{self, Workflow},
};
use crate::{Store, error::StoreError, task::Parts};

/// A workflow with its nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowView {
    pub workflow: Workflow,
    pub nodes: Vec<WorkflowNode>,
}

/// A node of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowNode {
    pub name: String,
    pub needs: Vec<u32>,
    pub when: When,
    pub progress: NodeProgress,
    /// Why it was not run, for people.
    pub message: Option<String>,
}

/// An item of a node that was started.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowItem {
    pub member: Member,
    pub is: ItemIs,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemIs {
    /// A task; without its row where it was removed.
    Task(TaskId, Option<Box<Task>>),
    Workflow(WorkflowId),
}

impl Store {
    /// The workflow with this id.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn find_workflow(&self, id: WorkflowId) -> Result<Option<Workflow>, StoreError> {
        row::find(self, self.reader(), id).await
    }

    /// A workflow and its nodes, as they were at one moment each.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn get_workflow(&self, id: WorkflowId) -> Result<Option<WorkflowView>, StoreError> {
        let Some(workflow) = self.find_workflow(id).await? else { return Ok(None) };
        let flow = flow_of(self, self.reader(), id).await?;
        let mut stored: BTreeMap<u32, _> = BTreeMap::new();
        for (at, progress, message) in row::nodes(self, self.reader(), id, None).await? {
            stored.insert(at, (progress, message));
        }
        let node = |(at, node): (u32, &asyncflow_core::workflow::graph::Node<_>)| {
            let (progress, message) = stored.remove(&at).unwrap_or_default();
            let (name, needs) = (node.name.clone(), node.needs.clone());
            WorkflowNode { name, needs, when: node.when, progress, message }
        };
        Ok(Some(WorkflowView { workflow, nodes: flow.graph.nodes().map(node).collect() }))
    }

    /// The names of a workflow's nodes, in their order; `None` if there is no such workflow.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn workflow_node_names(
        &self,
        id: WorkflowId,
    ) -> Result<Option<Vec<String>>, StoreError> {
        if self.find_workflow(id).await?.is_none() {
            return Ok(None);
        }
        let flow = flow_of(self, self.reader(), id).await?;
        Ok(Some(flow.graph.nodes().map(|(_, node)| node.name.clone()).collect()))
    }

    /// At most `limit` workflows that are no items of others, newest first, from the one before
    /// `before`; of one user, or of all.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_workflows(
        &self,
        user: Option<&str>,
        before: Option<WorkflowId>,
        limit: u32,
    ) -> Result<Vec<Workflow>, StoreError> {
        row::list(self, user, before, limit).await
    }

    /// Items of a workflow in the order of nodes and items, of one node or of all, at most `limit`,
    /// from the place behind `after`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list_workflow_items(
        &self,
        id: WorkflowId,
        node: Option<u32>,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Vec<WorkflowItem>, StoreError> {
        let items = items::list(self, self.reader(), id, node, after, limit).await?;
        let ids = items.iter().filter_map(|(_, is)| match is {
            Is::Task(id) => Some(id.clone()),
            Is::Workflow(_) => None,
        });
        let mut tasks: HashMap<TaskId, Task> = HashMap::new();
        let ids: Vec<TaskId> = ids.collect();
        for full in self.get_many(&ids, Parts::NONE).await?.into_iter().flatten() {
            tasks.insert(full.task.id.clone(), full.task);
        }
        let item = |(member, is)| {
            let is = match is {
                Is::Task(id) => {
                    let task = tasks.remove(&id).map(Box::new);
                    ItemIs::Task(id, task)
                }
                Is::Workflow(id) => ItemIs::Workflow(id),
            };
            WorkflowItem { member, is }
        };
        Ok(items.into_iter().map(item).collect())
    }
}
