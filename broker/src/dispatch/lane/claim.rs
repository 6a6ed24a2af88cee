//! One claim of a lane.
//!
//! ```text
//!  reserve ─▶ candidates ─▶ marks ─▶ the next claim
//!              (reads)        └────▶ claim_candidates ─▶ deal      in a task of its own
//! ```
//!
//! So that neither the database nor the broker waits for the other, the next claim reads behind the
//! marks of one that is still being written. Where other brokers claim too, tasks are locked as
//! they are read, and one claim follows the other.

use std::{collections::BTreeMap, sync::Arc};

use asyncflow_core::id::ShardId;
use asyncflow_store::{Assigned, ClaimRequest, Claimed, Mark, StoreError, Taker};
use tokio::sync::OwnedSemaphorePermit;

use super::{CLAIMS_MAX, CROWDED, Lane, PAUSE};
use crate::{
    clock,
    dispatch::{Dispatch, parking::Reserved},
};

/// A claim that is being written, until that has ended, however.
struct Writing {
    lane: Arc<Lane>,
    number: u64,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.lane.lock().marks.end_claim(self.number);
    }
}

impl Lane {
    /// One claim for everybody who waits. Whether there may be more to claim for them.
    pub(super) async fn claim(
        self: &Arc<Self>,
        dispatch: &Dispatch,
        is_alone: bool,
    ) -> Result<bool, StoreError> {
        let shared = &dispatch.shared;
        let limit = match shared.store.get_type(&self.name).await? {
            Some(task_type) if !task_type.paused => task_type.schedule_limit.unsigned_abs(),
            _ => return Ok(false),
        };
        let mut permits = Vec::new();
        self.await_turn(&mut permits).await;
        let reserved = shared.parking.reserve(&self.name, u32::MAX);
        if reserved.is_empty() {
            return Ok(false);
        }
        let after = self.begin(&mut permits).await;
        let request = ClaimRequest {
            task_type: self.name.clone(),
            limit,
            takers: reserved.iter().map(|one| dispatch.taker(one, Some(&self.name))).collect(),
            is_alone,
            after,
            bytes_max: shared.settings.answer_bytes_max,
            handout_ttl_ms: shared.settings.handout_ttl_ms,
        };
        if is_alone {
            self.claim_apart(dispatch, reserved, request, permits).await
        } else {
            self.claim_here(dispatch, reserved, request).await
        }
    }

    /// Waits until few enough claims are under way, and none that writes tasks which one that began
    /// now would read: the two would be in each other's way, as if there were another broker.
    async fn await_turn(&self, permits: &mut Vec<OwnedSemaphorePermit>) {
        while permits.is_empty() || (permits.len() < CLAIMS_MAX && self.lock().marks.meet_a_claim())
        {
            // The semaphore is never closed.
            permits.extend(Arc::clone(&self.claims).acquire_owned().await.ok());
        }
    }

    /// Where a claim begins. Seldom something was told since its turn came, and it waits again.
    async fn begin(&self, permits: &mut Vec<OwnedSemaphorePermit>) -> BTreeMap<ShardId, Mark> {
        loop {
            {
                let mut state = self.lock();
                if permits.len() >= CLAIMS_MAX || !state.marks.meet_a_claim() {
                    state.has_news = false;
                    return state.marks.begin();
                }
            }
            self.await_turn(permits).await;
        }
    }

    /// Claims and deals before anything else happens in this lane.
    async fn claim_here(
        self: &Arc<Self>,
        dispatch: &Dispatch,
        reserved: Vec<Reserved>,
        request: ClaimRequest,
    ) -> Result<bool, StoreError> {
        let claimed = dispatch.shared.store.claim(&request).await;
        let claimed = claimed.inspect_err(|_| dispatch.deal(&reserved, Vec::new()))?;
        dispatch.shared.placer.set_aside(&claimed.aside);
        let got = claimed.leased.len();
        // What a repeated acquire does not get again is left.
        let is_full = claimed.is_cut || got >= request.wanted() || !claimed.replays.is_empty();
        {
            let mut state = self.lock();
            state.marks.advance(claimed.marks.clone());
            state.found(got, is_full);
        }
        self.deal(dispatch, &reserved, &request, claimed).await;
        self.look_back_after(dispatch, is_full);
        Ok(is_full)
    }

