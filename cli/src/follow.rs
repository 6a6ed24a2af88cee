//! Following a task until it has ended: its log as it is written, its progress below.
//!
//! ```text
//!  WatchTasks ───▶ bar on stderr (only on a terminal)
//!  StreamTaskLogs ▶ stdout → stdout, stderr and SYSTEM → stderr
//!  Ctrl-C ───────▶ 1st: cancel the task and go on until it has stopped; 2nd: leave it alone
//! ```

use crate::{
    clock,
    connection::Broker,
    ending,
    error::{CliError, Outcome, exit},
    style::Palette,
    time,
    view::task::state_name,
    waiting,
};
use asyncflow_proto::v1::{
    LogStream, StreamTaskLogsRequest, StreamTaskLogsResponse, Task, TaskState, WatchTasksRequest,
};
use asyncflow_sdk::{Error, is_terminal};
use futures::{Stream, TryStreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{self, Write},
    pin::{Pin, pin},
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long the rest of the log is waited for when the task has ended.
const LOG_GRACE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(200);

type Chunks<'a> = Pin<&'a mut dyn Stream<Item = Result<StreamTaskLogsResponse, Error>>>;

/// Follows a task to its end; the exit code is the task's (see [`ending::exit_code`]).
///
/// The first Ctrl-C cancels the task, the second leaves with 130, whatever is waited for then. A
/// broker that is away is waited for; one that stays away ends this, and not the task.
pub async fn follow(broker: &Broker, task: Task) -> Outcome {
    let (id, bar) = (task.id.clone(), Bar::new());
    let outcome = tokio::select! {
        outcome = to_its_end(broker, task, &bar) => outcome,
        left = second_interrupt() => {
            left?;
            bar.clear();
            let text = format!("left; the task may not have stopped yet: asyncflow task get {id}");
            crate::remark(&text);
            return Ok(exit::CANCELLED);
        }
    };
    if matches!(outcome, Err(CliError::Call { .. })) {
        bar.say(&format!("the task goes on without this: asyncflow task logs {id} --follow"));
    }
    outcome
}

async fn to_its_end(broker: &Broker, task: Task, bar: &Bar) -> Outcome {
    bar.show(&task);
    // Both find out; one of them says so.
    let (quiet, broker) = (broker.patient(|_| ()), &broker.patient(bar.teller()));
    let chunks = quiet.client.logs(StreamTaskLogsRequest {
        task_id: task.id.clone(),
        follow: true,
        ..StreamTaskLogsRequest::default()
    });
    let mut chunks = pin!(chunks);
    let task = until_ended(broker, task, bar, chunks.as_mut()).await?;
    bar.clear();
    conclude(&task);
    ending::exit_code(broker, &task).await
}

/// Gives the task as it ended.
async fn until_ended(
    broker: &Broker,
    mut task: Task,
    bar: &Bar,
    mut chunks: Chunks<'_>,
) -> Result<Task, CliError> {
    let id = task.id.clone();
    let mut states = pin!(broker.client.watch(WatchTasksRequest {
        task_ids: vec![id.clone()],
        until_done: true,
        ..WatchTasksRequest::default()
    }));
    let mut interrupts = interrupts()?;
    let mut is_cancelling = false;
    let mut told_attempt = 0;
    let mut log_open = true;
    let mut patience = pin!(tokio::time::sleep(waiting::PATIENCE));
    let mut patient = true;
    loop {
        tokio::select! {
            chunk = chunks.try_next(), if log_open => log_open = take(bar, chunk)?,
            change = states.try_next() => {
                let change = change.map_err(|error| broker.explain(error))?;
                let Some(change) = change else { break };
                let Some(changed) = change.task else {
                    return Err(CliError::NotFound(format!("{id} was deleted")));
                };
                task = changed;
                bar.show(&task);
                if is_terminal(task.state()) {
                    break;
                }
                if task.attempt > told_attempt && let Some(text) = retry_text(&task) {
                    told_attempt = task.attempt;
                    bar.say(&text);
                }
            }
            () = &mut patience, if patient => {
                patient = false;
                waiting::why(broker, &task).await.iter().for_each(|text| bar.say(text));
            }
            _ = interrupts.recv(), if !is_cancelling => {
                is_cancelling = true;
                bar.say("cancelling the task; Ctrl-C once more leaves it alone");
                let cancelled = broker.client.cancel(&id, "interrupted").await;
                cancelled.map_err(|error| broker.explain(error))?;
            }
        }
    }
    if log_open {
        let rest = async {
            while take(bar, chunks.try_next().await)? {}
            Ok::<_, CliError>(())
        };
        match tokio::time::timeout(LOG_GRACE, rest).await {
            Ok(result) => result?,
            Err(_) => bar.say(&format!("its log may lack an end: asyncflow task logs {id}")),
        }
    }
    broker.client.get(&id).await.map_err(|error| broker.explain(error))
}

/// Writes a piece of the log. A log that cannot be had is told and does not end the following.
/// Answers whether there may be more.
fn take(bar: &Bar, chunk: Result<Option<StreamTaskLogsResponse>, Error>) -> Result<bool, CliError> {
    match chunk {
        Ok(Some(chunk)) => {
            bar.aside(|| write_log(&chunk))?;
            Ok(true)
        }
        Ok(None) => Ok(false),
        Err(error) => {
            bar.say(&format!("the task's log cannot be followed: {error}"));
            Ok(false)
        }
    }
}

/// Writes what the task wrote to where it wrote it.
pub fn write_log(chunk: &StreamTaskLogsResponse) -> Result<(), CliError> {
    if chunk.stream() == LogStream::Stdout {
        let mut out = io::stdout().lock();
        out.write_all(&chunk.data)?;
        out.flush()?;
    } else {
        let mut out = io::stderr().lock();
        // A closed stderr is no reason to lose the task's stdout.
        let _ = out.write_all(&chunk.data).and_then(|()| out.flush());
    }
    Ok(())
}

/// What to say when an attempt has failed and another one will follow.
fn retry_text(task: &Task) -> Option<String> {
    let waits = matches!(task.state(), TaskState::Scheduled | TaskState::Pending);
    let failure = task.failure.as_ref().filter(|_| waits && task.attempt > 0)?;
    let due = time::relative(task.due_time.as_ref(), clock::now_ms());
    let when = if due.ends_with("ago") { String::new() } else { format!(" {due}") };
    let (attempt, message) = (task.attempt, failure.message.as_str());
    let why = if message.is_empty() { String::new() } else { format!(" ({message})") };
    Some(format!("attempt {attempt} did not succeed{why}; it is tried again{when}"))
}

fn conclude(task: &Task) {
    let name = state_name(task.state);
    let mut text = format!("{} {}", task.id, Palette::stderr().state(&name));
    if let Some(failure) = &task.failure
        && !failure.message.is_empty()
    {
        text.push_str(&format!(": {}", failure.message));
    }
    crate::remark(&text);
}

async fn second_interrupt() -> Result<(), CliError> {
    let mut interrupts = interrupts()?;
    for _ in 0..2 {
        interrupts.recv().await;
    }
    Ok(())
}

/// Ctrl-C from now on: it does not end the process any more.
fn interrupts() -> Result<Signal, CliError> {
    signal(SignalKind::interrupt())
        .map_err(|error| CliError::Failed(format!("cannot listen for Ctrl-C: {error}")))
}

/// The progress bar; without a terminal it draws nothing.
struct Bar {
    bar: ProgressBar,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::new(100);
        let template = if Palette::stderr().is_on() {
            "{spinner:.cyan} {prefix} [{bar:30.cyan}] {pos:>3}% {elapsed} {msg}"
        } else {
            "{spinner} {prefix} [{bar:30}] {pos:>3}% {elapsed} {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    fn show(&self, task: &Task) {
        self.bar.set_prefix(state_name(task.state));
        let progress = task.progress.clone().unwrap_or_default();
        let percent = progress.percent.unwrap_or_default().clamp(0.0, 100.0);
        self.bar.set_position(percent as u64);
        let stage =
            if task.stage.is_empty() { String::new() } else { format!("[{}] ", task.stage) };
        self.bar.set_message(format!("{stage}{}", progress.message));
    }

    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    fn say(&self, text: &str) {
        self.aside(|| crate::remark(text));
    }

    /// [`say`](Self::say) for others.
    fn teller(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |text| bar.suspend(|| crate::remark(text))
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use asyncflow_proto::v1::Failure;

    #[test]
    fn a_failed_attempt_is_told_only_when_another_follows() {
        let failure = Failure { message: "exit code 7".to_owned(), ..Failure::default() };
        let mut task = Task { attempt: 2, failure: Some(failure), ..Task::default() };
        for (state, told) in [
            (TaskState::Scheduled, true),
            (TaskState::Pending, true),
            (TaskState::Running, false),
            (TaskState::Failed, false),
        ] {
            task.set_state(state);
            assert_eq!(retry_text(&task).is_some(), told, "{state:?}");
        }
        task.set_state(TaskState::Scheduled);
        let text = retry_text(&task).unwrap();
        assert!(text.contains("attempt 2") && text.contains("exit code 7"), "{text}");
        assert_eq!(retry_text(&Task { failure: None, ..task }), None);
    }
}
