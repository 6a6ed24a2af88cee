//! Runs a schedule at once.

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

/// What a run by hand has made, or one that an earlier call with the same request made.
#[derive(Clone, Debug, PartialEq)]
pub struct RanSchedule {
    pub fire: Fire,
    pub deduplicated: bool,
    /// The tasks that were made.
    pub made: Vec<Task>,
}

struct Work<'a> {
    id: ScheduleId,
    definition: Definition,
    request_id: Option<&'a str>,
    now_ms: i64,
}

impl Store {
    /// Makes at once what a schedule makes. Its state, its fire times and the run that its overlap
    /// policy looks at stay as they are.
    ///
    /// Cancel safe, but the outcome is then unknown: repeat it with the same request id.
    ///
    /// # Errors
    /// `NotFound`; those of the database.
    pub async fn run_schedule(
        &self,
        id: ScheduleId,
        request_id: Option<&str>,
    ) -> Result<RanSchedule, ScheduleError> {
        let found = definition(self, self.reader(), id).await?;
        let definition = found.ok_or(ScheduleError::NotFound)?;
        self.ready_shards([&definition.action]).await?;
        let work = Work { id, definition, request_id, now_ms: self.now_ms().await? };
        let run = || self.transact(&work, |store, tx, work| Box::pin(run_once(store, tx, work)));
        let done = match run().await {
            Err(StoreError::NoSuchTable(_)) => {
                self.forget_shards([&work.definition.action]);
                self.ready_shards([&work.definition.action]).await?;
                run().await
            }
            done => done,
        };
        let done = done.map_err(StoreError::exhausted)?;
        let (fire, followed) = done.ok_or(ScheduleError::NotFound)?;
        let deduplicated = followed.is_none();
        let made = self.made_by_schedules(followed.unwrap_or_default()).await;
        Ok(RanSchedule { fire, deduplicated, made })
    }
}

/// `None` if there is no such schedule; what follows is left out if it had been run before.
async fn run_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<Option<(Fire, Option<Followed>)>, StoreError> {
    let Work { id, definition, request_id, now_ms } = work;
    let Some(mut standing) = standing::lock_one(store, tx, *id).await? else { return Ok(None) };
    if let Some(request_id) = request_id
        && let Some(fire) = fires::by_request(store, tx, *id, request_id).await?
    {
        return Ok(Some((fire, None)));
    }
    // A time of its own, which is none of those that the schedule itself will fire at.
    let mut fire_ms = *now_ms;
    let is_its_own = |fire_ms| standing.next_ms == Some(fire_ms) || fire_ms % 1_000 == 0;
    while is_its_own(fire_ms) || !fires::known(store, tx, &[(id.0, fire_ms)]).await?.is_empty() {
        fire_ms += 1;
    }
    let mut maker = Maker::new(store, tx, *now_ms);
    let mut fire = Fire {
        schedule: *id,
        fire_ms,
        cause: FireCause::Hand,
        outcome: FireOutcome::Fired,
        time_ms: *now_ms,
        run: None,
        request_id: request_id.map(str::to_owned),
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
    standing.version += 1;
    fires::insert(store, tx, std::slice::from_ref(&fire)).await?;
    standing::put(store, tx, &[(id.0, &standing)]).await?;
    let followed = maker.finish().await?;
    Ok(Some((fire, Some(followed))))
}
