//! From what people type to the id of a task or a workflow: a whole id, a unique prefix of one, or
//! `last`, which is the newest that is one's own.
//!
//! The server's list is the only source; nothing is remembered on this computer.

use crate::{connection::Broker, error::CliError, filter::quoted};
use asyncflow_proto::v1::{ListTasksRequest, TaskView};
use futures::{StreamExt, TryStreamExt};

/// How many of the newest of a kind are looked at for a prefix.
const LOOKED_AT_MAX: usize = 5_000;
/// How many candidates an error names.
const NAMED_MAX: usize = 10;
const KEY_CHARS: usize = 13;

/// Flags of every command that is about a given task or workflow.
#[derive(Debug, Clone, clap::Args)]
pub struct Lookup {
    /// Look for `last` and for prefixes among what is this user's only. Without it `last` is the
    /// newest of whose token is used, and of everybody where there are no tokens
    #[arg(long, env = "ASYNCFLOW_USER", value_name = "USER", global = true)]
    owner: Option<String>,
}

/// What an id is looked for among.
#[derive(Clone, Copy)]
struct Kind {
    noun: &'static str,
    is_whole_id: fn(&str) -> bool,
}

const TASK: Kind = Kind { noun: "task", is_whole_id: is_task_id };
const WORKFLOW: Kind = Kind { noun: "workflow", is_whole_id: is_workflow_id };

/// How one is chosen among the newest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The newest of one's own.
    Last,
    /// The one whose id begins so.
    Prefix,
}

impl Choice {
    /// How many are looked at.
    fn count(self) -> usize {
        match self {
            Self::Last => 1,
            Self::Prefix => LOOKED_AT_MAX,
        }
    }
}

/// One of those that it may be.
struct Candidate {
    id: String,
    name: String,
}

impl Lookup {
    /// Finds the id of a task.
    ///
    /// # Errors
    /// [`CliError::NotFound`] when nothing fits, [`CliError::Usage`] with the candidates when
    /// several do.
    pub async fn task(&self, broker: &Broker, typed: &str) -> Result<String, CliError> {
        let task_type = typed.split_once('-').map_or("", |(task_type, _)| task_type);
        let newest = async |choice| self.newest_tasks(broker, task_type, choice).await;
        find(TASK, typed, newest).await
    }

    /// Several at once, in the order of the command line.
    pub async fn tasks(&self, broker: &Broker, typed: &[String]) -> Result<Vec<String>, CliError> {
        let mut ids = Vec::with_capacity(typed.len());
        for text in typed {
            ids.push(self.task(broker, text).await?);
        }
        Ok(ids)
    }

    /// Finds the id of a workflow.
    ///
    /// # Errors
    /// As [`task`](Self::task).
    pub async fn workflow(&self, broker: &Broker, typed: &str) -> Result<String, CliError> {
        let owner = self.owner().unwrap_or_default();
        let newest = async |choice: Choice| {
            let workflows = match owner {
                "" if choice == Choice::Last => broker.client.own_workflows().left_stream(),
                owner => broker.client.workflows(owner).right_stream(),
            };
            let workflows = workflows.take(choice.count());
            let candidates = workflows.map_ok(|it| Candidate { id: it.id, name: it.name });
            candidates.try_collect().await.map_err(|error| broker.explain(error))
        };
        find(WORKFLOW, typed, newest).await
    }

    /// An empty variable is as good as none.
    fn owner(&self) -> Option<&str> {
        self.owner.as_deref().filter(|owner| !owner.is_empty())
    }

    async fn newest_tasks(
        &self,
        broker: &Broker,
        task_type: &str,
        choice: Choice,
    ) -> Result<Vec<Candidate>, CliError> {
        let count = choice.count();
        let mut conditions = Vec::new();
        conditions.extend(self.owner().map(|user| format!("user = {}", quoted(user))));
        if is_type_name(task_type) {
            conditions.push(format!("task_type = {task_type}"));
        }
        let request = ListTasksRequest {
            page_size: crate::filter::page_size(count)?,
            filter: conditions.join(" AND "),
            view: TaskView::Basic.into(),
            own: choice == Choice::Last && self.owner().is_none(),
            ..ListTasksRequest::default()
        };
        let tasks = broker.client.list(request).take(count);
        let candidates = tasks.map_ok(|task| Candidate { id: task.id, name: task.name });
        candidates.try_collect().await.map_err(|error| broker.explain(error))
    }
}

