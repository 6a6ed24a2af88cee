//! The services. One folder per noun, one file per verb.

pub mod broker_service;
pub mod host;
pub mod host_service;
pub mod operation;
pub mod operation_service;
pub mod schedule;
pub mod schedule_service;
pub mod task;
pub mod task_type;
pub mod work;
pub mod worker;
pub mod worker_service;
pub mod workflow;

use std::pin::Pin;

use asyncflow_core::{
    access::{Principal, Verb, permit},
    id::TaskId,
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_service::{auth::Identity, server::TraceContext};
use futures::Stream;
use tonic::{Request, Status};

use crate::{error::RpcError, principal::principal, status};

/// What a streaming verb answers with.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Every verb begins here: who calls, and may it.
fn admit<T>(request: Request<T>, verb: Verb) -> Result<(Principal, T), Status> {
    // The server sets it for every call that reaches a handler.
    let identity = request.extensions().get::<Identity>().ok_or_else(status::no_identity)?;
    let caller = principal(identity);
    permit(&caller, verb).map_err(RpcError::from)?;
    Ok((caller, request.into_inner()))
}

/// The trace that a call belongs to; the server gives one to each.
fn trace_id<T>(request: &Request<T>) -> String {
    let trace = TraceContext::of(request.extensions());
    trace.map(|trace| trace.trace_id().to_owned()).unwrap_or_default()
}

/// The id in a field of the request.
fn task_id(value: &str, field: &str) -> Result<TaskId, RpcError> {
    let mut violations = Violations::new();
    let id = text::task_id(value, At::REQUEST.field(field), &mut violations);
    Ok(violations.ok_or(id)?)
}
