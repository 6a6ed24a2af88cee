//! Where a schedule is described: the words in which its errors are told.

use crate::{connection::Broker, error::CliError, refusal, source_file::SourceFile};
use asyncflow_sdk::Error as SdkError;
use std::path::Path;

/// Where the schedule is described.
pub enum Origin {
    /// By a file.
    File(SourceFile),
    /// By flags, but for what it makes.
    Workflow(SourceFile),
    /// By flags.
    Flags,
}

impl Origin {
    /// Reads the file, if there is one: of the schedule, or of the workflow that it makes.
    pub fn of(file: Option<&Path>, workflow: Option<&Path>) -> Result<Self, CliError> {
        Ok(match (file, workflow) {
            (Some(file), _) => Self::File(SourceFile::read(file)?),
            (None, Some(file)) => Self::Workflow(SourceFile::read(file)?),
            (None, None) => Self::Flags,
        })
    }

    /// The broker's refusal of it.
    pub fn refused(&self, broker: &Broker, error: SdkError) -> CliError {
        refusal::told(broker, error, "schedule", |path| match self {
            Self::File(source) => source.place(path),
            Self::Workflow(source) => match path.strip_prefix("workflow.") {
                Some(path) => source.place(path),
                None => refusal::flag(path),
            },
            Self::Flags => refusal::flag(path),
        })
    }
}
