//! `schedule update`

use super::{file::ScheduleFile, origin::Origin, times::TimesArgs};
use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    output::Output,
    task::spec::{Pair, map_of},
    view::schedule::ScheduleView,
};
use asyncflow_proto::v1::{Schedule, ScheduleSpec, UpdateScheduleRequest, schedule_spec::Timing};
use prost_types::FieldMask;
use std::path::PathBuf;

/// Change a schedule: by flags what they say, or by a file all there is
///
/// What runs goes on. When its times change, it fires next at the first that is still to come.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
    /// The file that describes it from now on, in YAML or JSON; `-` is standard input
    #[arg(long, short = 'f', value_name = "FILE",
          conflicts_with_all = ["name", "labels", "cron", "time_zone", "with_seconds", "every",
              "at", "start", "end", "jitter", "overlap", "catch_up"])]
    file: Option<PathBuf>,
    /// What people call it
    #[arg(long, short = 'n')]
    name: Option<String>,
    /// A label, in place of all that it has; may be repeated
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = Pair::parse)]
    labels: Vec<Pair>,
    #[command(flatten)]
    times: TimesArgs,
}

/// All that a file says.
const ALL: [&str; 9] = [
    "name",
    "labels",
    "timing",
    "start_time",
    "end_time",
    "jitter",
    "overlap",
    "catch_up",
    "action",
];

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let origin = Origin::of(args.file.as_deref(), None)?;
    let answer = broker.client.schedule(&args.schedule).await;
    let stored = answer.map_err(|error| broker.explain(error))?.schedule.unwrap_or_default();
    let (spec, paths) = match &origin {
        Origin::File(source) => {
            let spec = ScheduleFile::of(source)?.spec().map_err(|error| source.blame(error))?;
            (spec, ALL.to_vec())
        }
        _ => from_flags(&args, &stored)?,
    };
    let request = UpdateScheduleRequest {
        schedule_id: args.schedule,
        schedule: Some(spec),
        update_mask: Some(FieldMask { paths: paths.into_iter().map(str::to_owned).collect() }),
        etag: stored.etag,
    };
    let updated = broker.client.update_schedule(request).await;
    let updated = updated.map_err(|error| origin.refused(broker, error))?;
    output.one(&ScheduleView::from(updated))?;
    Ok(exit::OK)
}

/// The values that were given, and which fields they are.
fn from_flags(
    args: &Args,
    stored: &Schedule,
) -> Result<(ScheduleSpec, Vec<&'static str>), CliError> {
    let mut spec = args.times.clone().spec();
    let before = stored.spec.as_ref().and_then(|spec| spec.timing.as_ref());
    // Another expression does not mean another place.
    if let (Some(Timing::Cron(cron)), Some(Timing::Cron(before))) = (&mut spec.timing, before)
        && cron.time_zone.is_empty()
    {
        cron.time_zone.clone_from(&before.time_zone);
    }
    let given = [
        ("name", args.name.is_some()),
        ("labels", !args.labels.is_empty()),
        ("timing", spec.timing.is_some()),
        ("start_time", spec.start_time.is_some()),
        ("end_time", spec.end_time.is_some()),
        ("jitter", spec.jitter.is_some()),
        ("overlap", spec.overlap != 0),
        ("catch_up", spec.catch_up.is_some()),
    ];
    let paths: Vec<_> =
        given.into_iter().filter(|(_, given)| *given).map(|(path, _)| path).collect();
    if paths.is_empty() {
        let what = "nothing to change was given; see `asyncflow schedule update --help`";
        return Err(CliError::Usage(what.to_owned()));
    }
    spec.name = args.name.clone().unwrap_or_default();
    spec.labels = map_of(&args.labels);
    Ok((spec, paths))
}
