//! Fires what is due.

use std::collections::{BTreeMap, HashMap};

use asyncflow_core::{
    id::ScheduleId,
    schedule::{
        FireCause, FireOutcome,
        action::Run,
        plan::{Look, Plan, Verdict, plan},
        spec::{Overlap, Times},
    },
    task::Task,
};
use futures::{FutureExt, future::BoxFuture};
use sea_orm::DatabaseTransaction;

use super::{
    fires::{self, Fire},
    make::Maker,
    row::{Definition, definitions},
    standing::{self, Standing},
};
use crate::{
    Store,
    error::StoreError,
    leader::{LeaderFence, check_fence},
    workflow::Followed,
};

/// What one transaction makes: so many tasks, or as much work,
const COST_MAX: i64 = 500;
/// from definitions of so many bytes.
const BYTES_MAX: i64 = 16 << 20;
/// A schedule that fails the whole transaction is looked at again after this time.
const ASIDE_MS: i64 = 60_000;

/// What one look has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fired {
    /// Fire times that were dealt with.
    pub fires: u64,
    /// The tasks that were made.
    pub made: Vec<Task>,
    /// There may be more that is due.
    pub more: bool,
}

/// A schedule that is to be moved on from the version that was read.
pub(super) struct Moved {
    id: i64,
    version: i64,
    definition: Definition,
    plan: Plan,
}

struct Work<'a> {
    moved: &'a [Moved],
    /// When tasks are made, by the database's clock.
    now_ms: i64,
    fence: Option<&'a LeaderFence>,
}

impl Store {
    /// Fires schedules that are due at `now_ms`, the database's time or a test's: the oldest first,
    /// at most `limit`, and no more than one transaction should hold. With a fence, only while that
    /// leader leads; without one it is right too.
    ///
    /// Cancel safe: what is not committed is due again.
    ///
    /// # Errors
    /// `NotLeader`; those of the database.
    pub async fn fire_due(
        &self,
        now_ms: i64,
        limit: u32,
        fence: Option<&LeaderFence>,
    ) -> Result<Fired, StoreError> {
        let columns = standing::COLUMNS.join(", ");
        let mut sql =
            self.sql(&format!("SELECT {columns} FROM schedule_standings WHERE due_ms <= "));
        sql.bind(now_ms).push(" ORDER BY due_ms, schedule_id LIMIT ").bind(i64::from(limit));
        let rows = sql.all(self.reader()).await?;
        let found = rows.len();
        let mut due = Vec::with_capacity(found);
        let (mut bytes, mut cost) = (0, 0);
        for row in rows {
            let (id, standing) = standing::read(&row, 0)?;
            bytes += standing.bytes;
            cost += i64::from(standing.cost);
            if !due.is_empty() && (bytes > BYTES_MAX || cost > COST_MAX) {
                break;
            }
            due.push((id, standing));
        }
        let more = found > 0;
        let fired = self.look_at(due, now_ms, fence).await?;
        Ok(Fired { more, ..fired })
    }

