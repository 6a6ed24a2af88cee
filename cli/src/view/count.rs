//! How many tasks there are.

use super::task::state_name;
use crate::output::{Look, View};
use asyncflow_proto::v1::TaskCount;
use serde::Serialize;

/// See the protocol's `TaskCount`.
#[derive(Debug, Serialize)]
pub struct CountView {
    task_type: String,
    user: String,
    state: String,
    count: i64,
}

impl From<TaskCount> for CountView {
    fn from(count: TaskCount) -> Self {
        Self {
            task_type: count.task_type,
            user: count.user,
            state: state_name(count.state),
            count: count.count,
        }
    }
}

impl View for CountView {
    const COLUMNS: &'static [&'static str] = &["TYPE", "USER", "STATE", "COUNT"];

    fn id(&self) -> String {
        self.count.to_string()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.task_type.clone(),
            self.user.clone(),
            look.palette.state(&self.state),
            self.count.to_string(),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        ["type", "user", "state", "count"].into_iter().zip(self.row(look)).collect()
    }
}
