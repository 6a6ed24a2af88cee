//! A list by key: what the indexes of its conditions find, newest first.
//!
//! Each condition that an index serves gives its newest keys. The one whose keys reach the farthest
//! back drives: it names the candidates. Another condition that reaches as far as a candidate is
//! known to hold or not; of the others the candidates are looked up by key.

use std::collections::HashSet;

use asyncflow_core::{id::ShardId, state::TaskState};

use super::{EXAMINED_MAX, EXAMINED_MIN, Found, Merge, Range};
use crate::{error::StoreError, sql::Sql, task::row};

/// Keys per SELECT; MariaDB makes a table of a list of 1,000.
const KEYS_MAX: usize = 512;

/// Tasks in some states that are more than this do not drive a list of a user's tasks.
const FEW_MAX: usize = 256;

/// What an index can be asked for.
#[derive(Clone, Copy, Debug)]
enum Condition<'a> {
    Label(&'a str, &'a str),
    Owner(&'a str),
    /// The tasks in these states, when they are few: the state index does not know the order.
    States(&'a [TaskState]),
    Every,
}

/// The newest keys that fulfil a condition.
#[derive(Debug)]
struct Reach<'a> {
    condition: Condition<'a>,
    /// Descending.
    keys: Vec<i64>,
    /// All keys from here on are there; `None`: all of the range.
    low: Option<i64>,
}

impl Reach<'_> {
    fn covers(&self, key: i64) -> bool {
        self.low.is_none_or(|low| key >= low)
    }

    fn has(&self, key: i64) -> bool {
        self.keys.binary_search_by(|known| key.cmp(known)).is_ok()
    }
}

