//! What brokers and the governor write: each step is one statement, on the condition that holds
//! for it, and what the row becomes is asked of the state machine.

use asyncflow_core::{
    event::Event,
    invariant::check_step,
    lease::is_out_of_force,
    task::{Content, ResultChange},
    transition::{Refusal, Transition, transition},
};

use super::{
    Action, Attempts, Bug, Call, Issued, Lease, Run, State, View, fence,
    row::{NOW_MS, Row, TTL_MS, WORKERS, settle, worker_of},
    rules::{self, Rule},
};

/// How a write was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Changed,
    /// It has happened already: OK, too.
    Known,
    Refused,
}

impl Lease {
    pub(super) fn of_brokers(&self, state: &State, actions: &mut Vec<Action>) {
        let views = if self.bounds.views { &[false, true][..] } else { &[false] };
        let by_views = |actions: &mut Vec<Action>, of: &dyn Fn(bool) -> Action| {
            let usable = views.iter().filter(|by_view| !**by_view || state.view.is_some());
            actions.extend(usable.map(|by_view| of(*by_view)));
        };
        let is_claimable = state.row.attempt < self.bounds.attempts;
        for session in state.known_sessions().filter(|_| is_claimable) {
            by_views(actions, &|by_view| Action::Claim { session, by_view });
        }
        for call in beats(state).chain(state.sent.iter().copied()) {
            by_views(actions, &|by_view| Action::Deliver { call, by_view });
            if matches!(call, Call::Register { .. }) {
                actions.push(Action::DeliverHalf { call });
            }
        }
        let is_old = state.view.is_none_or(|view| !view.is_current);
        if self.bounds.views && is_old {
            actions.push(Action::See);
        }
    }

    /// A broker that was told by nobody else what the row is looks at it; one that has a view of it
    /// writes what follows from that, if nobody has changed the row since.
    pub(super) fn apply(&self, state: &mut State, event: &Event, view: Option<View>) -> Answer {
        if let Some(view) = view
            && let Ok(after) = self.follows(view.row, event)
            && (view.is_current || self.bug == Some(Bug::NoCompare))
        {
            self.commit(state, event, &after);
            return Answer::Changed;
        }
        match self.follows(state.row, event) {
            Ok(after) => {
                self.commit(state, event, &after);
                Answer::Changed
            }
            Err(Refusal::AlreadyDone) => Answer::Known,
            Err(_) => Answer::Refused,
        }
    }

    fn follows(&self, row: Row, event: &Event) -> Result<Transition, Refusal> {
        match self.bug {
            None => transition(&row.task(), event, NOW_MS),
            Some(bug) => {
                let (row, event) = bug.forges(row, event.clone());
                transition(&row.task(), &event, NOW_MS)
            }
        }
    }

    fn commit(&self, state: &mut State, event: &Event, after: &Transition) {
        let before = state.row;
        if check_step(&before.task(), event, after).is_err() {
            state.broken.note(Rule::Step);
        }
        rules::watch(state, event, after);
        state.row = Row::of(&after.task);
        match self.bug {
            Some(Bug::NoDedupe) => state.row.forget_digest(),
            Some(Bug::AttemptKept)
                if matches!(event, Event::Claim { .. }) && state.row.session == before.session =>
            {
                state.row.attempt = before.attempt;
            }
            _ => {}
        }
        match &after.result {
            Some(ResultChange::Keep(Content { data, .. })) => {
                let attempt = std::str::from_utf8(data).ok().and_then(|text| text.parse().ok());
                state.result = attempt;
            }
            Some(ResultChange::Clear | ResultChange::Expire) => state.result = None,
            None => {}
        }
        let is_heard = after.task.holder.beats > before.task().holder.beats;
        if is_heard || state.row.attempt != before.attempt {
            for sighting in state.book.seen.iter_mut().chain(&mut state.reap) {
                sighting.is_fresh = false;
            }
            state.unheard = 0;
        }
        if !state.row.state.is_leased() {
            state.unheard = 0;
        }
        if let Some(view) = &mut state.view {
            view.is_current = false;
        }
    }

    pub(super) fn claim(&self, state: &mut State, session: i64, by_view: bool) {
        let worker_id = WORKERS[worker_of(session)].to_owned();
        let view = state.view.filter(|_| by_view);
        let claim = Event::Claim { worker_id, session_id: session, handout_ttl_ms: TTL_MS };
        let context = match view {
            Some(view) if view.is_current || self.bug == Some(Bug::NoCompare) => view.context,
            _ => state.context,
        };
        if self.apply(state, &claim, view) != Answer::Changed {
            return;
        }
        let attempt = state.row.attempt;
        let issued = Issued { session, context, version: state.row.context_version };
        rules::watch_issue(state, issued);
        state.issued[attempt as usize] = Some(issued);
        if !self.bounds.starts_later {
            let start = Event::Start { fence: fence(attempt, session), lease_ttl_ms: TTL_MS };
            self.apply(state, &start, None);
        }
    }

