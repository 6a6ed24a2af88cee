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

    /// The broker for who waits for this task. That it is there at all, and knows the task, is
    /// found out first, without patience.
    pub async fn patient_about_task(&self, id: &str) -> Result<Broker, CliError> {
        self.broker.client.get(id).await.map_err(|error| self.broker.explain(error))?;
        Ok(self.broker.patient(crate::remark))
    }

    /// The same about a workflow.
    pub async fn patient_about_workflow(&self, id: &str) -> Result<Broker, CliError> {
        self.broker.client.workflow(id).await.map_err(|error| self.broker.explain(error))?;
        Ok(self.broker.patient(crate::remark))
    }
}
