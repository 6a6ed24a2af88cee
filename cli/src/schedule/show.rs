//! `schedule show`

use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::{Output, View},
    view::schedule::{FireView, ScheduleView, ScheduleWithFires},
};

/// Show a schedule and what became of its last fire times
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let answer = broker.client.schedule(&args.schedule).await;
    let answer = answer.map_err(|error| broker.explain(error))?;
    let none = || CliError::Failed("the broker's answer holds no schedule".to_owned());
    let schedule = ScheduleView::from(answer.schedule.ok_or_else(none)?);
    let fires: Vec<FireView> = answer.fires.into_iter().map(FireView::from).collect();
    let shown = ScheduleWithFires::new(schedule, fires);
    output.one(&shown)?;
    if output.is_table() && !shown.fires().is_empty() {
        output.line("")?;
        let look = output.look();
        let rows = shown.fires().iter().map(|fire| fire.row(look)).collect();
        output.print_table(FireView::COLUMNS, rows)?;
    }
    Ok(exit::OK)
}