    /// When the next schedule is due, in the database's Unix milliseconds.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn next_schedule_ms(&self) -> Result<Option<i64>, StoreError> {
        let mut sql = self.sql("SELECT due_ms FROM schedule_standings WHERE due_ms < ");
        sql.bind(i64::MAX).push(" ORDER BY due_ms LIMIT 1");
        sql.one(self.reader()).await?.map(|row| Ok(row.try_get_by_index(0)?)).transpose()
    }

    /// Decides for each of them what is to be done, and does it.
    pub(super) async fn look_at(
        &self,
        standings: Vec<(i64, Standing)>,
        now_ms: i64,
        fence: Option<&LeaderFence>,
    ) -> Result<Fired, StoreError> {
        if standings.is_empty() {
            return Ok(Fired::default());
        }
        let standings: BTreeMap<i64, Standing> = standings.into_iter().collect();
        let ids: Vec<i64> = standings.keys().copied().collect();
        let mut known = Vec::with_capacity(ids.len());
        // Read behind the standings: what is newer than those fails the compare of the version.
        for (id, definition) in definitions(self, self.reader(), &ids).await? {
            match definition.and_then(|definition| {
                let times = Times::new(&definition.spec).map_err(StoreError::Corrupt)?;
                Ok((definition, times))
            }) {
                Ok((definition, times)) => known.push((id, definition, times)),
                Err(error) => self.set_aside(id, &standings[&id], &error, now_ms, fence).await?,
            }
        }
        let overlapping = known.iter().filter(|(_, of, _)| of.spec.overlap != Overlap::Allow);
        let last_runs: Vec<&Run> =
            overlapping.filter_map(|(id, ..)| standings[id].last_run.as_ref()).collect();
        let alive = self.alive(last_runs).await?;
        let cost: i64 = standings.values().map(|standing| i64::from(standing.cost)).sum();
        let fires_max = usize::try_from((COST_MAX / cost.max(1)).max(1)).unwrap_or(1);
        let mut moved = Vec::with_capacity(known.len());
        for (id, definition, times) in known {
            let standing = &standings[&id];
            let last_run = standing.last_run.as_ref();
            let plan = plan(&Look {
                id: ScheduleId(id),
                spec: &definition.spec,
                times: &times,
                next_ms: standing.next_ms,
                queued_ms: standing.queued_ms,
                is_alive: last_run.is_some_and(|run| alive.contains(run)),
                now_ms,
                fires_max,
            });
            moved.push(Moved { id, version: standing.version, definition, plan });
        }
        self.fault_point("schedule.planned").await;
        if moved.iter().any(|one| one.plan.cancels) {
            moved = self.unmoved(moved).await?;
            // Before it fires: who dies in between has cancelled what was to be cancelled, and the
            // fire time is due still.
            let cancels = moved.iter().filter(|one| one.plan.cancels);
            let runs = cancels.filter_map(|one| standings[&one.id].last_run.clone());
            self.cancel_runs(runs.collect(), fence).await?;
        }
        self.move_on(moved, now_ms, fence).await
    }

    /// Those that nobody has moved on or changed since they were read. Who stood still for long has
    /// no run cancelled that is not his any more.
    async fn unmoved(&self, mut moved: Vec<Moved>) -> Result<Vec<Moved>, StoreError> {
        let ids: Vec<i64> = moved.iter().map(|one| one.id).collect();
        let mut sql = self.sql("SELECT schedule_id, version FROM schedule_standings WHERE ");
        let mut versions: HashMap<i64, i64> = HashMap::new();
        for row in sql.is_in("schedule_id", &ids).all(self.reader()).await? {
            versions.insert(row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        }
        moved.retain(|one| versions.get(&one.id) == Some(&one.version));
        Ok(moved)
    }

    /// Moves schedules on in one transaction; if one of them is not taken by the database, the
    /// others one by one.
    fn move_on<'a>(
        &'a self,
        moved: Vec<Moved>,
        now_ms: i64,
        fence: Option<&'a LeaderFence>,
    ) -> BoxFuture<'a, Result<Fired, StoreError>> {
        async move {
            let (fires, followed) = match self.move_batch(&moved, fence).await {
                Ok(done) => done,
                Err(error) if error.may_be_one_row() && moved.len() > 1 => {
                    let mut all = Fired::default();
                    for one in moved {
                        let fired = self.move_on(vec![one], now_ms, fence).await?;
                        all.fires += fired.fires;
                        all.made.extend(fired.made);
                    }
                    return Ok(all);
                }
                Err(error) if error.may_be_one_row() => {
                    for one in moved {
                        let standing = Standing { version: one.version, ..Standing::new() };
                        self.set_aside(one.id, &standing, &error, now_ms, fence).await?;
                    }
                    return Ok(Fired::default());
                }
                Err(error) => return Err(error),
            };
            let made = self.made_by_schedules(followed).await;
            Ok(Fired { fires, made, more: false })
        }
        .boxed()
    }

    async fn move_batch(
        &self,
        moved: &[Moved],
        fence: Option<&LeaderFence>,
    ) -> Result<(u64, Followed), StoreError> {
        let actions = || moved.iter().map(|one| &one.definition.action);
        self.ready_shards(actions()).await?;
        let work = Work { moved, now_ms: self.now_ms().await?, fence };
        let run = || self.transact(&work, |store, tx, work| Box::pin(move_once(store, tx, work)));
        match run().await {
            Err(StoreError::NoSuchTable(_)) => {
                self.forget_shards(actions());
                self.ready_shards(actions()).await?;
                run().await.map_err(StoreError::exhausted)
            }
            done => done,
        }
    }

    /// A schedule that cannot be read or fired: it says so, and is looked at again later.
    async fn set_aside(
        &self,
        id: i64,
        read: &Standing,
        error: &StoreError,
        now_ms: i64,
        fence: Option<&LeaderFence>,
    ) -> Result<(), StoreError> {
        tracing::error!(schedule = %ScheduleId(id), %error, "a schedule cannot be fired");
        let said = format!("it cannot be fired: {error}");
        let aside = (id, read.version, said, now_ms.saturating_add(ASIDE_MS), fence);
        self.transact(&aside, |store, tx, (id, version, said, until_ms, fence)| {
            Box::pin(async move {
                if let Some(fence) = fence {
                    check_fence(store, tx, fence).await?;
                }
                let standing = standing::lock_one(store, tx, ScheduleId(*id)).await?;
                let Some(mut standing) = standing.filter(|now| now.version == *version) else {
                    return Ok(());
                };
                standing.last_error.clone_from(said);
                standing.put_off(*until_ms);
                standing::put(store, tx, &[(*id, &standing)]).await
            })
        })
        .await
    }
}

