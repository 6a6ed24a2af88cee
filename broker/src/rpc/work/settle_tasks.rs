//! SettleTasks: many attempts ended, well or badly; each is answered by itself.

use asyncflow_core::{
    limits::SETTLE_TASKS_MAX,
    validate::{at::At, number},
    violation::Violations,
};
use asyncflow_proto::v1::{self, task_outcome::Outcome};
use asyncflow_store::ApplyError;

use super::{Ending, complete_task, fail_task, release_task};
use crate::{
    broker::Broker,
    convert,
    error::RpcError,
    settle::{ApplyResult, settled},
    status::task_error,
};

pub async fn settle_tasks(
    broker: &Broker,
    request: v1::SettleTasksRequest,
) -> Result<v1::SettleTasksResponse, RpcError> {
    let mut violations = Violations::new();
    let list = At::REQUEST.field("outcomes");
    number::item_count(request.outcomes.len(), 1..=SETTLE_TASKS_MAX, list, &mut violations);
    violations.none()?;
    let session = broker.sessions.get(&request.session_id).await?;

    let mut events = Vec::with_capacity(request.outcomes.len());
    let mut results = Vec::with_capacity(request.outcomes.len());
    for (index, outcome) in request.outcomes.into_iter().enumerate() {
        let mut violations = Violations::new();
        let ending = ending(outcome, list.item(index), &mut violations);
        results.push(match violations.ok_or(ending) {
            Ok(ending) => {
                let id = ending.lease.id.clone();
                events.push(ending.within_limits(broker).await?.event(&session));
                Ok(id)
            }
            Err(violations) => Err(violations),
        });
    }
    let mut answers = broker.settle.apply(events).await?.into_iter();
    let mut broken = || ApplyResult::Err(ApplyError::NotFound);
    let results = results.into_iter().map(|checked| {
        let id = checked.map_err(RpcError::from)?;
        settled(&id, answers.next().unwrap_or_else(&mut broken))
    });
    Ok(v1::SettleTasksResponse { results: results.map(answer).collect() })
}

fn ending(outcome: v1::TaskOutcome, at: At<'_>, violations: &mut Violations) -> Option<Ending> {
    match outcome.outcome {
        Some(Outcome::Complete(call)) => {
            complete_task::ending(call, at.field("complete"), violations)
        }
        Some(Outcome::Fail(call)) => fail_task::ending(call, at.field("fail"), violations),
        Some(Outcome::Release(call)) => release_task::ending(call, at.field("release"), violations),
        None => {
            violations.add(at, "must be given");
            None
        }
    }
}

fn answer(result: Result<asyncflow_core::task::Task, RpcError>) -> v1::TaskSettled {
    match result {
        Ok(task) => v1::TaskSettled { state: convert::task::state(task.state).into(), error: None },
        Err(error) => {
            v1::TaskSettled { error: Some(task_error(error)), ..v1::TaskSettled::default() }
        }
    }
}