impl Merge<'_> {
    /// Those of the shards that hold a task in their range.
    pub(super) async fn with_keys(&self, shards: Vec<ShardId>) -> Result<Vec<ShardId>, StoreError> {
        let first = self.store.first_of_each(&shards, |sql, shard| {
            sql.push(&format!("SELECT id FROM {} WHERE 1 = 1", shard.task_table()));
            push_range(sql, "id", self.range(shard));
            sql.push(" ORDER BY id DESC");
        });
        let found = shards.iter().zip(first.await?).filter(|(_, first)| first.is_some());
        Ok(found.map(|(shard, _)| shard.clone()).collect())
    }

    pub(super) async fn look_by_key(
        &mut self,
        shard: &ShardId,
        range: Range,
    ) -> Result<Found, StoreError> {
        let filter = self.filter;
        let states = self.states.clone();
        let mut conditions: Vec<Condition<'_>> = Vec::new();
        conditions.extend(filter.user.as_deref().map(Condition::Owner));
        if !states.is_empty() {
            conditions.push(Condition::States(&states));
        }
        conditions.extend(filter.labels.iter().map(|(name, value)| Condition::Label(name, value)));
        if !conditions.iter().any(|one| matches!(one, Condition::Label(..) | Condition::Owner(..)))
        {
            conditions.push(Condition::Every);
        }
        let is_simple = conditions.len() == 1;
        let left = EXAMINED_MAX.saturating_sub(self.examined).max(EXAMINED_MIN);
        let limit = if is_simple { self.wanted } else { left };
        let mut reaches = Vec::with_capacity(conditions.len());
        let mut has_few = false;
        for condition in conditions {
            // The others are looked up by the keys of one that has few.
            let reach = match has_few {
                true => Reach { condition, keys: Vec::new(), low: Some(i64::MAX) },
                false => self.reach(shard, condition, range, limit).await?,
            };
            has_few |= reach.low.is_none() && reach.keys.len() <= self.wanted;
            reaches.push(reach);
        }
        // None, all of the range, sorts before every key.
        let farthest = reaches.iter().enumerate().min_by_key(|(_, reach)| reach.low);
        let Some(driver) = farthest.map(|(at, _)| at) else {
            return Ok(Found { places: Vec::new(), low: None });
        };
        let driver = reaches.swap_remove(driver);
        self.examined += if is_simple { 0 } else { driver.keys.len() };
        let (keys, low) = self.choose(shard, driver, &reaches).await?;
        let place = |key| (0, key);
        Ok(Found { places: keys.into_iter().map(place).collect(), low: low.map(place) })
    }

    /// The first of the driver's keys that fulfil the other conditions too, and how far down that
    /// is known.
    async fn choose(
        &self,
        shard: &ShardId,
        driver: Reach<'_>,
        others: &[Reach<'_>],
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let known = |key: &i64| others.iter().all(|one| !one.covers(*key) || one.has(*key));
        let candidates: Vec<i64> = driver.keys.into_iter().filter(known).collect();
        let mut chosen = Vec::new();
        let (mut at, mut step) = (0, self.wanted.max(EXAMINED_MIN));
        while at < candidates.len() && chosen.len() < self.wanted {
            let mut keys = candidates[at..candidates.len().min(at + step)].to_vec();
            (at, step) = (at + step, step * 2);
            for other in others {
                keys = self.fulfilling(shard, other, keys).await?;
            }
            chosen.extend(keys);
        }
        chosen.truncate(self.wanted);
        let cut = chosen.last().copied().filter(|_| chosen.len() == self.wanted);
        Ok((chosen, cut.or(driver.low)))
    }

    /// Those of the keys, in their order, that fulfil a condition.
    async fn fulfilling(
        &self,
        shard: &ShardId,
        reach: &Reach<'_>,
        mut keys: Vec<i64>,
    ) -> Result<Vec<i64>, StoreError> {
        let unknown: Vec<i64> = keys.iter().copied().filter(|key| !reach.covers(*key)).collect();
        if unknown.is_empty() {
            return Ok(keys);
        }
        let holds = match reach.condition {
            Condition::Label(name, value) => self.labelled(shard, (name, value), &unknown).await?,
            Condition::Owner(user) => self.rows(shard, &unknown, |_, owner| owner == user).await?,
            Condition::States(states) => {
                self.rows(shard, &unknown, |state, _| states.contains(&state)).await?
            }
            Condition::Every => unknown.into_iter().collect(),
        };
        keys.retain(|key| reach.covers(*key) || holds.contains(key));
        Ok(keys)
    }

    async fn labelled(
        &self,
        shard: &ShardId,
        label: (&str, &str),
        keys: &[i64],
    ) -> Result<HashSet<i64>, StoreError> {
        let table = shard.label_table();
        let mut found = HashSet::new();
        for chunk in keys.chunks(KEYS_MAX) {
            let mut sql = self.store.sql(&format!("SELECT task_key, name, value FROM {table}"));
            sql.push(" WHERE ").is_in("task_key", chunk);
            for row in sql.all(self.store.reader()).await? {
                let (name, value): (String, String) =
                    (row.try_get_by_index(1)?, row.try_get_by_index(2)?);
                if (name.as_str(), value.as_str()) == label {
                    found.insert(row.try_get_by_index(0)?);
                }
            }
        }
        Ok(found)
    }

    /// Compared here, as labels are: asked by its key alone the database cannot but find the row by
    /// its key, where more conditions have made it walk all rows of a user or a label.
    async fn rows(
        &self,
        shard: &ShardId,
        keys: &[i64],
        holds: impl Fn(TaskState, &str) -> bool,
    ) -> Result<HashSet<i64>, StoreError> {
        let table = shard.task_table();
        let mut found = HashSet::new();
        for chunk in keys.chunks(KEYS_MAX) {
            let mut sql = self.store.sql(&format!("SELECT id, state, user_name FROM {table}"));
            sql.push(" WHERE ").is_in("id", chunk);
            for task in sql.all(self.store.reader()).await? {
                let owner: String = task.try_get_by_index(2)?;
                if holds(row::state(task.try_get_by_index(1)?)?, &owner) {
                    found.insert(task.try_get_by_index(0)?);
                }
            }
        }
        Ok(found)
    }

    /// The newest keys of a condition, at most `limit` of each state.
    async fn reach<'a>(
        &self,
        shard: &ShardId,
        condition: Condition<'a>,
        range: Range,
        limit: usize,
    ) -> Result<Reach<'a>, StoreError> {
        let looks = match condition {
            Condition::States(states) => states,
            Condition::Label(..) | Condition::Owner(_) | Condition::Every => &[TaskState::Pending],
        };
        let limit = match condition {
            Condition::States(_) if self.filter.user.is_some() => limit.min(FEW_MAX),
            _ => limit,
        };
        let mut sql = self.store.sql("");
        for (at, state) in looks.iter().enumerate() {
            sql.push(if at > 0 { " UNION ALL " } else { "" });
            // A part of a UNION cannot have a LIMIT; one look alone needs no table around it.
            let is_part = looks.len() > 1;
            sql.push(if is_part { "SELECT look, task_key FROM (" } else { "" });
            sql.push(&format!("SELECT {at} AS look, "));
            push_look(&mut sql, shard, condition, *state, range);
            sql.push(" LIMIT ").bind(limit as i64);
            sql.push(&if is_part { format!(") s{at}") } else { String::new() });
        }
        let mut ends = vec![(0, None::<i64>); looks.len()];
        let mut keys = Vec::new();
        for found in sql.all(self.store.reader()).await? {
            let (look, key): (i32, i64) = (found.try_get_by_index(0)?, found.try_get_by_index(1)?);
            if let Some((count, low)) = ends.get_mut(look.unsigned_abs() as usize) {
                *count += 1;
                *low = Some(low.map_or(key, |low| low.min(key)));
            }
            keys.push(key);
        }
        let low = ends.into_iter().filter(|(count, _)| *count == limit).filter_map(|end| end.1);
        let low = match condition {
            // In the order of another column: some are as good as none.
            Condition::States(_) => low.max().map(|_| i64::MAX),
            _ => low.max(),
        };
        keys.retain(|key| {
            low.is_none_or(|low| *key >= low) && (range.floor.1..range.below.1).contains(key)
        });
        keys.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Reach { condition, keys, low })
    }
}

