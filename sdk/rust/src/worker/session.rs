//! Registration, at the start and whenever the broker has forgotten the session.

use std::time::Duration;

use asyncflow_proto::time::duration_ms;
use tonic::{Code, Request};

use super::{
    WorkerOptions,
    held::Held,
    link::{Link, Pause, Session},
};
use crate::{
    Error, clock,
    v1::{RegisterWorkerRequest, RegisterWorkerResponse},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait between tries of who holds tasks: they may be taken back one and a half heartbeats
/// after a broker is there again, and how long those are is not known yet.
const HOLDER_WAIT_MAX: Duration = Duration::from_millis(500);

/// So many sessions in a row that were lost within one lease are no accident.
const QUICK_LOSSES_MAX: u32 = 2;

/// Keeps a session in force until it is dropped. Errors: the broker refuses this worker, at its
/// first registration only, later refusals are tried again, because tasks are running; or another
/// process registers under the same id. Of two that do, the one that came first gives way, or they
/// would take their tasks from each other for ever.
pub(super) async fn keep(
    link: &Link,
    held: &Held,
    options: &WorkerOptions,
    incarnation: &str,
) -> Result<std::convert::Infallible, Error> {
    let mut is_first = true;
    let mut quick_losses = 0;
    loop {
        let session = register(link, held, options, incarnation, is_first).await?;
        is_first = false;
        let (registered_at, lease_ttl) = (clock::now(), session.lease_ttl);
        link.set_session(session);
        link.session_lost().await;
        quick_losses = if registered_at.elapsed() < lease_ttl { quick_losses + 1 } else { 0 };
        if quick_losses >= QUICK_LOSSES_MAX {
            let id = &options.worker_id;
            let message = format!("another worker registers as {id}: each needs its own worker_id");
            return Err(Error::Config(message));
        }
    }
}

async fn register(
    link: &Link,
    held: &Held,
    options: &WorkerOptions,
    incarnation: &str,
    is_first: bool,
) -> Result<Session, Error> {
    let holds_none = held.leases().is_empty();
    let mut pause = if holds_none { Pause::default() } else { Pause::up_to(HOLDER_WAIT_MAX) };
    loop {
        let adopted = held.leases();
        let mut request = Request::new(RegisterWorkerRequest {
            worker_id: options.worker_id.clone(),
            incarnation: incarnation.to_owned(),
            host: options.host.clone(),
            labels: options.labels.clone(),
            task_types: options.task_types.clone(),
            takes_commands: options.takes_commands,
            slots: i32::try_from(options.slots).unwrap_or(i32::MAX),
            version: options.version.clone(),
            adopted: adopted.clone(),
        });
        request.set_timeout(CALL_TIMEOUT);
        let (place, mut broker) = link.broker();
        match broker.register_worker(request).await.map_err(Error::from) {
            Ok(answer) => {
                let answer = answer.into_inner();
                held.keep_adopted(&adopted, &answer.adopted);
                tracing::info!(worker_id = options.worker_id, "registered");
                return Ok(session_of(&answer));
            }
            Err(error) if is_first && is_refusal(&error) => return Err(error),
            Err(error) => {
                link.note_error(place, "", &error);
                let asked = options.brokers.iter().cycle().nth(place);
                let broker = asked.map(|broker| broker.address.as_str());
                tracing::warn!(broker, %error, "cannot register, trying again");
                pause.after(&error).await;
            }
        }
    }
}

fn is_refusal(error: &Error) -> bool {
    let refusals = [Code::InvalidArgument, Code::PermissionDenied, Code::Unauthenticated];
    refusals.contains(&error.code()) || error.code() == Code::Unimplemented
}

fn session_of(answer: &RegisterWorkerResponse) -> Session {
    let span = |span: &Option<prost_types::Duration>, default_ms: u64| {
        let ms = span.as_ref().and_then(duration_ms).and_then(|ms| u64::try_from(ms).ok());
        Duration::from_millis(ms.filter(|ms| *ms > 0).unwrap_or(default_ms))
    };
    Session {
        id: answer.session_id.clone(),
        heartbeat_interval: span(&answer.heartbeat_interval, 10_000),
        lease_ttl: span(&answer.lease_ttl, 30_000),
    }
}
