//! What every verb about tasks works with.

use crate::{connection::Broker, error::CliError, output::Output, resolve::Lookup};

/// One invocation: whom it asks, where it prints, how it finds tasks.
pub struct Session {
    pub broker: Broker,
    pub output: Output,
    pub lookup: Lookup,
}

impl Session {
    /// The id of what was typed.
    pub async fn resolve(&self, typed: &str) -> Result<String, CliError> {
        self.lookup.resolve(&self.broker, typed).await
    }
}