async fn move_once(
    store: &Store,
    tx: &DatabaseTransaction,
    work: &Work<'_>,
) -> Result<(u64, Followed), StoreError> {
    let Work { moved, now_ms, fence } = work;
    if let Some(fence) = fence {
        check_fence(store, tx, fence).await?;
    }
    let ids: Vec<i64> = moved.iter().map(|one| one.id).collect();
    let mut standings = standing::lock(store, tx, &ids).await?;
    // Somebody else has moved it on, or changed it, since it was read.
    let is_same = |one: &&Moved| {
        let now = standings.get(&one.id);
        now.is_some_and(|now| now.version == one.version || store.is_off("schedule.version"))
    };
    let moved: Vec<&Moved> = moved.iter().filter(is_same).collect();
    let keys: Vec<(i64, i64)> = (moved.iter())
        .flat_map(|one| one.plan.verdicts.iter().map(|(fire_ms, _)| (one.id, *fire_ms)))
        .collect();
    let known = fires::known(store, tx, &keys).await?;
    let mut maker = Maker::new(store, tx, *now_ms);
    let mut fires = Vec::with_capacity(keys.len());
    standings.retain(|id, _| moved.iter().any(|one| one.id == *id));
    for one in moved {
        let Some(standing) = standings.get_mut(&one.id) else { continue };
        fires.extend(settle(&mut maker, one, standing, &known).await?);
        let id = ScheduleId(one.id);
        standing.queued_ms = one.plan.queued_ms;
        standing.go_on(id, &one.definition.spec, one.plan.next_ms);
    }
    let (again, new): (Vec<Fire>, Vec<Fire>) =
        (fires.into_iter()).partition(|fire| known.contains_key(&(fire.schedule.0, fire.fire_ms)));
    fires::insert(store, tx, &new).await?;
    for fire in &again {
        fires::replace(store, tx, fire).await?;
    }
    let standings: Vec<(i64, &Standing)> =
        standings.iter().map(|(id, standing)| (*id, standing)).collect();
    standing::put(store, tx, &standings).await?;
    let followed = maker.finish().await?;
    store.fault_point("schedule.fired").await;
    Ok(((new.len() + again.len()) as u64, followed))
}

/// Does what was decided for one schedule.
async fn settle(
    maker: &mut Maker<'_>,
    one: &Moved,
    standing: &mut Standing,
    known: &HashMap<(i64, i64), FireOutcome>,
) -> Result<Vec<Fire>, StoreError> {
    let mut fires = Vec::with_capacity(one.plan.verdicts.len());
    for (fire_ms, verdict) in &one.plan.verdicts {
        let known = known.get(&(one.id, *fire_ms));
        let mut fire = Fire {
            schedule: ScheduleId(one.id),
            fire_ms: *fire_ms,
            cause: FireCause::Time,
            outcome: FireOutcome::Fired,
            time_ms: maker.now_ms,
            run: None,
            request_id: None,
            message: None,
        };
        match (verdict, known) {
            (Verdict::Fire, None | Some(FireOutcome::Queued)) => {
                match maker.make(&one.definition.user, &one.definition.action).await? {
                    Ok(run) => {
                        fire.run = Some(run.clone());
                        (standing.last_run, standing.last_fire_ms) = (Some(run), Some(*fire_ms));
                        standing.fired += 1;
                        standing.last_error.clear();
                    }
                    Err(what) => {
                        fire.outcome = FireOutcome::Failed;
                        fire.message = Some(what.clone());
                        standing.failed += 1;
                        standing.last_error = what;
                    }
                }
            }
            // A back-fill was faster.
            (_, Some(_)) => continue,
            (Verdict::Queue, None) => fire.outcome = FireOutcome::Queued,
            (Verdict::Skip, None) => {
                fire.outcome = FireOutcome::Skipped;
                standing.skipped += 1;
            }
            (Verdict::Miss(what), None) => {
                (fire.outcome, fire.message) = (FireOutcome::Missed, Some(what.clone()));
                standing.missed += 1;
            }
        }
        fires.push(fire);
    }
    Ok(fires)
}
