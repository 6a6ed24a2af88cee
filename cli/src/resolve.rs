//! From what people type to a task's id: a whole id, a unique prefix of one, or `last`.
//!
//! The server's list is the only source; nothing is remembered on this computer.

use crate::{connection::Broker, error::CliError, filter::quoted};
use asyncflow_proto::v1::{ListTasksRequest, Task, TaskView};
use futures::{StreamExt, TryStreamExt};

/// How many of the newest tasks are looked at for a prefix.
const LOOKED_AT_MAX: usize = 5_000;
/// How many candidates an error names.
const NAMED_MAX: usize = 10;
const KEY_CHARS: usize = 13;

/// Flags of every command that is about a given task.
#[derive(Debug, Clone, clap::Args)]
pub struct Lookup {
    /// Look for `last` and for prefixes among this user's tasks only
    #[arg(long, env = "ASYNCFLOW_USER", value_name = "USER", global = true)]
    owner: Option<String>,
}

impl Lookup {
    /// Finds the id.
    ///
    /// # Errors
    /// [`CliError::NotFound`] when nothing fits, [`CliError::Usage`] with the candidates when
    /// several tasks do.
    pub async fn resolve(&self, broker: &Broker, typed: &str) -> Result<String, CliError> {
        if is_whole_id(typed) {
            return Ok(typed.to_owned());
        }
        if typed == "last" {
            let newest = self.newest(broker, "", 1).await?.pop();
            return newest
                .map(|task| task.id)
                .ok_or_else(|| CliError::NotFound("there is no task yet".to_owned()));
        }
        if typed.is_empty() {
            return Err(CliError::Usage("the task's id is empty".to_owned()));
        }
        let task_type = typed.split_once('-').map_or("", |(task_type, _)| task_type);
        let recent = self.newest(broker, task_type, LOOKED_AT_MAX).await?;
        choose(typed, &recent)
    }

    /// Several at once, in the order of the command line.
    pub async fn resolve_all(
        &self,
        broker: &Broker,
        typed: &[String],
    ) -> Result<Vec<String>, CliError> {
        let mut ids = Vec::with_capacity(typed.len());
        for text in typed {
            ids.push(self.resolve(broker, text).await?);
        }
        Ok(ids)
    }

    async fn newest(
        &self,
        broker: &Broker,
        task_type: &str,
        count: usize,
    ) -> Result<Vec<Task>, CliError> {
        let mut conditions = Vec::new();
        conditions.extend(self.owner.iter().map(|user| format!("user = {}", quoted(user))));
        if is_type_name(task_type) {
            conditions.push(format!("task_type = {task_type}"));
        }
        let request = ListTasksRequest {
            page_size: crate::filter::page_size(count)?,
            filter: conditions.join(" AND "),
            view: TaskView::Basic.into(),
            ..ListTasksRequest::default()
        };
        let tasks = broker.client.list(request).take(count).try_collect().await;
        tasks.map_err(|error| broker.explain(error))
    }
}

fn choose(typed: &str, recent: &[Task]) -> Result<String, CliError> {
    let fits = |task: &&Task| task.id.starts_with(typed) || key_of(&task.id).starts_with(typed);
    let candidates: Vec<&Task> = recent.iter().filter(fits).collect();
    match candidates.as_slice() {
        [] => Err(CliError::NotFound(format!(
            "no task's id begins with {typed:?} (the newest {} were looked at)\n  \
             `asyncflow task list` shows what there is",
            recent.len()
        ))),
        [only] => Ok(only.id.clone()),
        several => Err(CliError::Usage(ambiguous(typed, several))),
    }
}

fn ambiguous(typed: &str, candidates: &[&Task]) -> String {
    let mut text = format!("{typed:?} may be one of {} tasks; type more of it:", candidates.len());
    for task in candidates.iter().take(NAMED_MAX) {
        let name = if task.name.is_empty() { String::new() } else { format!("  {}", task.name) };
        text.push_str(&format!("\n  {}{name}", task.id));
    }
    if candidates.len() > NAMED_MAX {
        text.push_str(&format!("\n  … and {} more", candidates.len() - NAMED_MAX));
    }
    text
}

/// The part of an id that differs between the tasks of a shard.
fn key_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(_, key)| key)
}

fn is_whole_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some(task_type), Some(shard), Some(key), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    is_type_name(task_type)
        && !shard.is_empty()
        && shard.bytes().all(|byte| byte.is_ascii_digit())
        && key.len() == KEY_CHARS
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_type_name(text: &str) -> bool {
    let tail = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && text.bytes().all(tail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn tasks(ids: &[&str]) -> Vec<Task> {
        ids.iter().map(|id| Task { id: (*id).to_owned(), ..Task::default() }).collect()
    }

    #[test]
    fn whole_ids_need_no_list() {
        assert!(is_whole_id("train-1-0c5wzq8a7r2kd"));
        for text in ["last", "train", "train-1", "train-1-0c5", "Train-1-0c5wzq8a7r2kd", "a-b-c-d"]
        {
            assert!(!is_whole_id(text), "{text}");
        }
    }

    #[test]
    fn a_prefix_of_the_id_or_of_its_last_part_is_enough_when_it_is_unique() {
        let recent = tasks(&["train-1-0c5aa", "train-1-0c5bb", "eval-1-0d5aa"]);
        assert_eq!(choose("eval", &recent).unwrap(), "eval-1-0d5aa");
        assert_eq!(choose("0c5b", &recent).unwrap(), "train-1-0c5bb");
        let ambiguous = choose("train-1-0c5", &recent).unwrap_err();
        assert!(matches!(ambiguous, CliError::Usage(_)));
        let text = ambiguous.to_string();
        assert!(text.contains("train-1-0c5aa") && text.contains("train-1-0c5bb"), "{text}");
        assert!(matches!(choose("x", &recent), Err(CliError::NotFound(_))));
    }

    #[test]
    fn many_candidates_are_cut() {
        let ids: Vec<String> = (10..40).map(|n| format!("t-1-{n}")).collect();
        let recent = tasks(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let text = choose("t-", &recent).unwrap_err().to_string();
        assert!(text.contains("30 tasks") && text.contains("and 20 more"), "{text}");
    }
}
