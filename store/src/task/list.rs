//! Lists tasks, paged by key and merged over shards; never OFFSET, never COUNT(*).
//!
//! ```text
//!  shards, newest first ─▶ which hold anything in the range?   one statement over all of them
//!        │ one by one
//!        ├─ by state alone ─▶ by_state.rs   (order_time, id) of each state
//!        └─ everything else ─▶ by_key.rs    keys, from the indexes of the conditions
//!        │ places, merged; what is found raises the floor below which older shards need no look
//!        ▼
//!   page: the rows of the places, by primary key
//! ```
//!
//! Newest first. A list by state alone is sorted by `(order_time, id)`, newest first, because that
//! is the order of the only index which finds the rows of a state; every other list is sorted by
//! id, which is the time of creation. What no index finds at once is walked [`EXAMINED_MAX`] index
//! entries at a time: such a page may hold fewer tasks than were asked for, even none, and still
//! tell where the next one starts.

mod by_key;
mod by_state;

use std::cmp::Reverse;

use asyncflow_core::{
    filter::Filter,
    id::{ShardId, TaskId, first_key_at},
    page::PagePosition,
    state::TaskState,
    task::FullTask,
};

use super::row::Parts;
use crate::{Store, error::StoreError};

/// Index entries of one condition that a call examines.
const EXAMINED_MAX: usize = 1_000;
/// At least so many in each shard, so that every call gets on.
const EXAMINED_MIN: usize = 16;

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// May be fewer than were asked for, even none, though there is a next page.
    pub tasks: Vec<FullTask>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<PagePosition>,
}

/// Where a task stands in a list: order time (0 in a list by key) and key; lists descend.
type Place = (i64, i64);

/// The part of a shard that is looked at.
#[derive(Clone, Copy, Debug)]
struct Range {
    /// From here, inclusive.
    floor: Place,
    /// Up to here, exclusive.
    below: Place,
}

/// What a look into a shard found.
#[derive(Debug)]
struct Found {
    /// Descending.
    places: Vec<Place>,
    /// The look is complete down to here, inclusive; `None`: to the floor of its range.
    low: Option<Place>,
}

impl Store {
    /// At most `limit` tasks that match `filter`, from behind `after`, the `next` of the
    /// page before with the same filter.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<&PagePosition>,
        limit: u32,
        parts: Parts,
    ) -> Result<Page, StoreError> {
        match self.list_once(filter, after, limit, parts).await {
            // A shard was dropped between the look at the registry and the look into its table.
            Err(StoreError::NoSuchTable(_)) => {
                if let Some(task_type) = &filter.task_type {
                    self.shard_cache().forget(task_type);
                }
                self.list_once(filter, after, limit, parts).await
            }
            page => page,
        }
    }

    async fn list_once(
        &self,
        filter: &Filter,
        after: Option<&PagePosition>,
        limit: u32,
        parts: Parts,
    ) -> Result<Page, StoreError> {
        let mut shards = self.readable_shards(filter.task_type.as_ref()).await?;
        // Only a habit of where the newest tasks are; the merge does not rely on it.
        shards.sort_by_key(|shard| Reverse(shard.number));
        let mut merge = Merge::new(self, filter, after, limit as usize + 1);
        let mut left = merge.worth_a_look(shards).await?;
        while !left.is_empty() {
            let shard = left.remove(0);
            let had_floor = merge.floor.is_some();
            merge.look_into(shard).await?;
            if !had_floor && merge.floor.is_some() {
                left = merge.worth_a_look(left).await?;
            }
        }
        let (ids, next) = merge.page(limit as usize);
        let rows = self.get_many(&ids, parts).await?.into_iter().flatten();
        // A task may have moved on since its place was read.
        let matches =
            |task: &FullTask| filter.states.is_empty() || filter.states.contains(&task.task.state);
        Ok(Page { tasks: rows.filter(matches).collect(), next })
    }
}

