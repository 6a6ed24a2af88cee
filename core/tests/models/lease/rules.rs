//! What must hold in every state, and what must happen in some.

use asyncflow_core::{event::Event, state::TaskState, transition::Transition};
use stateright::Property;

use super::{
    Bounds, Call, Issued, Lease, Run, State,
    book::{LOOKS_MAX, Sighting},
    broker::Answer,
    row::Row,
};

/// What was broken on the way here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Broken(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Step,
    End,
    Attempt,
    Fence,
    Replay,
    Version,
    Context,
    Order,
    Heard,
}

impl Broken {
    pub fn note(&mut self, rule: Rule) {
        self.0 |= 1 << rule as u16;
    }

    fn has(self, rule: Rule) -> bool {
        self.0 & 1 << rule as u16 != 0
    }
}

pub const STEP: &str = "every step is one of the state machine's";
pub const END: &str = "a run ends once, and nothing is written after its end";
pub const ATTEMPT: &str = "attempts rise by one, and each is given to one session";
pub const FENCE: &str = "what is taken from a worker carries attempt and session in force";
pub const REPLAY: &str = "a completion that is repeated is answered as the first";
pub const VERSION: &str = "versions of the context have no gaps";
pub const CONTEXT: &str = "an attempt begins with the context that was saved last";
pub const ORDER: &str = "no save brings an older context back";
pub const HEARD: &str = "nobody whose heartbeats arrive loses its task";
pub const RESULT: &str = "the result is that of the attempt that completed the task";

/// What a statement does, against the row before it.
pub fn watch(state: &mut State, event: &Event, after: &Transition) {
    let before = state.row;
    if before.state.is_terminal() && !event.revives() {
        state.broken.note(Rule::End);
    }
    let fence = match event {
        Event::Start { fence, .. }
        | Event::Heartbeat { fence, .. }
        | Event::Adopt { fence, .. }
        | Event::SaveContext { fence, .. }
        | Event::Settle { fence, .. } => Some(*fence),
        _ => None,
    };
    if fence.is_some_and(|fence| fence != before.fence() || !before.state.is_leased()) {
        state.broken.note(Rule::Fence);
    }
    let saves = i64::from(matches!(event, Event::SaveContext { .. }));
    if after.task.context_version != before.context_version + saves {
        state.broken.note(Rule::Version);
    }
}

/// It is decided that the task is taken back. One that was not started has nobody to be heard of.
pub fn watch_look(state: &mut State) {
    if state.row.is_started && state.unheard < LOOKS_MAX {
        state.broken.note(Rule::Heard);
    }
}

/// And it was taken back, from the row before, by what was seen of it.
pub fn watch_reap(state: &mut State, before: Row, seen: Sighting) {
    if before.attempt != seen.attempt || !seen.is_fresh {
        state.broken.note(Rule::Heard);
    }
}

/// What a claim hands out; the row is after it.
pub fn watch_issue(state: &mut State, issued: Issued) {
    let attempt = state.row.attempt as usize;
    let before = &state.issued[..attempt];
    let is_next = before.iter().skip(1).all(Option::is_some) && state.issued[attempt].is_none();
    if !is_next {
        state.broken.note(Rule::Attempt);
    }
    if issued.context != last_saved(state) {
        state.broken.note(Rule::Context);
    }
}

/// Of all saves that were answered with OK.
fn last_saved(state: &State) -> u8 {
    let saves = state.accepted.iter().filter_map(|call| match call {
        Call::Save { attempt, number, .. } => Some(*attempt as u8 * 10 + number),
        _ => None,
    });
    saves.max().unwrap_or_default()
}

