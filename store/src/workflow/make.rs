//! The tasks that a transaction makes besides those that somebody asks for one by one: of workflows
//! and of schedules.

use std::{collections::BTreeMap, time::Instant};

use asyncflow_core::{
    create::NewTask,
    id::{ShardId, TaskId, WorkflowId},
    task::{FullTask, Member, Task},
};
use sea_orm::DatabaseTransaction;

use super::row::lock_root;
use crate::{
    Store,
    clock::monotonic,
    condition::{self, Conditions, WaitRow},
    error::StoreError,
    ledger::Ledger,
    task::{LATE, insert_tasks},
};

/// Tasks until they are inserted, all together.
pub(crate) struct Making {
    now_ms: i64,
    begun: Instant,
    tasks: BTreeMap<ShardId, Vec<FullTask>>,
    waits: Vec<WaitRow>,
    /// Of workflows whose tasks have waited for signals so far, locked.
    roots: BTreeMap<WorkflowId, WorkflowId>,
}

impl Making {
    pub fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            begun: monotonic(),
            tasks: BTreeMap::new(),
            waits: Vec::new(),
            roots: BTreeMap::new(),
        }
    }

    /// Makes a task, as a part of a workflow if it is one; why it cannot be made, for people.
    pub async fn make(
        &mut self,
        store: &Store,
        tx: &DatabaseTransaction,
        new: NewTask,
        member: impl Into<Option<Member>>,
        ledger: &mut Ledger,
    ) -> Result<Result<TaskId, String>, StoreError> {
        let (name, member) = (new.task_type.clone(), member.into());
        let task_type = store.type_within(tx, &name).await?;
        let shard = store.open_shard_within(tx, &name).await?;
        let (Some(task_type), Some(shard)) = (task_type, shard) else {
            return Ok(Err(format!("there is no task type {name}")));
        };
        let id = TaskId { shard, key: store.next_key(self.now_ms) };
        let conditions = new.has_conditions().then(|| Conditions::of(&new));
        let mut full = new.into_task(&task_type, id.clone(), self.now_ms);
        full.task.member = member;
        if let Some(conditions) = conditions {
            let root = match member {
                Some(member) => Some(self.root_of(store, tx, member.workflow).await?),
                None => None,
            };
            let with = (self.now_ms, ledger);
            match condition::hold(store, tx, &mut full, &conditions, root, with).await? {
                Ok(rows) => self.waits.extend(rows),
                Err(what) => return Ok(Err(what)),
            }
        }
        self.tasks.entry(id.shard.clone()).or_default().push(full);
        Ok(Ok(id))
    }

    async fn root_of(
        &mut self,
        store: &Store,
        tx: &DatabaseTransaction,
        workflow: WorkflowId,
    ) -> Result<WorkflowId, StoreError> {
        if let Some(root) = self.roots.get(&workflow) {
            return Ok(*root);
        }
        let root = lock_root(store, tx, workflow).await?;
        self.roots.insert(workflow, root);
        Ok(root)
    }

    /// Inserts them; answers them.
    ///
    /// # Errors
    /// Those of the database; `NoSuchTable` when one of their shards was dropped meanwhile, which
    /// is looked for anew by whoever repeats this.
    pub async fn insert(
        self,
        store: &Store,
        tx: &DatabaseTransaction,
        ledger: &mut Ledger,
    ) -> Result<Vec<Task>, StoreError> {
        let mut made = Vec::new();
        for (shard, tasks) in self.tasks {
            let rows: Vec<&FullTask> = tasks.iter().collect();
            let inserted = insert_tasks(store, tx, &shard, &rows).await;
            if let Err(StoreError::NoSuchTable(_)) = &inserted {
                store.shard_cache().forget(&shard.task_type);
            }
            inserted?;
            if monotonic().duration_since(self.begun) > LATE {
                store.reopen(tx, &shard, self.now_ms).await?;
            }
            tasks.iter().for_each(|full| ledger.created(&full.task));
            made.extend(tasks.into_iter().map(|full| full.task));
        }
        condition::insert(store, tx, self.waits).await?;
        Ok(made)
    }
}
