//! Whether the code is still the one that the task was made from.

use std::{path::Path, time::Duration};

use asyncflow_sdk::{code::CodeState, v1::CodeSnapshot, worker::AttemptHandle};

/// A start waits for git no longer than that; then nothing is known.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Files that are named.
const FILES_MAX: usize = 10;

/// Looks, tells it in the task's log, and notes it with what the attempt used.
pub async fn look(attempt: &AttemptHandle) {
    let command = attempt.task().command.as_ref();
    let Some(submitted) = command.and_then(|command| command.code.as_ref()) else { return };
    let comparing = tokio::time::timeout(LOOK_MAX, compare(submitted));
    let Ok(Some((commit, change))) = comparing.await else {
        tracing::debug!(directory = submitted.directory, "git does not tell how the code is");
        return;
    };
    attempt.measure(|usage| {
        usage.code_commit = commit;
        usage.code_changed = change.is_some();
    });
    if let Some(change) = change {
        attempt.log_system(&change).await;
    }
}

/// The commit that the code is at, and how it differs from what was submitted, if it does.
async fn compare(submitted: &CodeSnapshot) -> Option<(String, Option<String>)> {
    let now = CodeState::of(Path::new(&submitted.directory)).await?;
    if !now.differs_from(&submitted.commit, &submitted.diff_sha256) {
        return Some((now.commit, None));
    }
    let files = now.files_that_differ(&submitted.commit, &submitted.diff).await;
    let mut message = "the code is not the one that was submitted".to_owned();
    if !files.is_empty() {
        let more = if files.len() > FILES_MAX { " and more" } else { "" };
        let verb = if files.len() == 1 { "differs" } else { "differ" };
        let named: Vec<String> = files.into_iter().take(FILES_MAX).collect();
        message = format!("{message}: {}{more} {verb}", named.join(", "));
    }
    if now.commit != submitted.commit {
        let short = |commit: &str| commit.get(..12).unwrap_or(commit).to_owned();
        let (then, now) = (short(&submitted.commit), short(&now.commit));
        message = format!("{message}; commit {now} is checked out, {then} was");
    }
    Some((now.commit, Some(message)))
}