/// The id of what was typed, among the newest of a kind.
async fn find(
    kind: Kind,
    typed: &str,
    newest: impl AsyncFn(Choice) -> Result<Vec<Candidate>, CliError>,
) -> Result<String, CliError> {
    let noun = kind.noun;
    if (kind.is_whole_id)(typed) {
        return Ok(typed.to_owned());
    }
    if typed == "last" {
        let last = newest(Choice::Last).await?.pop();
        let none = || CliError::NotFound(format!("there is no {noun} yet"));
        return last.map(|candidate| candidate.id).ok_or_else(none);
    }
    if typed.is_empty() {
        return Err(CliError::Usage(format!("the {noun}'s id is empty")));
    }
    choose(noun, typed, &newest(Choice::Prefix).await?)
}

fn choose(noun: &str, typed: &str, recent: &[Candidate]) -> Result<String, CliError> {
    let fits = |it: &&Candidate| it.id.starts_with(typed) || key_of(&it.id).starts_with(typed);
    let candidates: Vec<&Candidate> = recent.iter().filter(fits).collect();
    match candidates.as_slice() {
        [] => Err(CliError::NotFound(format!(
            "no {noun}'s id begins with {typed:?} (the newest {} were looked at)\n  \
             `asyncflow {noun} list` shows what there is",
            recent.len()
        ))),
        [only] => Ok(only.id.clone()),
        several => Err(CliError::Usage(ambiguous(noun, typed, several))),
    }
}

fn ambiguous(noun: &str, typed: &str, candidates: &[&Candidate]) -> String {
    let count = candidates.len();
    let mut text = format!("{typed:?} may be one of {count} {noun}s; type more of it:");
    for Candidate { id, name } in candidates.iter().take(NAMED_MAX) {
        let name = if name.is_empty() { String::new() } else { format!("  {name}") };
        text.push_str(&format!("\n  {id}{name}"));
    }
    if count > NAMED_MAX {
        text.push_str(&format!("\n  … and {} more", count - NAMED_MAX));
    }
    text
}

/// The part of an id that differs between the tasks of a shard.
fn key_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(_, key)| key)
}

fn is_task_id(text: &str) -> bool {
    let mut parts = text.split('-');
    let (Some(task_type), Some(shard), Some(key), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    is_type_name(task_type)
        && !shard.is_empty()
        && shard.bytes().all(|byte| byte.is_ascii_digit())
        && is_key(key)
}

fn is_workflow_id(text: &str) -> bool {
    text.strip_prefix("wf-").is_some_and(is_key)
}

fn is_key(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() == KEY_CHARS && text.bytes().all(fits)
}

fn is_type_name(text: &str) -> bool {
    let tail = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase()) && text.bytes().all(tail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn tasks(ids: &[&str]) -> Vec<Candidate> {
        let candidate = |id: &&str| Candidate { id: (*id).to_owned(), name: String::new() };
        ids.iter().map(candidate).collect()
    }

    #[test]
    fn whole_ids_need_no_list() {
        assert!(is_task_id("train-1-0c5wzq8a7r2kd"));
        assert!(is_workflow_id("wf-0c5wzq8a7r2kd") && !is_workflow_id("wf-0c5"));
        for text in ["last", "train", "train-1", "train-1-0c5", "Train-1-0c5wzq8a7r2kd", "a-b-c-d"]
        {
            assert!(!is_task_id(text) && !is_workflow_id(text), "{text}");
        }
    }

    #[test]
    fn a_prefix_of_the_id_or_of_its_last_part_is_enough_when_it_is_unique() {
        let recent = tasks(&["train-1-0c5aa", "train-1-0c5bb", "eval-1-0d5aa"]);
        assert_eq!(choose("task", "eval", &recent).unwrap(), "eval-1-0d5aa");
        assert_eq!(choose("task", "0c5b", &recent).unwrap(), "train-1-0c5bb");
        let ambiguous = choose("task", "train-1-0c5", &recent).unwrap_err();
        assert!(matches!(ambiguous, CliError::Usage(_)));
        let text = ambiguous.to_string();
        assert!(text.contains("train-1-0c5aa") && text.contains("train-1-0c5bb"), "{text}");
        assert!(matches!(choose("task", "x", &recent), Err(CliError::NotFound(_))));
    }

    #[test]
    fn many_candidates_are_cut() {
        let ids: Vec<String> = (10..40).map(|n| format!("t-1-{n}")).collect();
        let recent = tasks(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let text = choose("task", "t-", &recent).unwrap_err().to_string();
        assert!(text.contains("30 tasks") && text.contains("and 20 more"), "{text}");
    }
}
