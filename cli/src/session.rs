//! What every verb about tasks and workflows works with.

use crate::{connection::Broker, error::CliError, output::Output, resolve::Lookup};

/// One invocation: whom it asks, where it prints, how it finds ids.
pub struct Session {
    pub broker: Broker,
    pub output: Output,
    pub lookup: Lookup,
}

impl Session {
    /// The id of a task that was typed.
    pub async fn resolve(&self, typed: &str) -> Result<String, CliError> {
        self.lookup.task(&self.broker, typed).await
    }

    /// The same of a workflow.
    pub async fn workflow(&self, typed: &str) -> Result<String, CliError> {
        self.lookup.workflow(&self.broker, typed).await
    }
}