/// A call's answer, before it is noted.
pub fn watch_answer(state: &mut State, call: Call, before: Row, answer: Answer) {
    match call {
        Call::Settle { attempt, ending, .. } => {
            let is_repeated = state.accepted.iter().any(|first| {
                matches!(first, Call::Settle { attempt: a, ending: e, .. }
                    if (*a, *e) == (attempt, ending))
            });
            // Until the next claim, as is documented.
            if is_repeated && before.attempt == attempt && answer != Answer::Known {
                state.broken.note(Rule::Replay);
            }
        }
        Call::Save { attempt, number, .. }
            if answer == Answer::Changed && attempt as u8 * 10 + number <= last_saved(state) =>
        {
            state.broken.note(Rule::Order);
        }
        _ => {}
    }
}

/// A lease is taken from its holder because the process of `session` has begun.
pub fn watch_release(state: &mut State, session: i64) {
    if state.row.session != session - 2 {
        state.broken.note(Rule::Heard);
    }
}

pub fn properties(bounds: &Bounds) -> Vec<Property<Lease>> {
    let mut properties = vec![
        Property::always(STEP, |_, state: &State| !state.broken.has(Rule::Step)),
        Property::always(END, |_, state: &State| !state.broken.has(Rule::End)),
        Property::always(ATTEMPT, |_, state: &State| !state.broken.has(Rule::Attempt)),
        Property::always(FENCE, |_, state: &State| !state.broken.has(Rule::Fence)),
        Property::always(REPLAY, |_, state: &State| !state.broken.has(Rule::Replay)),
        Property::always(HEARD, |_, state: &State| !state.broken.has(Rule::Heard)),
        Property::always(RESULT, |_, state: &State| {
            let is_kept = state.row.state == TaskState::Succeeded;
            state.result == is_kept.then_some(state.row.attempt)
        }),
        Property::sometimes("a task succeeds", |_, s: &State| s.row.state == TaskState::Succeeded),
        Property::sometimes("a second attempt runs", |_, state: &State| {
            state.row.attempt == 2 && matches!(state.runs[2], Some(Run::Running { .. }))
        }),
        Property::sometimes("a completion comes too late", |_, state: &State| {
            state.sent.iter().any(|call| match call {
                Call::Settle { attempt, .. } => {
                    *attempt < state.row.attempt && !state.accepted.contains(call)
                }
                _ => false,
            })
        }),
        Property::sometimes("two programs run at once, and one is heard", |_, state: &State| {
            let runs = |run: &&Option<Run>| matches!(run, Some(Run::Running { .. }));
            state.runs.iter().filter(runs).count() > 1 && state.row.state.is_leased()
        }),
    ];
    if bounds.saves > 0 {
        properties.extend([
            Property::always(VERSION, |_, state: &State| !state.broken.has(Rule::Version)),
            Property::always(CONTEXT, |_, state: &State| !state.broken.has(Rule::Context)),
            Property::always(ORDER, |_, state: &State| !state.broken.has(Rule::Order)),
            Property::sometimes("an attempt goes on from another's context", |_, state: &State| {
                state.issued[2].is_some_and(|issued| issued.context > 10)
            }),
        ]);
    }
    if bounds.restarts > 0 {
        properties.extend([
            Property::sometimes("a lease goes over to the next process", |_, state: &State| {
                let claimed = state.issued[state.row.attempt as usize];
                let is_adopted = claimed.is_some_and(|by| by.session < state.row.session);
                state.row.state.is_leased() && is_adopted
            }),
            Property::sometimes("the next process delivers the journal", |_, state: &State| {
                let is_new = |call: &Call| match call {
                    Call::Settle { attempt, session, .. } => {
                        state.issued[*attempt as usize].is_some_and(|by| by.session < *session)
                    }
                    _ => false,
                };
                state.row.state.is_terminal() && state.accepted.iter().any(is_new)
            }),
        ]);
    }
    if bounds.cancels {
        properties
            .push(Property::sometimes("a task is cancelled while it runs", |_, state: &State| {
                state.row.state == TaskState::Cancelled && state.row.attempt > 0
            }));
    }
    if bounds.retries > 0 {
        properties.push(Property::sometimes("a second run succeeds", |_, state: &State| {
            state.row.run == 1 && state.row.state == TaskState::Succeeded
        }));
    }
    properties
}
