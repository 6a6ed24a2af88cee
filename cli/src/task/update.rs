//! `task update`

use super::spec::Pair;
use crate::{
    error::{CliError, Outcome, exit},
    session::Session,
    time,
    view::task::TaskView,
};
use asyncflow_proto::v1::{OptionalRetryPolicy, TaskSpec, UpdateTaskRequest};
use prost_types::{Duration, FieldMask, Timestamp};

/// Change a task that has not ended
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
    /// What people call it
    #[arg(long, short = 'n')]
    name: Option<String>,
    /// Seniority in seconds, −1000 to 1000
    #[arg(long, short = 'p', allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Set a label, keep the others; may be repeated
    #[arg(long = "label", short = 'l', value_name = "KEY=VALUE", value_parser = Pair::parse)]
    labels: Vec<Pair>,
    /// Take a label away; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_label: Vec<String>,
    /// Do not start before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time::parse_time)]
    not_before: Option<Timestamp>,
    /// Do not start before this span is over
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span,
          conflicts_with = "not_before")]
    delay: Option<Duration>,
    /// Retries after the first failure, 0 to 1000
    #[arg(long, value_name = "N")]
    max_retries: Option<i32>,
    /// Wait before the first retry
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    retry_interval: Option<Duration>,
    /// The wait never grows beyond this
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    max_retry_interval: Option<Duration>,
    /// Stop an attempt that runs longer than this
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    max_time: Option<Duration>,
    /// Refuse unless the task still has this etag
    #[arg(long)]
    etag: Option<String>,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let (spec, paths) = changes(&args);
    let mut request = UpdateTaskRequest {
        task_id: session.resolve(&args.task).await?,
        task: Some(spec),
        update_mask: Some(FieldMask { paths }),
        etag: args.etag.clone().unwrap_or_default(),
    };
    if !args.labels.is_empty() || !args.remove_label.is_empty() {
        merge_labels(&args, session, &mut request).await?;
    }
    let nothing = request.update_mask.as_ref().is_none_or(|mask| mask.paths.is_empty());
    if nothing {
        return Err(CliError::Usage(
            "nothing to change was given; see `asyncflow task update --help`".to_owned(),
        ));
    }
    let task = session.broker.client.update(request).await;
    let task = task.map_err(|error| session.broker.explain(error))?;
    session.output.one(&TaskView::from(task))?;
    Ok(exit::OK)
}

fn changes(args: &Args) -> (TaskSpec, Vec<String>) {
    let not_before = args.not_before.or_else(|| args.delay.as_ref().map(time::from_now));
    let paths = [
        ("name", args.name.is_some()),
        ("priority", args.priority.is_some()),
        ("not_before", not_before.is_some()),
        ("retry.max_retries", args.max_retries.is_some()),
        ("retry.interval", args.retry_interval.is_some()),
        ("retry.max_interval", args.max_retry_interval.is_some()),
        ("max_running_time", args.max_time.is_some()),
    ];
    let spec = TaskSpec {
        name: args.name.clone().unwrap_or_default(),
        priority: args.priority,
        retry: Some(OptionalRetryPolicy {
            max_retries: args.max_retries,
            interval: args.retry_interval,
            max_interval: args.max_retry_interval,
        }),
        max_running_time: args.max_time,
        not_before,
        ..TaskSpec::default()
    };
    let given = paths.into_iter().filter(|(_, given)| *given);
    (spec, given.map(|(path, _)| path.to_owned()).collect())
}

/// The protocol sets all labels at once, so the others are read first; the etag sees to it that
/// nobody's change in between is lost.
async fn merge_labels(
    args: &Args,
    session: &Session,
    request: &mut UpdateTaskRequest,
) -> Result<(), CliError> {
    let task = session.broker.client.get(&request.task_id).await;
    let mut task = task.map_err(|error| session.broker.explain(error))?;
    for key in &args.remove_label {
        task.labels.remove(key);
    }
    let set = args.labels.iter().map(|label| (label.key.clone(), label.value.clone()));
    task.labels.extend(set);
    if request.etag.is_empty() {
        request.etag = task.etag;
    }
    if let (Some(spec), Some(mask)) = (&mut request.task, &mut request.update_mask) {
        spec.labels = task.labels;
        mask.paths.push("labels".to_owned());
    }
    Ok(())
}
