//! `schedule run`

use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    view::schedule::FireView,
};

/// Make at once what a schedule makes; its fire times stay as they are
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let answer = broker.client.run_schedule(&args.schedule).await;
    let answer = answer.map_err(|error| broker.explain(error))?;
    let none = || CliError::Failed("the broker's answer holds no run".to_owned());
    let fire = FireView::from(answer.fire.ok_or_else(none)?);
    output.one(&fire)?;
    Ok(if fire.is_failed() { exit::ERROR } else { exit::OK })
}
