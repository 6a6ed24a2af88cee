//! What workers do: they act on what they were told, whatever has become of it since.

use super::{Action, Attempts, Call, Ending, Issued, Lease, Run, State, row::worker_of};

impl Lease {
    pub(super) fn of_workers(&self, state: &State, actions: &mut Vec<Action>) {
        for attempt in 1..=self.bounds.attempts {
            let Some(issued) = state.issued[attempt as usize] else { continue };
            self.of_run(state, attempt, issued, actions);
        }
        let restarts: i64 = state.sessions.iter().map(|session| (session - 1) / 2).sum();
        for worker in 0..2 {
            if state.is_registered[worker] && restarts < self.bounds.restarts {
                actions.push(Action::Restart { worker, goes_on: true });
                actions.push(Action::Restart { worker, goes_on: false });
                if self.bounds.dies {
                    actions.push(Action::Die { worker });
                }
            }
            if !state.is_registered[worker] && state.kept[worker].is_some() {
                actions.push(Action::Resume { worker });
            }
        }
    }

    fn of_run(&self, state: &State, attempt: i32, issued: Issued, actions: &mut Vec<Action>) {
        let session = state.sessions[worker_of(issued.session)];
        match state.runs[attempt as usize] {
            // Who was killed before it heard of it never does.
            None if session == issued.session => actions.push(Action::Take { attempt }),
            Some(Run::Taken) if state.accepted.contains(&Call::Start { attempt, session }) => {
                actions.push(Action::Begin { attempt });
            }
            Some(Run::Running { saves }) => {
                let is_answered = |call: &Call| {
                    matches!(call, Call::Save { attempt: of, number, .. }
                    if (*of, *number) == (attempt, saves))
                };
                let may_save = saves == 0 || state.accepted.iter().any(is_answered);
                if saves < self.bounds.saves && may_save && state.is_registered[worker_of(session)]
                {
                    actions.push(Action::Save { attempt });
                }
                actions.push(Action::End { attempt, ending: Ending::Complete });
                if self.bounds.fails {
                    actions.push(Action::End { attempt, ending: Ending::Fail });
                }
            }
            _ => {}
        }
    }

    pub(super) fn take(&self, state: &mut State, attempt: i32) {
        let Some(issued) = state.issued[attempt as usize] else { return };
        state.runs[attempt as usize] = Some(match self.bounds.starts_later {
            true => Run::Taken,
            false => Run::Running { saves: 0 },
        });
        if self.bounds.starts_later {
            state.sent.insert(Call::Start { attempt, session: issued.session });
        }
    }

    pub(super) fn save(&self, state: &mut State, attempt: i32) {
        let Some(issued) = state.issued[attempt as usize] else { return };
        let Some(Run::Running { saves }) = state.runs[attempt as usize] else { return };
        let session = state.sessions[worker_of(issued.session)];
        let after = issued.version + i64::from(saves);
        state.sent.insert(Call::Save { attempt, session, number: saves + 1, after });
        state.runs[attempt as usize] = Some(Run::Running { saves: saves + 1 });
    }

    /// Journal first, then the broker.
    pub(super) fn end(&self, state: &mut State, attempt: i32, ending: Ending) {
        state.runs[attempt as usize] = Some(Run::Ended(ending));
        let Some(issued) = state.issued[attempt as usize] else { return };
        let worker = worker_of(issued.session);
        if state.is_registered[worker] {
            let session = state.sessions[worker];
            state.sent.insert(Call::Settle { attempt, session, ending });
        }
    }

    /// Its next session never begins.
    pub(super) fn die(&self, state: &mut State, worker: usize) {
        state.sessions[worker] += 2;
        state.is_registered[worker] = false;
        state.kept[worker] = None;
        self.each_run_of(state, worker, |_, run| *run = Run::Dropped);
    }

    pub(super) fn restart(&self, state: &mut State, worker: usize, goes_on: bool) {
        state.sessions[worker] += 2;
        state.is_registered[worker] = false;
        state.kept[worker] = None;
        let session = state.sessions[worker];
        let mut adopts = Attempts::default();
        self.each_run_of(state, worker, |attempt, run| match run {
            Run::Running { .. } if goes_on => adopts.add(attempt),
            Run::Ended(_) => adopts.add(attempt),
            _ => *run = Run::Dropped,
        });
        state.sent.insert(Call::Register { session, adopts });
    }

    /// It lets go of what it may not go on with, and delivers what the journal holds.
    pub(super) fn resume(&self, state: &mut State, worker: usize) {
        state.is_registered[worker] = true;
        let kept = state.kept[worker].unwrap_or_default();
        let session = state.sessions[worker];
        let mut calls = Vec::new();
        self.each_run_of(state, worker, |attempt, run| match *run {
            Run::Ended(ending) => calls.push(Call::Settle { attempt, session, ending }),
            _ if kept.has(attempt) => {}
            _ => *run = Run::Dropped,
        });
        state.sent.extend(calls);
    }

    fn each_run_of(&self, state: &mut State, worker: usize, mut each: impl FnMut(i32, &mut Run)) {
        for attempt in 1..=self.bounds.attempts {
            let of = state.issued[attempt as usize].map(|issued| worker_of(issued.session));
            if let (true, Some(run)) = (of == Some(worker), &mut state.runs[attempt as usize]) {
                each(attempt, run);
            }
        }
    }
}
