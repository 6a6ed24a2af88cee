//! A task gives itself away: another host goes on with it.

use std::time::Duration;

use super::{outcome::Outcome, stop::StopReason};
use crate::v1::{Content, FailureReason};

/// One that gives itself away as it came waits so long, or it would wander about without a pause.
const UNCHANGED_DELAY: Duration = Duration::from_secs(5);

/// What a task says when it gives itself away.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HandOver {
    /// What the other one goes on from; `None` = what was saved last.
    pub context: Option<Content>,
    /// Why, for people.
    pub message: String,
}

impl HandOver {
    /// The outcome of an attempt that said so and then ended with `outcome`.
    pub(super) fn instead_of(
        self,
        outcome: Outcome,
        told: Option<StopReason>,
        advances: bool,
    ) -> Outcome {
        use StopReason::{Drained, GpuFault, HandedOver, Preempted};
        let exit_code = outcome.exit_code();
        let mut given = match told {
            None => self.by_itself(advances),
            // It was to go anyway; why stays what it was told.
            Some(told @ (Drained | Preempted | HandedOver | GpuFault)) => Outcome::stopped(told),
            Some(_) => return outcome,
        };
        if let Outcome::Released { context, elsewhere, .. } = &mut given {
            *context = self.context;
            *elsewhere = true;
        }
        given.with_exit_code(exit_code)
    }

    fn by_itself(&self, advances: bool) -> Outcome {
        let message = match self.message.as_str() {
            "" => "it gave itself away",
            message => message,
        };
        let mut outcome = Outcome::released(FailureReason::HandedOver, message);
        if let Outcome::Released { delay, .. } = &mut outcome {
            *delay = (!advances).then_some(UNCHANGED_DELAY);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &'static str) -> Option<Content> {
        Some(Content { data: data.into(), ..Content::default() })
    }

    fn said() -> HandOver {
        HandOver { context: content("100000"), message: "the disk is full".to_owned() }
    }

    #[test]
    fn who_gives_itself_away_is_released_whatever_its_code() {
        for code in [0, 1, 75, 85, -9] {
            let failed = Outcome::failed(FailureReason::Error, "").with_exit_code(Some(code));
            let given = said().instead_of(failed, None, true);
            let expected = Outcome::Released {
                reason: FailureReason::HandedOver,
                message: "the disk is full".to_owned(),
                delay: None,
                exit_code: Some(code),
                context: content("100000"),
                elsewhere: true,
            };
            assert_eq!(given, expected);
        }
    }

    #[test]
    fn who_gives_itself_away_as_it_came_waits_a_moment() {
        let failed = || Outcome::failed(FailureReason::Error, "");
        let given = HandOver::default().instead_of(failed(), None, false);
        assert!(
            matches!(
                given,
                Outcome::Released { delay: Some(UNCHANGED_DELAY), elsewhere: true, .. }
            ),
            "{given:?}"
        );
    }

    #[test]
    fn who_was_told_to_stop_goes_for_that_reason_and_who_is_cancelled_goes_nowhere() {
        let told = |reason| said().instead_of(Outcome::stopped(reason), Some(reason), true);
        let preempted = told(StopReason::Preempted);
        assert!(
            matches!(
                &preempted,
                Outcome::Released {
                    reason: FailureReason::Preempted,
                    context: Some(_),
                    elsewhere: true,
                    ..
                }
            ),
            "{preempted:?}"
        );
        for reason in [StopReason::Cancelled, StopReason::TimedOut, StopReason::LeaseLost] {
            assert_eq!(told(reason), Outcome::stopped(reason));
        }
    }
}