/// One range of an index, newest first: `task_key` and where it is from.
fn push_look(
    sql: &mut Sql,
    shard: &ShardId,
    condition: Condition<'_>,
    state: TaskState,
    range: Range,
) {
    let (tasks, labels, state) = (shard.task_table(), shard.label_table(), state.code());
    match condition {
        Condition::Label(name, value) => {
            sql.push(&format!("task_key FROM {labels} WHERE name = ")).bind(name);
            sql.push(" AND value = ").bind(value);
            push_range(sql, "task_key", range);
            sql.push(" ORDER BY task_key DESC");
        }
        Condition::Owner(user) => {
            sql.push(&format!("id AS task_key FROM {tasks} WHERE user_name = ")).bind(user);
            push_range(sql, "id", range);
            sql.push(" ORDER BY id DESC");
        }
        // Without the range, or the look would walk on to the end of the state for it.
        Condition::States(_) => {
            sql.push(&format!("id AS task_key FROM {tasks} WHERE state = {state}"));
            sql.push(" ORDER BY order_time DESC, id DESC");
        }
        Condition::Every => {
            sql.push(&format!("id AS task_key FROM {tasks} WHERE 1 = 1"));
            push_range(sql, "id", range);
            sql.push(" ORDER BY id DESC");
        }
    }
}

fn push_range(sql: &mut Sql, column: &str, Range { floor, below }: Range) {
    sql.push(&format!(" AND {column} >= ")).bind(floor.1);
    sql.push(&format!(" AND {column} < ")).bind(below.1);
}
