//! A list by state alone: the newest places of each state, by the state index.

use asyncflow_core::id::ShardId;

use super::{Found, Merge, Place, Range};
use crate::{backend::Backend, error::StoreError, sql::Sql};

impl Merge<'_> {
    /// Those of the shards that hold a task of one of the states in their range.
    pub(super) async fn with_states(
        &self,
        shards: Vec<ShardId>,
    ) -> Result<Vec<ShardId>, StoreError> {
        let looks: Vec<_> = (shards.iter())
            .flat_map(|shard| self.states.iter().map(move |state| (shard, state.code())))
            .collect();
        let first = self.store.first_of_each(&looks, |sql, (shard, state)| {
            let table = shard.task_table();
            sql.push(&format!("SELECT order_time FROM {table} WHERE state = {state}"));
            push_range(self.store.backend(), sql, self.range(shard));
        });
        let first = first.await?;
        let has_any =
            first.chunks(self.states.len()).map(|first| first.iter().any(Option::is_some));
        let found = has_any.zip(&shards).filter(|(has_any, _)| *has_any);
        Ok(found.map(|(_, shard)| shard.clone()).collect())
    }

    /// One look per state, because the index gives no order over several of them; each is written
    /// out, so that PostgreSQL may use its partial indexes.
    pub(super) async fn look_by_state(
        &self,
        shard: &ShardId,
        range: Range,
    ) -> Result<Found, StoreError> {
        let (table, wanted) = (shard.task_table(), self.wanted);
        let mut sql = self.store.sql("");
        for (at, state) in self.states.iter().enumerate() {
            sql.push(if at > 0 { " UNION ALL " } else { "" });
            sql.push("SELECT order_time, id FROM (SELECT order_time, id FROM ").push(&table);
            sql.push(&format!(" WHERE state = {}", state.code()));
            push_range(self.store.backend(), &mut sql, range);
            sql.push(" ORDER BY order_time DESC, id DESC LIMIT ").bind(wanted as i64);
            sql.push(&format!(") s{at}"));
        }
        let rows = sql.all(self.store.reader()).await?;
        let place = |row: &sea_orm::QueryResult| -> Result<Place, StoreError> {
            Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))
        };
        let mut places: Vec<Place> = rows.iter().map(place).collect::<Result<_, _>>()?;
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.truncate(wanted);
        let low = places.last().copied().filter(|_| places.len() == wanted);
        Ok(Found { places, low })
    }
}

/// As tuples, which SQLite and PostgreSQL turn into a range of the index, also where many tasks are
/// due at the same moment; MySQL does it with the words of a tuple only.
fn push_range(backend: Backend, sql: &mut Sql, Range { floor, below }: Range) {
    if backend == Backend::Mysql {
        sql.push(" AND (order_time < ").bind(below.0);
        sql.push(" OR (order_time = ").bind(below.0).push(" AND id < ").bind(below.1);
        sql.push(")) AND (order_time > ").bind(floor.0);
        sql.push(" OR (order_time = ").bind(floor.0).push(" AND id >= ").bind(floor.1).push("))");
    } else {
        sql.push(" AND (order_time, id) < (").bind(below.0).push(", ").bind(below.1);
        sql.push(") AND (order_time, id) >= (").bind(floor.0).push(", ").bind(floor.1).push(")");
    }
}
