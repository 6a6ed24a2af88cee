//! The machine beside the tasks: what is free there, how it is, and what is wanted of it.
//!
//! ```text
//!  taken, ended ─▶ ┌──────────┐ ── offer ──▶ AcquireTasks (again, when it changes)
//!                  │ HostSide │
//!    follow ─────▶ └──────────┘ ── report ─▶ ReportHost ──▶ orders ─┬▶ cordon, drain, detach
//!                                                                   └▶ tasks to be stopped
//! ```

use std::{sync::Arc, time::Duration};

use asyncflow_proto::time::duration_ms;
use tokio::sync::watch;

use super::{
    held::Held,
    link::{Pause, is_worth_repeating},
    runtime::Runtime,
    stop::{StopNote, StopReason},
};
use crate::{
    Error,
    v1::{
        FailureReason, HostOffer, HostOrders, HostReport, Lease, LeasedTask, ReportHostRequest,
        ReportHostResponse,
    },
};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
/// Changes are told at once, but no more often.
const INTERVAL_MIN: Duration = Duration::from_millis(500);
/// A broker that knows no reports may be replaced by one that does.
const INTERVAL_OLDER: Duration = Duration::from_secs(60);
/// Changes come in bursts: twenty tasks that begin are one new offer.
const OFFER_SETTLES: Duration = Duration::from_millis(100);

/// Knows the machine: what of it is free, and who has the rest. All methods return at once.
pub trait HostSide: Send + Sync + 'static {
    /// What is free now; `None` = nothing is known, then only tasks come that need but a slot.
    fn offer(&self) -> Option<HostOffer>;
    /// How the machine is.
    fn report(&self) -> HostReport;
    /// Changes whenever offer or report has changed in a way that matters.
    fn changes(&self) -> watch::Receiver<u64>;
    /// All that is wanted of the machine now. Cordon, drain, detach and orders about tasks are
    /// followed by the runtime itself.
    fn follow(&self, orders: &HostOrders);
    /// A task was leased: what it was placed on is not offered any more.
    fn taken(&self, task: &LeasedTask);
    /// This worker has nothing to do with the attempt any more.
    fn ended(&self, lease: &Lease);
}

/// Whether a worker takes tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub cordoned: bool,
    pub draining: bool,
}

impl Standing {
    pub fn takes_tasks(self) -> bool {
        !self.cordoned && !self.draining
    }

    /// For whoever reads the log of a worker that takes nothing, and wonders.
    fn told(self, worker_id: &str) -> String {
        let until = format!("until `asyncflow worker uncordon {worker_id}`");
        if self.draining {
            format!(
                "ordered to drain: no new tasks are taken, and the worker ends when what runs has \
                 ended; then the host stays cordoned, also when a worker is started again, {until}"
            )
        } else if self.cordoned {
            format!("cordoned: no new tasks are taken, also by the next worker here, {until}")
        } else {
            "open again: new tasks are taken".to_owned()
        }
    }
}

/// Resolves when the machine has something else to offer than `offered`. Cancel safe.
pub(super) async fn other_offer(host: Option<&Arc<dyn HostSide>>, offered: Option<&HostOffer>) {
    let Some(host) = host else { return std::future::pending().await };
    let mut changes = host.changes();
    loop {
        if !is_alike(host.offer().as_ref(), offered) {
            tokio::time::sleep(OFFER_SETTLES).await;
            return;
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// The load changes all the time, and decides but ties.
fn is_alike(one: Option<&HostOffer>, other: Option<&HostOffer>) -> bool {
    let without_load =
        |offer: Option<&HostOffer>| offer.map(|offer| HostOffer { load: 0.0, ..offer.clone() });
    without_load(one) == without_load(other)
}

/// Reports until it is dropped.
pub(super) async fn report(runtime: &Runtime) {
    let Some(host) = &runtime.host else { return std::future::pending().await };
    let mut changes = host.changes();
    let mut pause = Pause::default();
    loop {
        changes.borrow_and_update();
        let report = host.report();
        let answer = runtime
            .link
            .calls()
            .call(
                CALL_TIMEOUT,
                |session_id| ReportHostRequest { session_id, report: Some(report) },
                |mut broker, request| async move { broker.report_host(request).await },
            )
            .await;
        let wait = match answer {
            Ok(answer) => {
                pause = Pause::default();
                follow(runtime, &**host, &answer)
            }
            Err(error) if is_worth_repeating(&error) => {
                pause.after(&error).await;
                continue;
            }
            Err(error) => {
                refused(&error);
                // Nobody there listens, whatever changes.
                tokio::time::sleep(INTERVAL_OLDER).await;
                continue;
            }
        };
        tokio::time::sleep(INTERVAL_MIN).await;
        let rest = wait.saturating_sub(INTERVAL_MIN);
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            _ = changes.changed() => {}
            () = runtime.report_now.notified() => {}
        }
    }
}

fn refused(error: &Error) {
    tracing::warn!(%error, "the report about this host was refused");
}

fn follow(runtime: &Runtime, host: &dyn HostSide, answer: &ReportHostResponse) -> Duration {
    let ms = answer.report_interval.as_ref().and_then(duration_ms);
    let ms = ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    let interval = ms.map_or(INTERVAL_DEFAULT, Duration::from_millis);
    let Some(orders) = &answer.orders else { return interval };
    let standing = Standing { cordoned: orders.cordoned, draining: orders.draining };
    let is_new =
        runtime.standing.send_if_modified(|now| std::mem::replace(now, standing) != standing);
    if is_new {
        let message = standing.told(&runtime.options.worker_id);
        tracing::warn!(standing.cordoned, standing.draining, "{message}");
    }
    raise(&runtime.held, orders);
    host.follow(orders);
    if orders.detach {
        tracing::info!("ordered to end and to leave running what runs");
        runtime.detach.cancel();
    }
    interval
}

/// Stops the tasks that are to make room or to go elsewhere.
fn raise(held: &Held, orders: &HostOrders) {
    for order in &orders.tasks {
        let lease = Lease { task_id: order.task_id.clone(), attempt: order.attempt };
        let reason = match order.reason() {
            FailureReason::Preempted => StopReason::Preempted,
            _ => StopReason::HandedOver,
        };
        let note = StopNote {
            message: order.message.clone(),
            elsewhere: order.elsewhere,
            context: order.context.clone(),
        };
        held.raise_with(&lease, reason, note);
    }
}
