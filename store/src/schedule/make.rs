//! Makes what schedules make, in the transaction in which they fire.

use asyncflow_core::{
    create::NewTask,
    id::WorkflowId,
    schedule::action::{Action, FlowAction, Run},
    task::Task,
    validate::at::At,
    violation::Violations,
    workflow::definition::NewWorkflow,
};
use sea_orm::DatabaseTransaction;

use crate::{
    Store,
    error::StoreError,
    ledger::Ledger,
    workflow::{Birth, Followed, Left, Making, bear},
};

/// A trace of its own for what is made, as W3C has it: nobody has called for it.
fn new_trace() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// What was made in a transaction so far.
pub(super) struct Maker<'a> {
    store: &'a Store,
    tx: &'a DatabaseTransaction,
    pub now_ms: i64,
    ledger: Ledger,
    tasks: Making,
    made: Vec<Task>,
    left: Vec<Left>,
}

impl<'a> Maker<'a> {
    pub fn new(store: &'a Store, tx: &'a DatabaseTransaction, now_ms: i64) -> Self {
        let (ledger, tasks) = (Ledger::default(), Making::new(now_ms));
        Self { store, tx, now_ms, ledger, tasks, made: Vec::new(), left: Vec::new() }
    }

    /// Makes a task or a workflow of this user; or says why it cannot be made.
    pub async fn make(
        &mut self,
        user: &str,
        action: &Action,
    ) -> Result<Result<Run, String>, StoreError> {
        for task in action.tasks() {
            if let Err(what) = self.check(task).await? {
                return Ok(Err(what));
            }
        }
        match action {
            Action::Task(task) => {
                let (store, tx) = (self.store, self.tx);
                let new = NewTask { trace_id: new_trace(), ..(**task).clone() };
                let made = self.tasks.make(store, tx, new, None, &mut self.ledger).await?;
                Ok(made.map(Run::Task))
            }
            Action::Workflow(workflow) => self.make_workflow(user, workflow).await.map(Ok),
        }
    }

    /// Whether the type of a task is there and allows it, as it is now.
    async fn check(&self, task: &NewTask) -> Result<Result<(), String>, StoreError> {
        let name = &task.task_type;
        let Some(task_type) = self.store.type_within(self.tx, name).await? else {
            return Ok(Err(format!("there is no task type {name}")));
        };
        let mut violations = Violations::new();
        task.check_bounds(&task_type, At::REQUEST.field("task"), &mut violations);
        Ok(violations.none().map_err(|wrong| wrong.to_string()))
    }

    async fn make_workflow(
        &mut self,
        user: &str,
        workflow: &FlowAction,
    ) -> Result<Run, StoreError> {
        let id = WorkflowId(self.store.next_key(self.now_ms));
        let new = NewWorkflow {
            user: user.to_owned(),
            name: workflow.name.clone(),
            labels: workflow.labels.clone(),
            input: workflow.input.clone(),
            flow: workflow.flow.clone(),
            request_id: None,
            trace_id: new_trace(),
        };
        let birth = Birth::of(&new, id, 0, self.now_ms);
        let followed = bear(self.store, self.tx, birth, self.now_ms, &mut self.ledger).await?;
        self.made.extend(followed.made);
        self.left.extend(followed.left);
        Ok(Run::Workflow(id))
    }

    /// Writes the tasks and what is counted of them: the last statements of the transaction.
    pub async fn finish(mut self) -> Result<Followed, StoreError> {
        self.made.extend(self.tasks.insert(self.store, self.tx, &mut self.ledger).await?);
        self.ledger.write(self.store, self.tx, self.now_ms).await?;
        Ok(Followed { made: self.made, left: self.left })
    }
}

impl Store {
    /// Makes tables for the types of what is to be made, which a transaction cannot. A type that is
    /// gone is found out later.
    pub(super) async fn ready_shards<'a>(
        &self,
        actions: impl IntoIterator<Item = &'a Action>,
    ) -> Result<(), StoreError> {
        let mut names = std::collections::BTreeSet::new();
        actions.into_iter().for_each(|action| names.extend(action.task_types().into_keys()));
        for name in names {
            if self.get_type(name).await?.is_some() {
                self.open_shard(name).await?;
            }
        }
        Ok(())
    }

    /// A shard was dropped behind our back: they are looked up again.
    pub(super) fn forget_shards<'a>(&self, actions: impl IntoIterator<Item = &'a Action>) {
        for name in actions.into_iter().flat_map(|action| action.task_types().into_keys()) {
            self.shard_cache().forget(name);
        }
    }

    /// After the COMMIT: tells of what was made, and sees to what is left.
    pub(super) async fn made_by_schedules(&self, followed: Followed) -> Vec<Task> {
        let Followed { mut made, left } = followed;
        self.announce(&made);
        made.extend(self.leave(left).await);
        made
    }
}
