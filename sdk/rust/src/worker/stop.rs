//! Why a running attempt should stop, and the signal that tells it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::v1::Content;

/// Why an attempt should stop; later reasons overrule earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopReason {
    /// The worker drains: save what is needed and end, the task is run again elsewhere.
    Drained,
    /// Its GPUs were idle for as long as it may leave them so.
    GpuIdle,
    /// It has to make room for others.
    Preempted,
    /// It is handed over: it goes on in another attempt, on another host if there is one for it.
    HandedOver,
    /// A GPU that it uses broke.
    GpuFault,
    /// It uses a GPU that it was not given.
    Trespassed,
    /// Somebody cancelled the task.
    Cancelled,
    /// It ran longer than `max_running_time`.
    TimedOut,
    /// Another attempt is in force: nothing that this one does counts any more.
    LeaseLost,
    /// The worker ends now, without grace.
    Aborted,
}

impl StopReason {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Drained => "the worker shuts down",
            Self::GpuIdle => "its GPUs were idle for too long",
            Self::Preempted => "it has to make room for others",
            Self::HandedOver => "it was handed over",
            Self::GpuFault => "a GPU that it used broke",
            Self::Trespassed => "it used a GPU that it was not given",
            Self::Cancelled => "the task was cancelled",
            Self::TimedOut => "max_running_time is over",
            Self::LeaseLost => "another attempt is in force",
            Self::Aborted => "the worker was told to end at once",
        }
    }

    /// For people, with what was said with it. Who orders a task to make room or to go elsewhere
    /// says why in whole sentences; what happened here needs the reason before it.
    pub(super) fn told(self, message: &str) -> String {
        match self {
            _ if message.is_empty() => self.text().to_owned(),
            Self::Preempted | Self::HandedOver => message.to_owned(),
            _ => format!("{}: {message}", self.text()),
        }
    }
}

impl StopReason {
    const ALL: [Self; 10] = [
        Self::Drained,
        Self::GpuIdle,
        Self::Preempted,
        Self::HandedOver,
        Self::GpuFault,
        Self::Trespassed,
        Self::Cancelled,
        Self::TimedOut,
        Self::LeaseLost,
        Self::Aborted,
    ];

    /// For files: does not change between versions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::GpuIdle => "gpu_idle",
            Self::Preempted => "preempted",
            Self::HandedOver => "handed_over",
            Self::GpuFault => "gpu_fault",
            Self::Trespassed => "trespassed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::LeaseLost => "lease_lost",
            Self::Aborted => "aborted",
        }
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// What is said with a reason.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StopNote {
    /// For people; empty = the reason's own text.
    pub message: String,
    /// The next attempt goes to another host.
    pub elsewhere: bool,
    /// The task's context after that, unless it says otherwise itself.
    pub context: Option<Content>,
}

#[derive(Clone, Debug, Default)]
struct State {
    reason: Option<StopReason>,
    /// Belongs to `reason`.
    note: Option<Arc<StopNote>>,
    cut_off: bool,
}

/// The signal of one attempt; clones share it.
#[derive(Clone, Debug)]
pub struct StopSignal(watch::Sender<State>);

impl StopSignal {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    /// Raises the reason; a weaker one than the present is ignored.
    pub(super) fn raise(&self, reason: StopReason) {
        self.raise_noted(reason, None);
    }

    pub(super) fn raise_noted(&self, reason: StopReason, note: Option<StopNote>) {
        self.0.send_if_modified(|state| {
            let stronger = state.reason < Some(reason);
            if stronger {
                state.reason = Some(reason);
                state.note = note.map(Arc::new);
            }
            stronger
        });
    }

    /// What was said with the reason, if anything.
    pub fn note(&self) -> Option<Arc<StopNote>> {
        self.0.borrow().note.clone()
    }

    /// Why the attempt should stop, for people.
    pub fn text(&self) -> String {
        let state = self.0.borrow();
        let Some(reason) = state.reason else { return String::new() };
        reason.told(state.note.as_ref().map_or("", |note| &note.message))
    }

    pub(super) fn set_cut_off(&self, cut_off: bool) {
        self.0.send_if_modified(|state| std::mem::replace(&mut state.cut_off, cut_off) != cut_off);
    }

    /// Why the attempt should stop, if it should.
    pub fn reason(&self) -> Option<StopReason> {
        self.0.borrow().reason
    }

    /// No heartbeat got through for a whole lease: another worker may have taken the task over. The
    /// attempt goes on, since the broker's fence decides, but should hold back irrevocable effects.
    pub fn is_cut_off(&self) -> bool {
        self.0.borrow().cut_off
    }

    /// Resolves when there is a stronger reason than `known`. Cancel safe.
    pub async fn raised_over(&self, known: Option<StopReason>) -> StopReason {
        let mut watching = self.0.subscribe();
        let found = watching.wait_for(|state| state.reason > known).await;
        // The sender lives in `self`, so waiting cannot fail.
        found.ok().and_then(|state| state.reason).unwrap_or(StopReason::Aborted)
    }

    /// Resolves when the reason is at least `least`. Cancel safe.
    pub async fn raised(&self, least: StopReason) -> StopReason {
        let mut watching = self.0.subscribe();
        let found = watching.wait_for(|state| state.reason >= Some(least)).await;
        // The sender lives in `self`, so waiting cannot fail.
        found.ok().and_then(|state| state.reason).unwrap_or(least)
    }
}

#[cfg(test)]
mod tests {
    use super::{StopNote, StopReason, StopSignal};

    #[tokio::test]
    async fn a_stronger_reason_overrules_and_a_weaker_one_does_not() {
        let stop = StopSignal::new();
        let note = StopNote { message: "for bob".to_owned(), ..StopNote::default() };
        stop.raise_noted(StopReason::Preempted, Some(note));
        stop.raise(StopReason::Drained);
        assert_eq!(stop.text(), "for bob");
        let what = StopNote { message: "GPU 0 showed XID 79".to_owned(), ..StopNote::default() };
        stop.raise_noted(StopReason::GpuFault, Some(what));
        assert_eq!(stop.text(), "a GPU that it used broke: GPU 0 showed XID 79");
        stop.raise(StopReason::Cancelled);
        assert_eq!(stop.text(), "the task was cancelled");
        assert_eq!(stop.reason(), Some(StopReason::Cancelled));
        stop.raise(StopReason::LeaseLost);
        assert_eq!(stop.raised(StopReason::Drained).await, StopReason::LeaseLost);
        let known = Some(StopReason::Cancelled);
        assert_eq!(stop.raised_over(known).await, StopReason::LeaseLost);
        stop.set_cut_off(true);
        assert!(stop.is_cut_off());
    }

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        for reason in StopReason::ALL {
            assert_eq!(StopReason::named(reason.name()), Some(reason));
        }
        assert_eq!(StopReason::named("tired"), None);
    }
}
