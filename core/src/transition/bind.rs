//! What ties a task to others.

use super::{Refusal, Step};
use crate::{
    event::{Fence, Tie},
    state::TaskState,
};

impl Step {
    pub(super) fn make_children(&mut self, fence: Fence) -> Result<(), Refusal> {
        self.fenced(fence)?;
        self.expect(&[TaskState::Running], "given tasks of its own")?;
        self.out.task.ties.children = true;
        Ok(())
    }

    /// Of a task that has ended nobody learns anything more.
    pub(super) fn bind(&mut self, tie: Tie) -> Result<(), Refusal> {
        let state = self.out.task.state;
        let verb = match tie {
            Tie::Awaited => "waited for",
            Tie::Signalled => "signalled",
            Tie::Twinned => "given a twin",
        };
        let is_twin = self.out.task.ties.twin;
        if tie == Tie::Twinned && is_twin {
            return Err(Refusal::Twin(verb));
        }
        let is_fit = tie != Tie::Twinned || state == TaskState::Running;
        if !is_fit || state.is_terminal() {
            return Err(Refusal::IllegalState { state, verb });
        }
        let ties = &mut self.out.task.ties;
        match tie {
            Tie::Awaited => ties.awaited = true,
            Tie::Signalled => ties.signalled = true,
            Tie::Twinned => ties.twinned = true,
        }
        Ok(())
    }
}
