//! `governor run-duty`

use super::AskArgs;
use crate::{
    error::{CliError, Outcome, exit},
    view::governor::DutyView,
};
use asyncflow_proto::v1::RunDutyRequest;

/// Run a duty now; `governor status` lists them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name, e.g. `reap`
    duty: String,
    #[command(flatten)]
    ask: AskArgs,
}

pub async fn execute(args: Args) -> Outcome {
    let mut governor = args.ask.address.open()?;
    let answer = governor.run_duty(RunDutyRequest { duty: args.duty }).await;
    let answer = answer.map_err(|error| args.ask.address.explain(error))?.into_inner();
    let duty = answer
        .duty
        .ok_or_else(|| CliError::Failed("the governor's answer holds no duty".to_owned()))?;
    args.ask.output.open().one(&DutyView::from(duty))?;
    Ok(exit::OK)
}
