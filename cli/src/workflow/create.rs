//! `workflow create`

use super::file::WorkflowFile;
use crate::{
    error::{CliError, Outcome, exit},
    session::Session,
    source_file::SourceFile,
    view::workflow::WorkflowView,
};
use asyncflow_proto::v1::CreateWorkflowRequest;
use std::path::PathBuf;

/// Create a workflow from a file
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file that describes it, in YAML or JSON; `-` is standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    file: PathBuf,
    /// What its first nodes get, instead of the input in the file: JSON, or else a text
    #[arg(long, value_name = "TEXT")]
    input: Option<String>,
    /// Only check it
    #[arg(long)]
    validate_only: bool,
    /// The same id gives the same workflow, so a script may repeat itself safely
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let source = SourceFile::read(&args.file)?;
    let mut file = WorkflowFile::of(&source)?;
    if let Some(input) = &args.input {
        file.give(input);
    }
    let request = CreateWorkflowRequest {
        workflow: Some(file.spec().map_err(|error| source.blame(error))?),
        request_id: args.request_id.unwrap_or_default(),
        validate_only: args.validate_only,
    };
    let created = session.broker.client.create_workflow_with(request).await;
    let created = created.map_err(|error| source.refused(&session.broker, error, "workflow"))?;
    if args.validate_only {
        crate::remark("it is a workflow that can be created");
        return Ok(exit::OK);
    }
    if created.deduplicated {
        crate::remark("this request id had already created the workflow");
    }
    let none = || CliError::Failed("the broker's answer holds no workflow".to_owned());
    session.output.one(&WorkflowView::from(created.workflow.ok_or_else(none)?))?;
    Ok(exit::OK)
}
