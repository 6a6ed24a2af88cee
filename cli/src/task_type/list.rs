//! `type list`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::task_type::TaskTypeView,
};

/// List the task types by name
#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn execute(_: Args, broker: &Broker, output: &Output) -> Outcome {
    let types = broker.client.types().await.map_err(|error| broker.explain(error))?;
    let views: Vec<TaskTypeView> = types.into_iter().map(Into::into).collect();
    output.many(&views)?;
    Ok(exit::OK)
}
