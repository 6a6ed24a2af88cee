//! Which tasks of a page still have the labels that they were chosen by.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::id::ShardId;
use sea_orm::DatabaseTransaction;

use super::step::{Moved, Step};
use crate::{Store, error::StoreError, shard::Place, task::Batch};

/// Those that have not, as they are. All of the page are locked first: whoever changes the labels
/// of one writes its row, too.
pub(super) async fn without_labels(
    store: &Store,
    tx: &DatabaseTransaction,
    step: &Step<'_>,
) -> Result<Moved, StoreError> {
    let (labels, mut moved) = (&step.turn.labels, Moved::new());
    if labels.is_empty() || store.is_off("operation.labels") {
        return Ok(moved);
    }
    let mut by_shard: BTreeMap<&ShardId, Vec<i64>> = BTreeMap::new();
    for id in step.ids.iter().filter(|id| step.places.get(&id.shard) == Some(&Place::Here)) {
        by_shard.entry(&id.shard).or_default().push(id.key);
    }
    for (shard, keys) in by_shard {
        let (batch, _) = Batch::read(store, tx, shard, keys.clone(), true).await?;
        let mut chosen: BTreeSet<i64> = keys.iter().copied().collect();
        for (name, value) in labels {
            chosen = with_label(store, tx, shard, (name.as_str(), value.as_str()), &chosen).await?;
        }
        let gone = batch.tasks().filter(|task| !chosen.contains(&task.id.key));
        moved.extend(gone.map(|task| (task.id.clone(), task.clone())));
    }
    Ok(moved)
}

async fn with_label(
    store: &Store,
    tx: &DatabaseTransaction,
    shard: &ShardId,
    (name, value): (&str, &str),
    keys: &BTreeSet<i64>,
) -> Result<BTreeSet<i64>, StoreError> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let keys: Vec<i64> = keys.iter().copied().collect();
    let table = shard.label_table();
    let mut sql = store.sql(&format!("SELECT task_key FROM {table} WHERE name = "));
    sql.bind(name).push(" AND value = ").bind(value).push(" AND ").is_in("task_key", &keys);
    sql.all(tx).await?.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}
