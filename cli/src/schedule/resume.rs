//! `schedule resume`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    view::schedule::ScheduleView,
};

/// Resume a schedule: it fires at the first of its times that is still to come
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let schedule = broker.client.resume_schedule(&args.schedule).await;
    let schedule = schedule.map_err(|error| broker.explain(error))?;
    output.one(&ScheduleView::from(schedule))?;
    Ok(exit::OK)
}
