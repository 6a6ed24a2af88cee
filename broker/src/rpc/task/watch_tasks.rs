//! WatchTasks: first the tasks as they are, then every change, resumable.
//!
//! The watch listens before it reads, so nothing falls between the two. A change only says which
//! task it was; what is sent is the task as it is when it is sent, so states may be passed over but
//! the last one never is.

use asyncflow_core::{
    filter::{self, Filter},
    id::TaskId,
    limits::WATCH_TASKS_MAX,
    resume_token,
    validate::{at::At, number, text},
    violation::{Violations, shown},
};
use asyncflow_proto::v1;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    broker::Broker,
    error::RpcError,
    rpc::BoxStream,
    watch::{self, Subject, Watch},
};

/// Answers that a slow reader may leave lying before its changes pile up in the feed.
const BUFFER: usize = 64;

pub async fn watch_tasks(
    broker: &Broker,
    request: v1::WatchTasksRequest,
) -> Result<BoxStream<v1::WatchTasksResponse>, RpcError> {
    let until_done = request.until_done;
    let (subject, resume) = check(request)?;
    let feed = broker.feed.subscribe().await?;
    if let Some(seq) = resume {
        watch::check_token(&broker.store, seq).await?;
    }
    let (sender, receiver) = mpsc::channel(BUFFER);
    let watch = Watch {
        store: broker.store.clone(),
        subject,
        feed,
        until_done,
        sender,
        draining: broker.draining.clone(),
    };
    broker.spawn(watch.run(resume));
    Ok(ReceiverStream::new(receiver).boxed())
}

fn check(request: v1::WatchTasksRequest) -> Result<(Subject, Option<i64>), RpcError> {
    let mut violations = Violations::new();
    let ids = At::REQUEST.field("task_ids");
    number::item_count(request.task_ids.len(), 0..=WATCH_TASKS_MAX, ids, &mut violations);
    let each = request.task_ids.iter().enumerate().take(WATCH_TASKS_MAX);
    let named: Vec<TaskId> = each
        .filter_map(|(index, id)| text::task_id(id, ids.item(index), &mut violations))
        .collect();
    let filter = filter::parse(&request.filter).unwrap_or_else(|violation| {
        violations.add(violation.field, violation.description);
        Filter::default()
    });
    if filter.created_from_ms.is_some() || filter.created_before_ms.is_some() {
        violations.add("filter", "create_time cannot be watched");
    }
    if !request.task_ids.is_empty() && !request.filter.is_empty() {
        violations.add("filter", "must be empty when `task_ids` are given");
    }
    if request.until_done && request.task_ids.is_empty() {
        violations.add("until_done", "needs `task_ids`");
    }
    let resume = resume_token::decode(&request.resume_token);
    if resume.is_none() && !request.resume_token.is_empty() {
        let what = format!(
            "{} is not a resume token; give back one that you were given",
            shown(&request.resume_token)
        );
        violations.add("resume_token", what);
    }
    violations.none()?;
    let subject = match request.task_ids.is_empty() {
        true => Subject::Matching(Box::new(filter)),
        false => Subject::Named(named.into_iter().collect()),
    };
    Ok((subject, resume))
}
