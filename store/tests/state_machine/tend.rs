//! What workers' sessions and the governor do, to the store and the model.

use std::collections::BTreeMap;

use asyncflow_core::{
    digest,
    event::{Event, Fence, Settle},
    id::{TaskId, TypeName},
    lease::Suspect,
    reason::FailureReason,
    state::TaskState,
    task::Task,
};
use asyncflow_store::{ApplyError, Departure, Registration, Store};

use super::{
    model::{Worker, worker_id},
    world::World,
};

/// More than there are.
const ALL: u32 = 10_000;
/// What lies further ahead is not waited for.
const SOON_MS: i64 = 60_000;

impl World {
    pub async fn register(&mut self, worker: usize, is_new: bool, adopts: usize, keeps: usize) {
        let former = self.model.workers.get(&worker).cloned();
        let incarnation = former.as_ref().map_or(0, |of| of.incarnation) + usize::from(is_new);
        let registration = Registration {
            worker_id: worker_id(worker),
            incarnation: format!("incarnation {incarnation}"),
            slots: 3,
            ..Registration::default()
        };
        let found = self.stores[0].register_worker(&registration).await.unwrap();
        let session_id = found.session_id;
        match &former {
            Some(former) if !is_new => {
                assert_eq!(session_id, former.session_id);
                assert_eq!(found.former_session_id, former.former_session_id);
                return;
            }
            former => {
                assert!(!self.model.sessions.contains(&session_id), "an old session");
                assert_eq!(found.former_session_id, former.as_ref().map(|of| of.session_id));
            }
        }
        self.model.sessions.push(session_id);
        let former_session_id = found.former_session_id;
        let registered = Worker { incarnation, session_id, former_session_id };
        self.model.workers.insert(worker, registered);
        let Some(old) = former_session_id else { return };
        let held: Vec<Task> = self.model.held(old).into_iter().cloned().collect();
        for task in held.iter().take(adopts) {
            let fence = Fence { attempt: task.attempt, session_id: old };
            let event = Event::Adopt { fence, session_id, lease_ttl_ms: 600_000 };
            let answer = self.stores[0].apply(vec![(task.id.clone(), event.clone())]).await;
            self.applied(&task.id, &event, answer.into_iter().next().unwrap());
        }
        let keep = held.iter().skip(adopts).take(keeps);
        let keep: Vec<_> = keep.map(|task| (task.id.clone(), task.attempt)).collect();
        self.give_back(worker, old, &keep, Departure::Restarted).await;
        // What the old session got by an acquire may be the new one's now.
        let acquires: Vec<_> =
            self.model.acquires.keys().filter(|of| of.0 == old).cloned().collect();
        for (session_id, acquire_id) in acquires {
            self.acquired(session_id, acquire_id).await;
        }
    }

    pub async fn leave(&mut self, worker: usize, departure: Departure) {
        let Some(of) = self.model.workers.remove(&worker) else { return };
        self.give_back(worker, of.session_id, &[], departure).await;
        self.stores[0].end_session(of.session_id).await.unwrap();
        assert_eq!(self.stores[1].get_session(of.session_id).await.unwrap(), None);
    }

    async fn give_back(
        &mut self,
        worker: usize,
        session_id: i64,
        keep: &[(TaskId, i32)],
        departure: Departure,
    ) {
        let mut wanted = BTreeMap::new();
        for task in self.model.held(session_id) {
            if !keep.contains(&(task.id.clone(), task.attempt)) {
                wanted.insert(task.id.clone(), given_back(task, departure));
            }
        }
        let (store, worker_id) = (&self.stores[0], worker_id(worker));
        let answers = store.release_session(&worker_id, session_id, keep, departure).await;
        for answer in answers.unwrap() {
            let id = answer.as_ref().unwrap().task.id.clone();
            let event = wanted.remove(&id).unwrap_or_else(|| panic!("{id} was given back"));
            self.applied(&id, &event, answer);
        }
        assert!(wanted.is_empty(), "not given back: {wanted:?}");
    }

