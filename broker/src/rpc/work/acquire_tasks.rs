//! AcquireTasks: waits in the dispatch until tasks come or the time is over.

use std::{collections::HashSet, sync::Arc};

use asyncflow_core::{
    id::TypeName,
    limits::WAIT_MS_DEFAULT,
    validate::{at::At, list, work},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::Assigned;

use crate::{
    broker::Broker,
    clock,
    closed::acquire_unless_closed,
    convert::{self, time},
    dispatch::{Types, Wish},
    error::RpcError,
    session::Session,
};

pub async fn acquire_tasks(
    broker: &Broker,
    request: v1::AcquireTasksRequest,
) -> Result<v1::AcquireTasksResponse, RpcError> {
    let names = work::acquire(&request.acquire_id, request.max_tasks, &request.task_types)?;
    let wait_ms = wait_ms(&request)?;
    let session = broker.sessions.get(&request.session_id).await?;
    let types = types(&session, names)?;
    let offers = request.offer.is_some();
    let mut violations = Violations::new();
    let host = convert::offer::host(&session, request.offer, &mut violations);
    violations.none()?;

    // A repeated call gets what the first one got, also when that was on another broker.
    let acquired = broker.store.acquired(session.id, &request.acquire_id);
    if let Some(tasks) = broker.lookups.take_turn(acquired).await? {
        return response(broker, &session, tasks).await;
    }
    let wish = Wish {
        worker_id: session.worker_id.clone(),
        session_id: session.id,
        acquire_id: request.acquire_id,
        want: request.max_tasks.unsigned_abs(),
        starts: request.start,
        types,
        host: Arc::new(host),
        offers,
    };
    let deadline = clock::in_ms(wait_ms);
    let tasks = acquire_unless_closed(broker, &session, wish, deadline, offers).await?;
    response(broker, &session, tasks).await
}

/// With the signals that have come for them, and without twins of what runs on that host. Without
/// an answer the worker repeats its call.
async fn response(
    broker: &Broker,
    session: &Session,
    tasks: Vec<Assigned>,
) -> Result<v1::AcquireTasksResponse, RpcError> {
    let tasks = broker.dispatch.without_twins_of(&session.host, tasks).await?;
    let mut leased = Vec::with_capacity(tasks.len());
    for one in tasks {
        let signals = broker.store.signals_of(&one.full.task).await?;
        leased.push(convert::work::leased(one, convert::task::signals(signals)));
    }
    Ok(v1::AcquireTasksResponse { tasks: leased })
}

fn wait_ms(request: &v1::AcquireTasksRequest) -> Result<i64, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST.field("wait");
    let asked_ms = time::duration_ms(request.wait.as_ref(), at, &mut violations);
    let wait_ms = list::wait_ms(asked_ms, WAIT_MS_DEFAULT, at, &mut violations);
    Ok(violations.ok_or(Some(wait_ms))?)
}

/// The types that are waited for: those of the call, which must be registered, or all of those.
fn types(session: &Session, names: Vec<TypeName>) -> Result<Types, RpcError> {
    if names.is_empty() {
        return Ok(session.types.clone());
    }
    match names.iter().find(|name| !session.types.name(name)) {
        Some(foreign) => Err(RpcError::NotItsType(foreign.clone())),
        None => {
            let names = names.into_iter().collect::<HashSet<_>>();
            Ok(Types::These { names, commands: None })
        }
    }
}
