//! What tests do again and again with tasks.

use std::{path::Path, time::Duration};

use asyncflow_proto::v1::{Command, Task, TaskSpec};
use asyncflow_sdk::Client;

use crate::cluster::PATIENCE;

const LOOK: Duration = Duration::from_millis(20);

/// A task that executes this program.
pub fn command<const N: usize>(words: [&str; N]) -> TaskSpec {
    let mut words = words.into_iter().map(str::to_owned);
    let program = words.next().unwrap_or_default();
    let command = Command { program, args: words.collect(), ..Command::default() };
    TaskSpec { task_type: "command".to_owned(), command: Some(command), ..TaskSpec::default() }
}

/// A task that executes this script by `/bin/sh`.
pub fn sh(script: &str) -> TaskSpec {
    command(["/bin/sh", "-c", script])
}

/// A task that runs until this file is there.
pub fn runs_until(go: &Path) -> TaskSpec {
    sh(&format!("while [ ! -e {} ]; do sleep 0.05; done", go.display()))
}

/// A task once its program has been started.
///
/// # Panics
/// When it is not in time, or cannot be read.
pub async fn until_started(client: &Client, id: &str) -> Task {
    until("it runs", || async {
        let read = client.get(id).await;
        let task = read.unwrap_or_else(|error| panic!("{id} cannot be read: {error}"));
        task.start_time.is_some().then_some(task)
    })
    .await
}

/// Asks again and again until there is an answer. For conditions that nothing announces, such as a
/// file that another process writes.
///
/// # Panics
/// When there is none in time.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    let answer = within(PATIENCE, ask).await;
    answer.unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}"))
}

/// The same for a condition that a planted bug may keep from ever coming true.
pub async fn within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Option<T> {
    let asked = tokio::time::timeout(patience, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(LOOK).await;
        }
    });
    asked.await.ok()
}

/// Whether there is such a process; one that only waits for its parent to take note is none.
pub fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.contains(") Z "))
}
