//! Whether an attempt that asks to be run again would come further the next time.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::outcome::Outcome;
use crate::v1::{Content, FailureReason, Task};

/// What an attempt has changed for the one after it.
#[derive(Default)]
pub(super) struct Advance {
    /// The stage that was saved last is another than the one it was handed out with.
    stage: AtomicBool,
    /// The same of the context.
    context: AtomicBool,
    /// It has made tasks that were not there.
    children: AtomicBool,
}

impl Advance {
    /// It has saved this; `None` was left as it was.
    pub fn saved(&self, task: &Task, stage: Option<&str>, context: Option<&Content>) {
        if let Some(stage) = stage {
            self.stage.store(stage != task.stage, Relaxed);
        }
        if context.is_some() {
            self.context.store(context != task.context.as_ref(), Relaxed);
        }
    }

    /// It has made tasks.
    pub fn made_children(&self) {
        self.children.store(true, Relaxed);
    }

    pub(super) fn is_none(&self) -> bool {
        ![&self.stage, &self.context, &self.children].iter().any(|changed| changed.load(Relaxed))
    }

    /// An attempt that changes nothing and asks to be run again would be repeated for ever, and
    /// without a pause: it fails, so that the retry policy counts and delays it. One that waits
    /// fails only if the broker finds that nothing of it is still to come.
    pub fn demanded_of(&self, outcome: Outcome, task: &Task) -> Outcome {
        match outcome {
            Outcome::Released { reason: FailureReason::Checkpointed, exit_code, .. }
                if self.is_none() =>
            {
                let message = "it asked to be run again, but saved no stage or context that it \
                               did not begin with, and named nothing to wait for";
                Outcome::failed(FailureReason::Error, message).with_exit_code(exit_code)
            }
            Outcome::Waiting { wait_for, exit_code, .. } if self.is_none() => {
                let has_come = |name: &String| task.signals.contains_key(name);
                let or_fail = wait_for.signals.iter().all(has_come).then(|| {
                    "what it waits for is there already (of children: all have ended, or it has \
                     made none), and it saved no stage or context that it did not begin with"
                        .to_owned()
                });
                Outcome::Waiting { wait_for, or_fail, exit_code }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::WaitFor;

    fn run_again() -> Outcome {
        Outcome::released(FailureReason::Checkpointed, "again").with_exit_code(Some(85))
    }

    fn task() -> Task {
        let signals = [("come".to_owned(), Content::default())].into();
        let context = Some(Content { data: "1".into(), ..Content::default() });
        Task { stage: "split".into(), context, signals, ..Task::default() }
    }

    #[test]
    fn who_asks_to_be_run_again_has_saved_something_new() {
        let content = |data: &'static str| Content { data: data.into(), ..Content::default() };
        for (stage, context, advances) in [
            (None, None, false),
            (Some("split"), None, false),
            (Some("split"), Some(content("1")), false),
            (Some("join"), None, true),
            (None, Some(content("2")), true),
        ] {
            let advance = Advance::default();
            advance.saved(&task(), stage, context.as_ref());
            let outcome = advance.demanded_of(run_again(), &task());
            let is_failure =
                matches!(outcome, Outcome::Failed { permanent: false, exit_code: Some(85), .. });
            assert_eq!(is_failure, !advances, "{stage:?} {context:?}: {outcome:?}");
        }
    }

    #[test]
    fn who_waits_again_for_what_is_there_fails_unless_it_has_done_something() {
        let waiting = |children, signals: &[&str]| Outcome::Waiting {
            wait_for: WaitFor { children, signals: signals.iter().map(|s| (*s).into()).collect() },
            or_fail: None,
            exit_code: Some(85),
        };
        let may_fail = |advance: &Advance, outcome| {
            matches!(
                advance.demanded_of(outcome, &task()),
                Outcome::Waiting { or_fail: Some(_), .. }
            )
        };
        let nothing = Advance::default();
        assert!(may_fail(&nothing, waiting(true, &[])));
        assert!(may_fail(&nothing, waiting(false, &["come"])));
        assert!(!may_fail(&nothing, waiting(true, &["come", "missing"])));
        let made = Advance::default();
        made.made_children();
        assert!(!may_fail(&made, waiting(true, &[])));
    }
}
