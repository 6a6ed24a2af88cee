//! The same verb for several tasks.

use crate::{
    error::{CliError, Outcome, exit},
    session::Session,
    view::task::TaskView,
};
use asyncflow_sdk::{Error, v1::Task};

/// Which tasks.
#[derive(Debug, clap::Args)]
pub struct Tasks {
    /// Ids, unique prefixes of ids, or `last`
    #[arg(value_name = "TASK", required = true)]
    pub typed: Vec<String>,
}

/// Finds all tasks first, so that a typing error changes nothing; then goes through them to the
/// end, whatever the servers says about one of them. The exit code is that of the first error.
pub async fn each<F>(session: &Session, tasks: &Tasks, verb: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Result<Task, Error>>,
{
    let ids = session.lookup.tasks(&session.broker, &tasks.typed).await?;
    let mut done = Vec::with_capacity(ids.len());
    let mut failed: Option<u8> = None;
    for id in ids {
        match verb(id.clone()).await {
            Ok(task) => done.push(TaskView::from(task)),
            Err(error) => {
                let error = session.broker.explain(error);
                report(&id, &error);
                failed.get_or_insert(error.exit_code());
            }
        }
    }
    if !done.is_empty() {
        session.output.many(&done)?;
    }
    Ok(failed.unwrap_or(exit::OK))
}

/// Tells which of several tasks it was.
pub fn report(id: &str, error: &CliError) {
    crate::complain(&format!("{id}: {error}"));
}
