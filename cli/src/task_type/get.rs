//! `type get`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::task_type::TaskTypeView,
};

/// Show a task type
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name
    name: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let task_type = broker.client.get_type(&args.name).await;
    let task_type = task_type.map_err(|error| broker.explain(error))?;
    output.one(&TaskTypeView::from(task_type))?;
    Ok(exit::OK)
}
