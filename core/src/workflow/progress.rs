//! How far a workflow is: the states of the whole and of its nodes, and counts of what has ended.

use super::graph::{Node, Policy};

/// How a node, or one of its items, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed,
    Cancelled,
    /// It was not needed: its condition did not hold, or what it waited for went another way.
    Skipped,
}

/// How many ended, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub succeeded: u32,
    pub failed: u32,
    pub cancelled: u32,
    pub skipped: u32,
}

impl Tally {
    /// `count` that ended like this.
    pub fn of(outcome: Outcome, count: u32) -> Self {
        let mut tally = Self::default();
        *tally.slot(outcome) = count;
        tally
    }

    /// Adds what ended since.
    pub fn add(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.skipped += other.skipped;
    }

    /// How many ended.
    pub fn ended(&self) -> u32 {
        self.succeeded + self.failed + self.cancelled + self.skipped
    }

    fn slot(&mut self, outcome: Outcome) -> &mut u32 {
        match outcome {
            Outcome::Succeeded => &mut self.succeeded,
            Outcome::Failed => &mut self.failed,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Skipped => &mut self.skipped,
        }
    }

    /// Whether a policy is broken, whatever becomes of those of `total` that have not ended.
    pub(super) fn breaks(&self, policy: Policy, total: u32) -> bool {
        match policy {
            Policy::FailFast => self.failed + self.cancelled > 0,
            Policy::Continue => false,
            Policy::AtLeast(least) => self.succeeded + (total - self.ended()) < least.min(total),
        }
    }

    /// How the whole ended, once all of its `total` parts have.
    pub(super) fn outcome(&self, policy: Policy) -> Outcome {
        match policy {
            Policy::AtLeast(least) if self.succeeded >= least.min(self.ended()) => {
                Outcome::Succeeded
            }
            Policy::AtLeast(_) => Outcome::Failed,
            Policy::FailFast | Policy::Continue if self.failed > 0 => Outcome::Failed,
            Policy::FailFast | Policy::Continue if self.cancelled > 0 => Outcome::Cancelled,
            Policy::FailFast | Policy::Continue => Outcome::Succeeded,
        }
    }
}

/// Where a node is in its life. The numbers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeState {
    /// What it waits for has not ended.
    #[default]
    Waiting = 1,
    /// It was started, and not all of its items have ended.
    Running = 2,
    /// The rest of its items is being stopped.
    Stopping = 3,
    Succeeded = 4,
    Failed = 5,
    Cancelled = 6,
    Skipped = 7,
}

impl NodeState {
    pub const ALL: [NodeState; 7] = [
        Self::Waiting,
        Self::Running,
        Self::Stopping,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::Skipped,
    ];

    /// The stored number, 1 to 7.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// How it ended; `None` if it has not.
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Waiting | Self::Running | Self::Stopping => None,
            Self::Succeeded => Some(Outcome::Succeeded),
            Self::Failed => Some(Outcome::Failed),
            Self::Cancelled => Some(Outcome::Cancelled),
            Self::Skipped => Some(Outcome::Skipped),
        }
    }
}

impl From<Outcome> for NodeState {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Skipped => Self::Skipped,
        }
    }
}

/// How far a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProgress {
    pub state: NodeState,
    /// Of the nodes that it waits for: what has ended.
    pub needs: Tally,
    /// How many items it has; 0 until it is started.
    pub items: u32,
    /// How many of them were started, in the order of [`item`](Self::item).
    pub started: u32,
    /// Of its items: what has ended.
    pub ended: Tally,
    /// Those that run again after a retry, in the order in which they do; empty for most.
    pub again: Vec<u32>,
}

impl NodeProgress {
    /// Which item is started as the one with this number: its own, until the node is retried. Then
    /// those that need not run again count as the first ones.
    pub fn item(&self, number: u32) -> u32 {
        let kept = self.items - (self.again.len() as u32).min(self.items);
        match number.checked_sub(kept).and_then(|at| self.again.get(at as usize)) {
            Some(item) => *item,
            None => number,
        }
    }

    /// How many more items may be started now.
    pub(super) fn room<W>(&self, node: &Node<W>) -> u32 {
        let left = self.items - self.started;
        match node.parallel_max {
            0 => left,
            most => left.min(most.saturating_sub(self.started - self.ended.ended())),
        }
    }
}

/// Where a workflow is in its life. The numbers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum WorkflowState {
    #[default]
    Running = 1,
    /// A part did not succeed and the policy gives up the rest, which is being stopped.
    Failing = 2,
    /// Somebody cancelled it; what runs is being stopped.
    Cancelling = 3,
    Succeeded = 4,
    Failed = 5,
    Cancelled = 6,
}

impl WorkflowState {
    pub const ALL: [WorkflowState; 6] = [
        Self::Running,
        Self::Failing,
        Self::Cancelling,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stored number, 1 to 6.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The state with this stored number, or `None`.
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The name that clients see, in capitals without prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Failing => "FAILING",
            Self::Cancelling => "CANCELLING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    /// Nothing follows unless it is retried.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The rest was given up.
    pub const fn is_stopping(self) -> bool {
        matches!(self, Self::Failing | Self::Cancelling)
    }
}

/// How far a workflow is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub state: WorkflowState,
    /// Of its nodes: what has ended.
    pub nodes: Tally,
}
