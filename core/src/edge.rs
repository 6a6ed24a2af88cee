//! The edges of the state machine as a table, for tests, for `debug_assert!` and for the document.
//!
//! [`crate::transition`] decides; this says what it may decide. `docs/STATE-MACHINE.md` shows the
//! same table, and a test keeps the two equal.

use crate::state::TaskState::{
    self, Blocked, Cancelled, Cancelling, Failed, Paused, Pending, Running, Scheduled, Succeeded,
};

/// From these states, by this event (see [`crate::event::Event::name`]), to one of those.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub event: &'static str,
    pub from: &'static [TaskState],
    pub to: &'static [TaskState],
}

const fn edge(event: &'static str, from: &'static [TaskState], to: &'static [TaskState]) -> Edge {
    Edge { event, from, to }
}

/// Every edge. A pair of state and event that is not here is refused.
pub const EDGES: &[Edge] = &[
    edge("Claim", &[Pending], &[Running]),
    edge("Start", &[Running], &[Running]),
    edge("Start", &[Cancelling], &[Cancelling]),
    edge("Heartbeat", &[Running], &[Running]),
    edge("Heartbeat", &[Cancelling], &[Cancelling]),
    edge("Adopt", &[Running], &[Running]),
    edge("Adopt", &[Cancelling], &[Cancelling]),
    edge("Report", &[Running], &[Running]),
    edge("Report", &[Cancelling], &[Cancelling]),
    edge("SaveContext", &[Running], &[Running]),
    edge("SaveContext", &[Cancelling], &[Cancelling]),
    edge("Complete", &[Running], &[Succeeded, Scheduled, Failed]),
    edge("Complete", &[Cancelling], &[Succeeded, Cancelled]),
    edge("Fail", &[Running], &[Scheduled, Failed]),
    edge("Fail", &[Cancelling], &[Cancelled]),
    edge("Release", &[Running], &[Pending, Scheduled]),
    edge("Release", &[Cancelling], &[Cancelled]),
    edge("Wait", &[Running], &[Blocked, Pending, Scheduled, Failed]),
    edge("Wait", &[Cancelling], &[Cancelled]),
    edge("MakeChildren", &[Running], &[Running]),
    edge("Bind", &[Pending], &[Pending]),
    edge("Bind", &[Scheduled], &[Scheduled]),
    edge("Bind", &[Blocked], &[Blocked]),
    edge("Bind", &[Paused], &[Paused]),
    edge("Bind", &[Running], &[Running]),
    edge("Bind", &[Cancelling], &[Cancelling]),
    edge("LeaseExpired", &[Running], &[Pending, Scheduled, Failed]),
    edge("LeaseExpired", &[Cancelling], &[Cancelled]),
    edge("WorkerRestarted", &[Running], &[Pending, Scheduled, Failed]),
    edge("WorkerRestarted", &[Cancelling], &[Cancelled]),
    edge("Overtake", &[Running, Pending, Scheduled], &[Succeeded]),
    edge("Promote", &[Scheduled], &[Pending]),
    edge("Unblock", &[Blocked], &[Pending, Scheduled]),
    edge("Unblock", &[Paused], &[Paused]),
    edge("DependencyFail", &[Blocked, Paused], &[Failed]),
    edge("Expire", &[Pending, Scheduled], &[Failed]),
    edge("Cancel", &[Pending, Scheduled, Blocked, Paused], &[Cancelled]),
    edge("Cancel", &[Running], &[Cancelling]),
    edge("Retry", &[Succeeded, Failed, Cancelled], &[Pending, Scheduled, Blocked]),
    edge("Pause", &[Pending, Scheduled, Blocked], &[Paused]),
    edge("Resume", &[Paused], &[Pending, Scheduled, Blocked]),
    edge("Update", &[Pending], &[Pending, Scheduled]),
    edge("Update", &[Scheduled], &[Scheduled]),
    edge("Update", &[Blocked], &[Blocked]),
    edge("Update", &[Paused], &[Paused]),
    edge("Update", &[Running], &[Running]),
    edge("Update", &[Cancelling], &[Cancelling]),
    edge("ExpireResult", &[Succeeded], &[Succeeded]),
];

/// Whether `event` may lead from one state to the other.
pub fn is_allowed(from: TaskState, event: &str, to: TaskState) -> bool {
    EDGES.iter().any(|e| e.event == event && e.from.contains(&from) && e.to.contains(&to))
}
