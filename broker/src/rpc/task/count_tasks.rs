//! CountTasks: from the counts that every transaction keeps up.

use asyncflow_core::{
    limits::USER_BYTES_MAX,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::CountFilter;

use crate::{broker::Broker, convert, error::RpcError};

pub async fn count_tasks(
    broker: &Broker,
    request: v1::CountTasksRequest,
) -> Result<v1::CountTasksResponse, RpcError> {
    let counts = broker.store.counts(&filter(&request)?).await?;
    let total = counts.iter().map(|count| count.tasks).sum();
    let counts = counts.into_iter().map(|count| v1::TaskCount {
        task_type: count.task_type.to_string(),
        user: count.user,
        state: convert::task::state(count.state).into(),
        count: count.tasks,
    });
    Ok(v1::CountTasksResponse { total, counts: counts.collect() })
}

fn filter(request: &v1::CountTasksRequest) -> Result<CountFilter, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let mut filter = CountFilter::default();
    if !request.task_type.is_empty() {
        filter.task_type =
            text::type_name(&request.task_type, at.field("task_type"), &mut violations);
    }
    if !request.user.is_empty() {
        text::line(&request.user, USER_BYTES_MAX, at.field("user"), &mut violations);
        filter.user = Some(request.user.clone());
    }
    let states = at.field("states");
    for (index, &number) in request.states.iter().enumerate() {
        match convert::task::state_from_proto(number) {
            Some(state) => filter.states.push(state),
            None => violations.add(states.item(index), format!("{number} is not a state")),
        }
    }
    Ok(violations.ok_or(Some(filter))?)
}
