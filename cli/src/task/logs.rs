//! `task logs`

use crate::{
    error::{Outcome, exit},
    follow::write_log,
    session::Session,
    view::log::LogView,
};
use asyncflow_proto::v1::StreamTaskLogsRequest;
use futures::TryStreamExt;
use std::pin::pin;

/// Print what a task wrote: its stdout to stdout, its stderr and asyncflow's remarks to stderr
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Id, unique prefix of one, or `last`
    task: String,
    /// Go on as the task writes, until it has ended
    #[arg(long, short = 'f')]
    follow: bool,
    /// Begin with at most this many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<i32>,
    /// Of this attempt; default: the last one
    #[arg(long, value_name = "N", default_value_t = 0)]
    attempt: i32,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    let task_id = session.resolve(&args.task).await?;
    let broker = session.patient_about_task(&task_id).await?;
    let request = StreamTaskLogsRequest {
        task_id,
        attempt: args.attempt,
        follow: args.follow,
        tail_lines: args.tail,
    };
    let mut chunks = pin!(broker.client.logs(request));
    loop {
        let chunk = chunks.try_next().await.map_err(|error| broker.explain(error))?;
        let Some(chunk) = chunk else { return Ok(exit::OK) };
        if session.output.is_table() {
            write_log(&chunk)?;
        } else {
            session.output.next(&LogView::from(chunk), String::new)?;
        }
    }
}
