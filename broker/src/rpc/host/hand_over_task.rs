//! HandOverTask: asks a running task to save and stop, so that another host goes on with it.

use asyncflow_core::{
    access::Principal,
    limits::MESSAGE_BYTES_MAX,
    state::TaskState,
    validate::{at::At, content::content, text},
    violation::Violations,
};
use asyncflow_proto::v1;
use asyncflow_store::Parts;

use crate::{
    broker::Broker,
    convert,
    error::RpcError,
    orders::{Request, order_tasks},
    principal::permit_user,
    rpc::task,
};

pub async fn hand_over_task(
    broker: &Broker,
    caller: &Principal,
    request: v1::HandOverTaskRequest,
) -> Result<v1::HandOverTaskResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    let id = text::task_id(&request.task_id, at.field("task_id"), &mut violations);
    text::prose(&request.message, MESSAGE_BYTES_MAX, at.field("message"), &mut violations);
    let id = violations.ok_or(id)?;
    if let Some(context) = request.context.clone() {
        let task_type = broker.store.get_type(id.task_type()).await?;
        let Some(task_type) = task_type else { return Err(RpcError::TaskNotFound(id)) };
        let bytes_max = usize::try_from(task_type.max_context_bytes).unwrap_or(0);
        let context = convert::task::content_from_proto(context);
        let mut violations = Violations::new();
        content(&context, bytes_max, at.field("context"), &mut violations);
        violations.none()?;
    }

    let full = task::get(broker, &id, Parts::LABELS).await?;
    permit_user(caller, &full.task.user)?;
    if full.task.state != TaskState::Running || full.task.start_time_ms.is_none() {
        let state = full.task.state.name();
        return Err(RpcError::NotHandedOver(format!("{id} does not run, it is {state}")));
    }
    let worker_id = &full.task.holder.worker_id;
    let host = broker.store.get_host(worker_id).await?;
    if host.is_none_or(|host| host.report_time_ms.is_none()) {
        let why = format!("{id} runs on {worker_id}, which does not report and hears no orders");
        return Err(RpcError::NotHandedOver(why));
    }
    let why = if request.message.is_empty() { "" } else { ": " };
    let request = Request {
        reason: v1::FailureReason::HandedOver,
        message: format!("handed over by {}{why}{}", caller.user, request.message),
        elsewhere: true,
        context: request.context,
        room: None,
    };
    let ordered = [(full.task.clone(), request)];
    order_tasks(&broker.store, &ordered).await?;
    Ok(v1::HandOverTaskResponse { task: Some(convert::task::listed(full)) })
}