    /// Finds the tasks, and leaves it to a task of its own to claim and deal them. Those that it
    /// does not get are ahead of the marks, which are lowered again.
    async fn claim_apart(
        self: &Arc<Self>,
        dispatch: &Dispatch,
        reserved: Vec<Reserved>,
        request: ClaimRequest,
        permits: Vec<OwnedSemaphorePermit>,
    ) -> Result<bool, StoreError> {
        let candidates = dispatch.shared.store.candidates(&request).await;
        let candidates = candidates.inspect_err(|_| dispatch.deal(&reserved, Vec::new()))?;
        dispatch.shared.placer.set_aside(&candidates.aside);
        let (count, starts) = (candidates.count(), candidates.starts());
        let is_full = candidates.is_cut || count >= request.wanted();
        let writing = {
            let mut state = self.lock();
            state.found(count, is_full);
            let number = state.marks.begin_claim(starts.clone(), candidates.marks.clone());
            Writing { lane: Arc::clone(self), number }
        };
        let (lane, dispatch) = (Arc::clone(self), dispatch.clone());
        let tracker = dispatch.shared.tracker.clone();
        tracker.spawn(async move {
            let claimed = dispatch.shared.store.claim_candidates(&request, candidates).await;
            drop(writing);
            match claimed {
                Ok(claimed) => {
                    dispatch.shared.placer.set_aside(&claimed.aside);
                    let is_short = claimed.was_contended || claimed.leased.len() < count;
                    lane.deal(&dispatch, &reserved, &request, claimed).await;
                    if is_short {
                        lane.tell(&starts);
                    }
                    lane.look_back_after(&dispatch, is_full);
                }
                Err(error) => {
                    tracing::warn!(task_type = %lane.name, %error, "claiming failed");
                    dispatch.deal(&reserved, Vec::new());
                    tokio::time::sleep(PAUSE).await;
                    lane.tell(&starts);
                }
            }
            drop(permits);
        });
        Ok(is_full)
    }

    /// There is something behind these marks.
    pub(super) fn tell(&self, before: &BTreeMap<ShardId, Mark>) {
        if before.is_empty() {
            return;
        }
        let mut state = self.lock();
        for (shard, mark) in before {
            state.marks.lower_to(shard, *mark);
        }
        state.has_news = true;
        self.called.notify_one();
    }

    async fn deal(
        &self,
        dispatch: &Dispatch,
        reserved: &[Reserved],
        request: &ClaimRequest,
        claimed: Claimed,
    ) {
        let got = claimed.leased.len();
        metrics::counter!("asyncflow_claims_total").increment(1);
        metrics::counter!("asyncflow_claimed_tasks_total").increment(got as u64);
        if claimed.was_contended {
            self.lock().crowded_until = Some(clock::now() + CROWDED);
        }
        let brought = self.brought(dispatch, request, claimed).await;
        dispatch.deal(reserved, brought);
    }

    /// What each taker got; one whose acquire id was used before gets what it got then.
    async fn brought(
        &self,
        dispatch: &Dispatch,
        request: &ClaimRequest,
        claimed: Claimed,
    ) -> Vec<Option<Vec<Assigned>>> {
        let mut brought: Vec<Option<Vec<Assigned>>> = vec![None; request.takers.len()];
        for leased in claimed.leased {
            brought[leased.taker].get_or_insert_default().push(Assigned::from(leased.task));
        }
        for at in claimed.replays {
            let Taker { session_id, acquire_id, .. } = &request.takers[at];
            brought[at] = dispatch.acquired_before(*session_id, acquire_id).await;
        }
        brought
    }
}
