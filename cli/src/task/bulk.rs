//! One verb for all tasks that match a filter: asked about first, then followed.

use super::each::Tasks;
use crate::{
    error::{CliError, Outcome, exit},
    filter::{CreatedArgs, FilterArgs},
    operation::follow::{ending, follow},
    session::Session,
    view::operation::{MatchView, OperationView},
};
use asyncflow_proto::v1::{
    BulkCancelTasksRequest, BulkDeleteTasksRequest, BulkPurgeTasksRequest, BulkRetryTasksRequest,
    MatchingTasks, Operation, TaskSelection,
};
use std::io::{BufRead, IsTerminal, Write};

/// Which tasks: named, or chosen by a filter.
#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// Ids, unique prefixes of ids, or `last`; or else a filter
    #[arg(value_name = "TASK")]
    typed: Vec<String>,
    #[command(flatten)]
    bulk: Bulk,
}

/// Flags of a verb for many tasks.
#[derive(Debug, clap::Args)]
pub struct Bulk {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    created: CreatedArgs,
    /// Every task that you may change
    #[arg(long)]
    all: bool,
    /// End when so many are changed; 0 = as many as match
    #[arg(long, value_name = "N", default_value_t = 0)]
    max: u32,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
    /// Only say how many match, by state
    #[arg(long, conflicts_with_all = ["yes", "no_wait"])]
    dry_run: bool,
    /// Leave it to the broker; see `asyncflow operation`
    #[arg(long)]
    no_wait: bool,
    /// Makes repeating safe: the same id begins one operation
    #[arg(long, value_name = "ID", default_value_t)]
    request_id: String,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
pub enum Deed<'a> {
    Cancel { reason: &'a str },
    Retry { from_start: bool },
    Delete,
    Purge,
}

impl Chosen {
    /// The tasks that were named, or `None` when they are chosen by a filter.
    pub fn named(&self) -> Result<Option<Tasks>, CliError> {
        let is_filter = self.bulk.all || !self.bulk.text().is_empty();
        match (self.typed.is_empty(), is_filter) {
            (false, false) => {
                self.bulk.refuse_for_named()?;
                Ok(Some(Tasks { typed: self.typed.clone() }))
            }
            (true, true) => Ok(None),
            (false, true) => {
                Err(CliError::Usage("name tasks or choose them by a filter, not both".to_owned()))
            }
            (true, false) => Err(nothing()),
        }
    }

    /// Carries it out for all that match.
    pub async fn execute(&self, deed: Deed<'_>, session: &Session) -> Outcome {
        self.bulk.execute(deed, session).await
    }
}

fn nothing() -> CliError {
    let what = "say which tasks: by their ids, by a filter such as --filter 'state = FAILED', \
                or --all";
    CliError::Usage(what.to_owned())
}

impl Bulk {
    fn text(&self) -> String {
        self.filter.text(&self.created)
    }

