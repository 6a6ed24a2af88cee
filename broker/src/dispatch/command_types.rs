//! The types that have had commands, as far as this broker has seen.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use asyncflow_core::{id::TypeName, task_type::TaskType};

/// Types never leave it: a type keeps what it had. Brokers see those of others when they list the
/// types, which they do while somebody waits for commands.
#[derive(Debug, Default)]
pub struct CommandTypes(RwLock<HashSet<TypeName>>);

impl CommandTypes {
    /// Remembers a type that was read, if it has commands.
    pub fn see(&self, task_type: &TaskType) {
        if task_type.has_commands && !self.contain(&task_type.name) {
            let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
            names.insert(task_type.name.clone());
        }
    }

    pub fn contain(&self, name: &TypeName) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}
