//! Which workflows still need what their parts have made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use asyncflow_core::id::WorkflowId;
use sea_orm::{DatabaseTransaction, QueryResult};

use super::WorkflowState;
use crate::{Store, backend::for_update_skip, error::StoreError};

/// Rows per SELECT … IN.
const KEYS_MAX: usize = 512;

/// What is looked at may be about to go on again.
#[derive(Debug, thiserror::Error)]
#[error("a workflow is being written")]
struct Busy;

/// Of these workflows those that have not ended, or are within one that has not: each with the
/// outermost such, which gets the results of the inner ones. The outermost of the others, the only
/// one that can be retried, is locked until the end of the transaction, so that they stay over.
///
/// Whoever retries it has it locked and waits for tasks that this transaction may hold: nothing is
/// waited for.
///
/// # Errors
/// `Contended` when somebody else has one locked.
pub(crate) async fn still_live(
    store: &Store,
    tx: &DatabaseTransaction,
    ids: BTreeSet<WorkflowId>,
) -> Result<BTreeMap<WorkflowId, WorkflowId>, StoreError> {
    let known = with_those_around(store, tx, &ids).await?;
    let (mut live, mut over) = (BTreeMap::new(), BTreeMap::new());
    for id in ids {
        let (mut root, mut outermost, mut next) = (None, None, id);
        while let Some((is_live, parent)) = known.get(&next) {
            root = Some(next);
            outermost = if *is_live { root } else { outermost };
            next = *parent;
        }
        match (outermost, root) {
            (Some(outermost), _) => drop(live.insert(id, outermost)),
            (None, Some(root)) => drop(over.insert(id, root)),
            // It was over for so long that it was forgotten.
            (None, None) => {}
        }
    }
    let states = lock_roots(store, tx, over.values().copied().collect()).await?;
    for (id, root) in over {
        match states.get(&root) {
            Some(false) => {}
            Some(true) => drop(live.insert(id, root)),
            None => return Err(StoreError::Contended(Arc::new(Busy))),
        }
    }
    Ok(live)
}

/// Whether these, and those that they are within, are live, and of which each is an item.
async fn with_those_around(
    store: &Store,
    tx: &DatabaseTransaction,
    ids: &BTreeSet<WorkflowId>,
) -> Result<BTreeMap<WorkflowId, (bool, WorkflowId)>, StoreError> {
    let mut known = BTreeMap::new();
    let mut wanted: BTreeSet<i64> = ids.iter().map(|id| id.0).collect();
    while !wanted.is_empty() {
        let mut parents = BTreeSet::new();
        let keys: Vec<i64> = wanted.into_iter().collect();
        for some in keys.chunks(KEYS_MAX) {
            let mut sql = store.sql("SELECT id, state, parent_key FROM workflows WHERE ");
            for row in sql.is_in("id", some).all(tx).await? {
                let (id, is_live) = read(&row)?;
                let parent: i64 = row.try_get_by_index(2)?;
                known.insert(id, (is_live, WorkflowId(parent)));
                parents.insert(parent);
            }
        }
        // Neither none nor a task is a workflow.
        parents.retain(|parent| *parent > 0 && !known.contains_key(&WorkflowId(*parent)));
        wanted = parents;
    }
    Ok(known)
}

/// Whether they are live, of those that nobody else has locked.
async fn lock_roots(
    store: &Store,
    tx: &DatabaseTransaction,
    ids: BTreeSet<WorkflowId>,
) -> Result<BTreeMap<WorkflowId, bool>, StoreError> {
    let keys: Vec<i64> = ids.into_iter().map(|id| id.0).collect();
    let mut locked = BTreeMap::new();
    for some in keys.chunks(KEYS_MAX) {
        let mut sql = store.sql("SELECT id, state FROM workflows WHERE ");
        sql.is_in("id", some);
        if !store.is_off("workflow.locks") {
            sql.push(for_update_skip(store.backend()));
        }
        for row in sql.all(tx).await? {
            let (id, is_live) = read(&row)?;
            locked.insert(id, is_live);
        }
    }
    Ok(locked)
}

fn read(row: &QueryResult) -> Result<(WorkflowId, bool), StoreError> {
    let state: i16 = row.try_get_by_index(1)?;
    let state = WorkflowState::from_code(state)
        .ok_or_else(|| StoreError::Corrupt(format!("the workflow state {state}")))?;
    Ok((WorkflowId(row.try_get_by_index(0)?), !state.is_terminal()))
}