    /// What is of a filter only must not be ignored: who says --dry-run wants nothing changed.
    fn refuse_for_named(&self) -> Result<(), CliError> {
        let given = [
            ("--dry-run", self.dry_run),
            ("--no-wait", self.no_wait),
            ("--max", self.max != 0),
            ("--request-id", !self.request_id.is_empty()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((flag, _)) => Err(CliError::Usage(format!(
                "{flag} is for tasks that are chosen by a filter, not for named ones; nothing was \
                 changed"
            ))),
        }
    }

    /// Asks, begins, and follows to the end.
    pub async fn execute(&self, deed: Deed<'_>, session: &Session) -> Outcome {
        if !self.all && self.text().is_empty() {
            return Err(nothing());
        }
        if !self.yes {
            let matching = self.call(deed, session, true).await?.1.unwrap_or_default();
            if self.dry_run {
                return show(&matching, session);
            }
            if matching.total == 0 && !matching.at_least {
                crate::remark("no task matches");
                return Ok(exit::OK);
            }
            if !confirm(&self.question(deed, &matching))? {
                crate::remark("nothing was changed");
                return Ok(exit::ERROR);
            }
        }
        let begun = self.call(deed, session, false).await?.0;
        let none = || CliError::Failed("the broker's answer holds no operation".to_owned());
        let operation = begun.ok_or_else(none)?;
        if self.no_wait {
            session.output.one(&OperationView::from(operation))?;
            return Ok(exit::OK);
        }
        let id = &operation.id;
        crate::remark(&format!("it goes on without you: `asyncflow operation wait {id}`"));
        let over = follow(&session.broker, id, None).await?;
        let code = ending(&over);
        if over.matched_count == 0 {
            crate::remark("0 tasks matched; nothing was changed");
        }
        session.output.one(&OperationView::from(over))?;
        Ok(code)
    }

    fn question(&self, deed: Deed<'_>, matching: &MatchingTasks) -> String {
        let least = if matching.at_least { "at least " } else { "" };
        let states: Vec<String> = views(matching).iter().map(MatchView::text).collect();
        let most = match self.max {
            0 => String::new(),
            max => format!("at most {max} of "),
        };
        let (verb, total) = (deed.verb(), matching.total);
        let tasks = if total == 1 { "task" } else { "tasks" };
        format!("{verb} {most}{least}{total} {tasks} ({})", states.join(", "))
    }

    async fn call(
        &self,
        deed: Deed<'_>,
        session: &Session,
        validate_only: bool,
    ) -> Result<(Option<Operation>, Option<MatchingTasks>), CliError> {
        let max_tasks = self.max.into();
        let selection = Some(TaskSelection { filter: self.text(), all: self.all, max_tasks });
        let (client, request_id) = (&session.broker.client, self.request_id.clone());
        let answer = match deed {
            Deed::Cancel { reason } => {
                let reason = reason.to_owned();
                let request =
                    BulkCancelTasksRequest { selection, request_id, validate_only, reason };
                client.bulk_cancel(request).await.map(|answer| (answer.operation, answer.matching))
            }
            Deed::Retry { from_start } => {
                let request =
                    BulkRetryTasksRequest { selection, request_id, validate_only, from_start };
                client.bulk_retry(request).await.map(|answer| (answer.operation, answer.matching))
            }
            Deed::Delete => {
                let request = BulkDeleteTasksRequest { selection, request_id, validate_only };
                client.bulk_delete(request).await.map(|answer| (answer.operation, answer.matching))
            }
            Deed::Purge => {
                let request = BulkPurgeTasksRequest { selection, request_id, validate_only };
                client.bulk_purge(request).await.map(|answer| (answer.operation, answer.matching))
            }
        };
        answer.map_err(|error| session.broker.explain(error))
    }
}

impl Deed<'_> {
    fn verb(self) -> &'static str {
        match self {
            Self::Cancel { .. } => "cancel",
            Self::Retry { .. } => "retry",
            Self::Delete => "delete",
            Self::Purge => "purge",
        }
    }
}

fn views(matching: &MatchingTasks) -> Vec<MatchView> {
    matching.counts.iter().map(|count| MatchView::new(count, matching.at_least)).collect()
}

fn show(matching: &MatchingTasks, session: &Session) -> Outcome {
    session.output.many(&views(matching))?;
    Ok(exit::OK)
}

/// Asks on the terminal. Where there is none, nobody could answer.
fn confirm(question: &str) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage(format!("this would {question}; say --yes if it may")));
    }
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{question}? [y/N] ").and_then(|()| stderr.flush())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use asyncflow_proto::v1::{StateCount, TaskState};
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        chosen: Chosen,
    }

    fn chosen(args: &[&str]) -> Chosen {
        Line::parse_from([&["cancel"], args].concat()).chosen
    }

    #[test]
    fn tasks_are_named_or_chosen() {
        let named = |args: &[&str]| chosen(args).named().map(|tasks| tasks.map(|of| of.typed));
        assert_eq!(named(&["a", "b"]).unwrap().unwrap(), ["a", "b"]);
        assert_eq!(named(&["--filter", "user = a"]).unwrap(), None);
        assert_eq!(named(&["--all"]).unwrap(), None);
        assert_eq!(named(&["-t", "train", "--since", "2h"]).unwrap(), None);
        let of_a_filter =
            [&["--dry-run"][..], &["--no-wait"], &["--max", "3"], &["--request-id", "r"]];
        for flag in of_a_filter {
            let wrong = chosen(&[&["a"], flag].concat()).named().unwrap_err().to_string();
            assert!(wrong.contains(flag[0]) && wrong.contains("nothing was changed"), "{wrong}");
        }
        assert_eq!(named(&["a", "--yes"]).unwrap().unwrap(), ["a"]);
        for wrong in [&[][..], &["a", "--all"], &["a", "-s", "failed"], &["--max", "3"]] {
            assert!(matches!(named(wrong), Err(CliError::Usage(_))), "{wrong:?}");
        }
    }

    #[test]
    fn the_question_says_how_many_and_of_which_states() {
        let count = |state: TaskState, count| StateCount { state: state.into(), count };
        let counts = vec![count(TaskState::Pending, 10), count(TaskState::Running, 2)];
        let matching = MatchingTasks { total: 12, at_least: false, counts: counts.clone() };
        let deed = Deed::Cancel { reason: "" };
        let question = chosen(&["--all"]).bulk.question(deed, &matching);
        assert_eq!(question, "cancel 12 tasks (10 PENDING, 2 RUNNING)");
        let matching = MatchingTasks { at_least: true, ..matching };
        let question = chosen(&["--all", "--max", "5"]).bulk.question(Deed::Delete, &matching);
        assert_eq!(question, "delete at most 5 of at least 12 tasks (10 PENDING, 2 RUNNING)");
    }
}
