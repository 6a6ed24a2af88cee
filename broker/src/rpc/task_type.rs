//! Verbs on task types.

pub mod create_task_type;
pub mod get_task_type;
pub mod list_task_types;
pub mod update_task_type;
