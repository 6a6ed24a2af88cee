//! `type create`

use super::{settings::Settings, tell_speculation};
use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::task_type::TaskTypeView,
};

/// Register a task type; what is left out gets its default
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name: a lower-case letter, then up to 39 lower-case letters, digits or _
    name: String,
    #[command(flatten)]
    settings: Settings,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let told = args.settings.has_part_of_speculation()?;
    let (task_type, _) = args.settings.into_type(args.name);
    let created = broker.client.create_type(task_type).await;
    let created = created.map_err(|error| broker.explain(error))?;
    let view = TaskTypeView::from(created);
    tell_speculation(&view, told);
    output.one(&view)?;
    Ok(exit::OK)
}
