//! `schedule next`

use super::times::TimesArgs;
use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    time,
    view::schedule::FireTimeView,
};
use asyncflow_proto::v1::ListFireTimesRequest;
use prost_types::Timestamp;

/// Tell the next fire times of a schedule, or of one that might be
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id; without one, give times such as --cron
    schedule: Option<String>,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(i32).range(1..))]
    count: i32,
    /// After this time (RFC 3339); default: now
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    after: Option<Timestamp>,
    #[command(flatten)]
    times: TimesArgs,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let spec = args.times.spec();
    if args.schedule.is_some() == spec.timing.is_some() {
        let what = "give a schedule, or one of --cron, --every and --at";
        return Err(CliError::Usage(what.to_owned()));
    }
    let timing = match &args.schedule {
        None => spec.timing.clone(),
        Some(id) => {
            let answer = broker.client.schedule(id).await.map_err(|error| broker.explain(error))?;
            answer.schedule.and_then(|schedule| schedule.spec?.timing)
        }
    };
    let request = ListFireTimesRequest {
        schedule: args.schedule.is_none().then_some(spec),
        schedule_id: args.schedule.unwrap_or_default(),
        after: args.after,
        count: args.count,
    };
    let times = broker.client.fire_times(request).await;
    let times = times.map_err(|error| broker.explain(error))?;
    let views = times.into_iter().map(|time| FireTimeView::new(time, timing.as_ref()));
    output.many(&views.collect::<Vec<_>>())?;
    Ok(exit::OK)
}