/// The places of all shards that were looked into, as far as they are complete.
struct Merge<'a> {
    store: &'a Store,
    filter: &'a Filter,
    after: Option<&'a PagePosition>,
    states: Vec<TaskState>,
    by_state: bool,
    /// One more than the page, which tells whether there is another.
    wanted: usize,
    /// Descending by place, then ascending by shard for those that share one.
    places: Vec<(Reverse<Place>, ShardId)>,
    /// Below this nothing of this page can be; inclusive.
    floor: Option<Place>,
    /// Whether a shard was not looked through to its end.
    is_cut: bool,
    examined: usize,
}

impl<'a> Merge<'a> {
    fn new(
        store: &'a Store,
        filter: &'a Filter,
        after: Option<&'a PagePosition>,
        wanted: usize,
    ) -> Self {
        let mut states = filter.states.clone();
        states.sort_unstable();
        states.dedup();
        let other = filter.user.is_some()
            || !filter.labels.is_empty()
            || filter.created_from_ms.is_some()
            || filter.created_before_ms.is_some();
        let by_state = !states.is_empty() && !other;
        let (places, floor) = (Vec::new(), None);
        Self {
            store,
            filter,
            after,
            states,
            by_state,
            wanted,
            places,
            floor,
            is_cut: false,
            examined: 0,
        }
    }

    /// What of a shard may be in the page. A shard that sorts behind that of `after` may still have
    /// a task with the very same place.
    fn range(&self, shard: &ShardId) -> Range {
        let mut range = Range { floor: (i64::MIN, i64::MIN), below: (i64::MAX, i64::MAX) };
        if let Some(after) = self.after {
            let is_behind =
                (shard.task_type.as_str(), shard.number) > (&*after.task_type, after.shard);
            let order_ms = if self.by_state { after.order_time_ms.unwrap_or_default() } else { 0 };
            range.below = (order_ms, after.key.saturating_add(i64::from(is_behind)));
        }
        if let Some(before_ms) = self.filter.created_before_ms {
            range.below.1 = range.below.1.min(first_key_at(before_ms));
        }
        if let Some(floor) = self.floor {
            range.floor = floor;
        }
        if let Some(from_ms) = self.filter.created_from_ms {
            range.floor.1 = range.floor.1.max(first_key_at(from_ms));
        }
        range
    }

    /// Those of the shards that hold anything in their range, whatever its label or user.
    async fn worth_a_look(&self, shards: Vec<ShardId>) -> Result<Vec<ShardId>, StoreError> {
        if shards.len() < 2 {
            return Ok(shards);
        }
        if self.by_state {
            return self.with_states(shards).await;
        }
        self.with_keys(shards).await
    }

    async fn look_into(&mut self, shard: ShardId) -> Result<(), StoreError> {
        let range = self.range(&shard);
        let found = match self.by_state {
            true => self.look_by_state(&shard, range).await?,
            false => self.look_by_key(&shard, range).await?,
        };
        let places = found.places.into_iter();
        self.places.extend(places.map(|place| (Reverse(place), shard.clone())));
        self.places.sort_unstable();
        self.places.truncate(self.wanted);
        if let Some(low) = found.low {
            self.is_cut = true;
            self.floor = self.floor.max(Some(low));
        }
        if self.places.len() == self.wanted {
            self.floor = self.floor.max(self.places.last().map(|(place, _)| place.0));
        }
        let floor = self.floor;
        self.places.retain(|(place, _)| Some(place.0) >= floor);
        Ok(())
    }

    /// The tasks of the page, and where the next one starts.
    fn page(mut self, limit: usize) -> (Vec<TaskId>, Option<PagePosition>) {
        let is_full = self.places.len() > limit;
        self.places.truncate(limit);
        let last = self.places.last().filter(|_| is_full);
        let next = match (last, self.floor) {
            (Some((Reverse((order_ms, key)), shard)), _) => Some(PagePosition {
                key: *key,
                order_time_ms: self.by_state.then_some(*order_ms),
                task_type: shard.task_type.to_string(),
                shard: shard.number,
            }),
            // Before every shard at the key below the floor.
            (None, Some((order_ms, key))) if self.is_cut => Some(PagePosition {
                key: key.saturating_sub(1),
                order_time_ms: self.by_state.then_some(order_ms),
                ..PagePosition::default()
            }),
            (None, _) => None,
        };
        let id = |(Reverse((_, key)), shard)| TaskId { shard, key };
        (self.places.into_iter().map(id).collect(), next)
    }
}
