//! Why a running attempt should stop, and the signal that tells it.

use tokio::sync::watch;

/// Why an attempt should stop; later reasons overrule earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopReason {
    /// The worker drains: save what is needed and end, the task is run again elsewhere.
    Drained,
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
            Self::Cancelled => "the task was cancelled",
            Self::TimedOut => "max_running_time is over",
            Self::LeaseLost => "another attempt is in force",
            Self::Aborted => "the worker was told to end at once",
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    reason: Option<StopReason>,
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
        self.0.send_if_modified(|state| {
            let stronger = state.reason < Some(reason);
            if stronger {
                state.reason = Some(reason);
            }
            stronger
        });
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
    use super::{StopReason, StopSignal};

    #[tokio::test]
    async fn a_stronger_reason_overrules_and_a_weaker_one_does_not() {
        let stop = StopSignal::new();
        stop.raise(StopReason::Cancelled);
        stop.raise(StopReason::Drained);
        assert_eq!(stop.reason(), Some(StopReason::Cancelled));
        stop.raise(StopReason::LeaseLost);
        assert_eq!(stop.raised(StopReason::Drained).await, StopReason::LeaseLost);
        stop.set_cut_off(true);
        assert!(stop.is_cut_off());
    }
}
