//! `schedule backfill`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    output::Output,
    time,
    view::schedule::FireView,
};
use prost_types::Timestamp;

/// Make what a schedule would have made in an interval of the past, exactly once
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
    /// The first fire time that counts (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    start: Timestamp,
    /// Fire times before this count (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    end: Timestamp,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let answer = broker.client.backfill_schedule(&args.schedule, args.start, args.end).await;
    let answer = answer.map_err(|error| broker.explain(error))?;
    if answer.already_fired_count > 0 {
        crate::remark(&format!("{} fire times had fired already", answer.already_fired_count));
    }
    if answer.fires.is_empty() {
        crate::remark("0 fire times to make up for: none lies in this interval and has not fired");
    }
    let fires: Vec<FireView> = answer.fires.into_iter().map(FireView::from).collect();
    output.many(&fires)?;
    Ok(if fires.iter().any(FireView::is_failed) { exit::ERROR } else { exit::OK })
}
