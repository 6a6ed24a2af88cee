//! `type set`

use super::{settings::Settings, tell_speculation};
use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    view::task_type::TaskTypeView,
};
use asyncflow_proto::v1::UpdateTaskTypeRequest;
use prost_types::FieldMask;

/// Change a task type; brokers follow within seconds
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name
    name: String,
    #[command(flatten)]
    settings: Settings,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let told = args.settings.has_part_of_speculation()?;
    let (task_type, paths) = args.settings.into_type(args.name);
    if paths.is_empty() {
        return Err(CliError::Usage(
            "nothing to change was given; see `asyncflow type set --help`".to_owned(),
        ));
    }
    let request = UpdateTaskTypeRequest {
        task_type: Some(task_type),
        update_mask: Some(FieldMask { paths }),
    };
    let updated = broker.client.update_type(request).await;
    let updated = updated.map_err(|error| broker.explain(error))?;
    let view = TaskTypeView::from(updated);
    tell_speculation(&view, told);
    output.one(&view)?;
    Ok(exit::OK)
}
