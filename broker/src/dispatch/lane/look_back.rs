//! The look for tasks ahead of the marks that nobody told this broker of.
//!
//! It goes on beside the claims, which would otherwise wait while it walks over what a snapshot
//! keeps, one at a time, and waits by itself until it may begin.

use std::{collections::BTreeMap, sync::Arc};

use super::Lane;
use crate::{clock, dispatch::Dispatch};

impl Lane {
    /// A claim has ended. One that was not full is followed by a look back, others now and then.
    pub(super) fn look_back_after(self: &Arc<Self>, dispatch: &Dispatch, is_full: bool) {
        {
            let mut state = self.lock();
            if is_full && !state.marks.must_look_back(clock::now()) {
                return;
            }
            state.owes_look_back = true;
        }
        if self.looks.available_permits() == 0 {
            return;
        }
        let (lane, dispatch) = (Arc::clone(self), dispatch.clone());
        let tracker = dispatch.shared.tracker.clone();
        tracker.spawn(async move {
            // Whoever comes when the last look has ended and its turn has not is not forgotten.
            while lane.lock().owes_look_back {
                let Ok(_turn) = lane.looks.try_acquire() else { return };
                if !lane.look_back(&dispatch).await {
                    return;
                }
            }
        });
    }

    /// One look, as soon as it may be. Whether the broker goes on.
    async fn look_back(&self, dispatch: &Dispatch) -> bool {
        let begin = self.lock().marks.next_look_back(clock::now());
        tokio::select! {
            biased;
            () = dispatch.shared.draining.cancelled() => return false,
            () = tokio::time::sleep_until(begin.unwrap_or_else(clock::now)) => {}
        }
        let marks = {
            let mut state = self.lock();
            // It leaves out what is being written, and what appears beside that.
            state.owes_look_back = state.marks.has_pending();
            state.marks.begin_look_back(clock::now())
        };
        let aside = dispatch.shared.placer.known(&self.name);
        let found = dispatch.shared.store.look_back(&self.name, &marks, &aside).await;
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(task_type = %self.name, %error, "looking back failed");
            BTreeMap::new()
        });
        let count = found.len();
        let found = {
            let mut state = self.lock();
            let found = state.marks.end_look_back(found, clock::now());
            state.owes_look_back |= found.len() < count;
            found
        };
        self.tell(&found);
        true
    }
}
