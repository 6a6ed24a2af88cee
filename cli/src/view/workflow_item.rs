//! A task of a workflow, or a workflow within it.

use super::{enum_name, workflow::WorkflowView};
use crate::output::{Look, View};
use asyncflow_proto::v1::{TaskState, Workflow, WorkflowItem, workflow_item::Item};
use serde::Serialize;

/// See the protocol's `WorkflowItem`.
#[derive(Debug, Serialize)]
pub struct WorkflowItemView {
    node: String,
    index: i32,
    task_id: Option<String>,
    workflow_id: Option<String>,
    /// While it is kept.
    state: Option<String>,
    name: Option<String>,
    message: Option<String>,
}

impl WorkflowItemView {
    /// An item; of a workflow, with what is known of it.
    pub fn of(item: WorkflowItem, within: Option<Workflow>) -> Self {
        let mut view = Self {
            node: item.node,
            index: item.index,
            task_id: None,
            workflow_id: None,
            state: None,
            name: None,
            message: None,
        };
        match item.item {
            Some(Item::Task(task)) => {
                let state = TaskState::try_from(task.state);
                let is_kept = state != Ok(TaskState::Unspecified);
                let state = state.map(|state| state.as_str_name()).map_err(|_| task.state);
                view.state = is_kept.then(|| enum_name(state, "TASK_STATE_"));
                view.task_id = Some(task.id);
                view.name = Some(task.name);
                view.message = task.failure.map(|failure| failure.message);
            }
            Some(Item::WorkflowId(id)) => {
                view.workflow_id = Some(id);
                if let Some(within) = within.map(WorkflowView::from) {
                    view.state = Some(within.state().to_owned());
                    view.name = Some(within.name().to_owned());
                    view.message = Some(within.message().to_owned());
                }
            }
            None => {}
        }
        view
    }
}

impl View for WorkflowItemView {
    const COLUMNS: &'static [&'static str] = &["NODE", "INDEX", "ID", "STATE", "NAME", "FAILURE"];

    fn id(&self) -> String {
        self.task_id.clone().or_else(|| self.workflow_id.clone()).unwrap_or_default()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.node.clone(),
            self.index.to_string(),
            self.id(),
            self.state.as_ref().map(|state| look.palette.state(state)).unwrap_or_default(),
            self.name.clone().unwrap_or_default(),
            self.message.clone().unwrap_or_default(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["node", "index", "id", "state", "name", "failure"];
        names.into_iter().zip(self.row(look)).collect()
    }
}
