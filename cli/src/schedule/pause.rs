//! `schedule pause`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::schedule::ScheduleView,
};

/// Pause a schedule: it fires nothing until it is resumed
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let schedule = broker.client.pause_schedule(&args.schedule).await;
    let schedule = schedule.map_err(|error| broker.explain(error))?;
    output.one(&ScheduleView::from(schedule))?;
    Ok(exit::OK)
}
