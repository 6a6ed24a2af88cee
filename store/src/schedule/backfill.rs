//! Fires times of the past.

use asyncflow_core::{
    id::ScheduleId,
    schedule::{FireCause, FireOutcome},
    task::Task,
};
use sea_orm::DatabaseTransaction;

use super::{
    change::ScheduleError,
    fires::{self, Fire},
    make::Maker,
    row::{Definition, definition},
    standing,
};
use crate::{Store, error::StoreError, workflow::Followed};

/// Work of one transaction, in tasks.
const COST_MAX: usize = 500;

/// What a back-fill has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backfilled {
    /// What became of the fire times that had made nothing.
    pub fires: Vec<Fire>,
    /// How many had made something before.
    pub already: usize,
    /// The tasks that were made.
    pub made: Vec<Task>,
}

struct Work<'a> {
    id: ScheduleId,
    definition: &'a Definition,
    times_ms: &'a [i64],
    now_ms: i64,
}

impl Store {
    /// Fires these times, which are in order, but for those that have fired. All are made at once.
    ///
    /// Cancel safe: what is not done yet can be done by repeating it.
    ///
    /// # Errors
    /// `NotFound`; those of the database. What was done before stays done.
    pub async fn backfill_schedule(
        &self,
        id: ScheduleId,
        times_ms: &[i64],
    ) -> Result<Backfilled, ScheduleError> {
        let found = definition(self, self.reader(), id).await?;
        let definition = found.ok_or(ScheduleError::NotFound)?;
        let each = 1 + 10 * definition.action.nodes();
        let mut all = Backfilled::default();
        for times_ms in times_ms.chunks((COST_MAX / each).max(1)) {
            self.ready_shards([&definition.action]).await?;
            let now_ms = self.now_ms().await?;
            let work = Work { id, definition: &definition, times_ms, now_ms };
            let run =
                || self.transact(&work, |store, tx, work| Box::pin(fill_once(store, tx, work)));
            let done = match run().await {
                Err(StoreError::NoSuchTable(_)) => {
                    self.forget_shards([&definition.action]);
                    self.ready_shards([&definition.action]).await?;
                    run().await
                }
                done => done,
            };
            let done = done.map_err(StoreError::exhausted)?;
            let (fires, followed) = done.ok_or(ScheduleError::NotFound)?;
            all.already += times_ms.len() - fires.len();
            all.fires.extend(fires);
            all.made.extend(self.made_by_schedules(followed).await);
        }
        Ok(all)
    }
}

/// `None` if there is no such schedule.
async fn fill_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<Option<(Vec<Fire>, Followed)>, StoreError> {
    let Work { id, definition, times_ms, now_ms } = work;
    let Some(mut standing) = standing::lock_one(store, tx, *id).await? else { return Ok(None) };
    let keys: Vec<(i64, i64)> = times_ms.iter().map(|fire_ms| (id.0, *fire_ms)).collect();
    let known = fires::known(store, tx, &keys).await?;
    let mut maker = Maker::new(store, tx, *now_ms);
    let (mut new, mut again) = (Vec::new(), Vec::new());
    for key @ (_, fire_ms) in keys {
        let known = known.get(&key);
        // What is queued will fire by itself.
        if matches!(known, Some(FireOutcome::Fired | FireOutcome::Queued)) {
            continue;
        }
        let mut fire = Fire {
            schedule: *id,
            fire_ms,
            cause: FireCause::Backfill,
            outcome: FireOutcome::Fired,
            time_ms: *now_ms,
            run: None,
            request_id: None,
            message: None,
        };
        match maker.make(&definition.user, &definition.action).await? {
            Ok(run) => {
                fire.run = Some(run);
                standing.fired += 1;
            }
            Err(what) => {
                (fire.outcome, fire.message) = (FireOutcome::Failed, Some(what));
                standing.failed += 1;
            }
        }
        if known.is_some() { again.push(fire) } else { new.push(fire) }
    }
    standing.version += 1;
    fires::insert(store, tx, &new).await?;
    for fire in &again {
        fires::replace(store, tx, fire).await?;
    }
    standing::put(store, tx, &[(id.0, &standing)]).await?;
    let followed = maker.finish().await?;
    new.extend(again);
    new.sort_by_key(|fire| fire.fire_ms);
    Ok(Some((new, followed)))
}