    /// What is due soon is waited for, so that it does not matter how fast this is.
    pub async fn promote(&mut self, task_type: &TypeName, limit: u32) {
        let now_ms = self.stores[0].look_at_clock().await.unwrap();
        let due = |model: &super::model::Model| -> Vec<(TaskId, i64)> {
            let queue = model.queue(task_type, TaskState::Scheduled).into_iter();
            let due = queue.filter(|task| task.order_time_ms < now_ms + SOON_MS);
            due.map(|task| (task.id.clone(), task.order_time_ms)).collect()
        };
        let wanted = due(&self.model);
        let last_ms = wanted.iter().map(|(_, due_ms)| *due_ms).max().unwrap_or(0);
        passes(&self.stores[0], last_ms).await;
        let promoted = self.stores[0].promote_due(task_type, limit).await.unwrap();
        let found: Vec<&TaskId> = promoted.iter().map(|task| &task.id).collect();
        let wanted = wanted.iter().map(|(id, _)| id).take(limit as usize);
        assert_eq!(found, wanted.collect::<Vec<_>>(), "what is due");
        for task in promoted {
            let wanted = self.model.apply(&task.id, &Event::Promote, task.update_time_ms);
            assert_eq!(Ok(&task), wanted.as_ref());
        }
    }

    /// A heartbeat between the look and the reap, which renews the lease for no time at all.
    async fn renew(&mut self, id: &TaskId) {
        let task = &self.model.rows[id].task;
        let fence = Fence { attempt: task.attempt, session_id: task.holder.session_id };
        let event = Event::Heartbeat { fence, lease_ttl_ms: -3_600_000 };
        let answer = self.stores[1].apply(vec![(id.clone(), event.clone())]).await;
        self.applied(id, &event, answer.into_iter().next().unwrap());
    }

    pub async fn reap(&mut self, task_type: &TypeName, renews: bool) {
        let mut found = self.stores[0].expired_leases(task_type, ALL).await.unwrap();
        found.sort_by(|a, b| a.id.cmp(&b.id));
        let now_ms = self.stores[0].now_ms().await.unwrap();
        let rows = self.model.rows.values().map(|row| &row.task);
        let silent = rows.filter(|task| {
            let is_out = task.order_time_ms < now_ms - SOON_MS;
            task.id.task_type() == task_type && task.state.is_leased() && is_out
        });
        let wanted: Vec<Suspect> = silent.map(suspect).collect();
        assert_eq!(found, wanted, "leases that have run out");
        // By half of what is seen now, and by what was seen before, of which much is true no more.
        let half = found.len() / 2;
        if let Some(first) = found.first().filter(|_| renews).cloned() {
            self.renew(&first.id).await;
        }
        let mut reaps = std::mem::replace(&mut self.suspects, found.split_off(half));
        reaps.retain(|old| found.iter().all(|new| new.id != old.id));
        reaps.extend(found);
        let answers = self.stores[0].reap(reaps.clone(), None).await;
        assert_eq!(answers.len(), reaps.len());
        for (reap, answer) in reaps.into_iter().zip(answers) {
            let row = self.model.rows.get(&reap.id);
            let is_still = row.is_none_or(|row| {
                let Task { attempt, state, order_time_ms, holder, .. } = &row.task;
                (*attempt, holder.beats) == (reap.attempt, reap.beats)
                    && state.is_leased()
                    && *order_time_ms < now_ms - SOON_MS
            });
            if is_still {
                self.applied(&reap.id, &Event::LeaseExpired, answer);
                continue;
            }
            let Err(ApplyError::MovedOn(task)) = answer else { panic!("{reap:?}: {answer:?}") };
            assert_eq!(Some(&*task), row.map(|row| &row.task));
        }
    }
}

fn suspect(task: &Task) -> Suspect {
    let (attempt, beats) = (task.attempt, task.holder.beats);
    Suspect { id: task.id.clone(), attempt, beats, started: task.start_time_ms.is_some() }
}

/// What becomes of a task whose session is over. One that has taken its leave has not lost it.
fn given_back(task: &Task, departure: Departure) -> Event {
    if departure == Departure::Restarted || task.state == TaskState::Cancelling {
        return Event::WorkerRestarted;
    }
    let (attempt, session_id) = (task.attempt, task.holder.session_id);
    let settle = Settle::release(FailureReason::Drained, "its worker left", 0);
    let (digest, fence) = (digest::settle(&settle, None), Fence { attempt, session_id });
    Event::Settle { fence, settle, digest, exit_code: None, usage: None }
}

/// Returns when it is later than that by the database's clock.
async fn passes(store: &Store, time_ms: i64) {
    while store.look_at_clock().await.unwrap() <= time_ms {
        tokio::task::yield_now().await;
    }
}