    pub(super) fn deliver(&self, state: &mut State, call: Call, by_view: bool) {
        let view = state.view.filter(|_| by_view);
        let event = match call {
            Call::Start { attempt, session } => {
                Event::Start { fence: fence(attempt, session), lease_ttl_ms: TTL_MS }
            }
            Call::Beat { attempt, session } => {
                Event::Heartbeat { fence: fence(attempt, session), lease_ttl_ms: TTL_MS }
            }
            Call::Save { attempt, session, after, .. } => Event::SaveContext {
                fence: fence(attempt, session),
                stage: None,
                context: Some(Content::default()),
                expected_version: self.bounds.names_version.then_some(after),
            },
            Call::Settle { attempt, session, ending } => settle(fence(attempt, session), ending),
            Call::Register { session, adopts } => return self.register(state, session, adopts),
        };
        let before = state.row;
        let answer = self.apply(state, &event, view);
        rules::watch_answer(state, call, before, answer);
        if let (Call::Save { attempt, number, .. }, Answer::Changed) = (call, answer) {
            state.context = attempt as u8 * 10 + number;
        }
        if answer != Answer::Refused && !matches!(call, Call::Beat { .. }) {
            state.accepted.insert(call);
        }
    }

    /// The new process has what it goes on with, and the rest is given back.
    fn register(&self, state: &mut State, session: i64, adopts: Attempts) {
        let kept = self.adopt(state, session, adopts);
        let row = state.row;
        let is_left = row.session == session - 2 && !kept.has(row.attempt);
        if row.state.is_leased() && (is_left || self.bug == Some(Bug::ReleaseOfAnybody)) {
            rules::watch_release(state, session);
            self.apply(state, &Event::WorkerRestarted, None);
        }
        let worker = worker_of(session);
        if session == state.sessions[worker] && !state.is_registered[worker] {
            state.kept[worker] = Some(kept);
        }
    }

    pub(super) fn adopt(&self, state: &mut State, session: i64, adopts: Attempts) -> Attempts {
        let mut kept = Attempts::default();
        for attempt in (1..=self.bounds.attempts).filter(|attempt| adopts.has(*attempt)) {
            let (old, new) = (fence(attempt, session - 2), fence(attempt, session));
            let adopt = Event::Adopt { fence: old, session_id: session, lease_ttl_ms: TTL_MS };
            self.apply(state, &adopt, None);
            let renew = Event::Heartbeat { fence: new, lease_ttl_ms: TTL_MS };
            if self.apply(state, &renew, None) != Answer::Refused {
                kept.add(attempt);
            }
        }
        kept
    }

    /// Written only if it is still as it was at the look; the store's guard `Silent`.
    pub(super) fn reap(&self, state: &mut State) {
        let Some(seen) = state.reap.take() else { return };
        let row = state.row;
        let task = row.task();
        let is_silent = (task.attempt, task.holder.beats) == (seen.attempt, seen.beats())
            && task.state.is_leased()
            && is_out_of_force(task.order_time_ms, NOW_MS);
        let writes = is_silent || self.bug == Some(Bug::ReapWithoutGuard);
        let reaps = writes && self.bug != Some(Bug::NoReap);
        if reaps && self.apply(state, &Event::LeaseExpired, None) == Answer::Changed {
            rules::watch_reap(state, row, seen);
        }
    }
}

impl State {
    /// Of processes that are or were registered: calls of those that are gone may still come.
    fn known_sessions(&self) -> impl Iterator<Item = i64> {
        let of_worker = |worker: usize| {
            let is_known = self.is_registered[worker] || self.kept[worker].is_some();
            let last = self.sessions[worker] - if is_known { 0 } else { 2 };
            (worker as i64 + 1..=last).step_by(2)
        };
        (0..2).flat_map(of_worker)
    }
}

/// The heartbeats of all processes that hold, or have held, something. They are sent all the time,
/// so they are always under way.
fn beats(state: &State) -> impl Iterator<Item = Call> {
    let runs = state.issued.iter().zip(&state.runs).zip(0..);
    let held = runs.filter_map(|((issued, run), attempt)| {
        run.filter(|run| *run != Run::Dropped)?;
        Some(((*issued)?.session, attempt))
    });
    held.flat_map(|(first, attempt)| {
        let last = state.sessions[worker_of(first)];
        (first..=last).step_by(2).map(move |session| Call::Beat { attempt, session })
    })
}
