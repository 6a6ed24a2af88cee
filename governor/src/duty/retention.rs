//! `retention`: deletes what is kept long enough, in bounded transactions.

use super::{Duty, DutyContext, every_type::all_types};
use crate::config::{GovernorConfig, RetentionConfig};
use asyncflow_core::id::TypeName;
use asyncflow_store::StoreError;
use std::time::Duration;

/// Transactions per run and kind of row, so that one backlog does not hold up the others; what is
/// left is deleted by the next runs.
const BATCHES_MAX: usize = 200;

/// Workflows per transaction.
const WORKFLOWS_MAX: u32 = 20;

/// See the module.
pub(crate) struct Retention {
    interval: Duration,
    batch_rows_max: u32,
    keep: RetentionConfig,
}

impl Retention {
    pub fn new(config: &GovernorConfig) -> Self {
        Self {
            interval: Duration::from_millis(config.duties.retention_interval_ms),
            batch_rows_max: config.duties.batch_rows_max,
            keep: config.retention.clone(),
        }
    }

    /// Deletes the rows of one kind from before `before_ms`, in bounded transactions.
    async fn purge(
        &self,
        cx: &DutyContext,
        rows: Rows<'_>,
        before_ms: i64,
    ) -> Result<u64, StoreError> {
        let (store, fence) = (&cx.store, &cx.fence);
        // A workflow is many rows.
        let limit = match rows {
            Rows::Workflows => self.batch_rows_max.min(WORKFLOWS_MAX),
            _ => self.batch_rows_max,
        };
        let mut deleted = 0;
        for _ in 0..BATCHES_MAX {
            let batch = match rows {
                Rows::Tasks(of) => {
                    store.delete_terminal_before(of, before_ms, limit, Some(fence)).await?
                }
                Rows::RequestIds => store.purge_dedup(before_ms, limit, Some(fence)).await?,
                Rows::Acquires => store.purge_acquires(before_ms, limit, Some(fence)).await?,
                Rows::Changes => store.purge_changes(before_ms, limit, Some(fence)).await?,
                Rows::Logs => store.purge_logs(before_ms, limit, Some(fence)).await?,
                Rows::Workflows => store.purge_workflows(before_ms, limit, Some(fence)).await?,
                Rows::Operations => store.purge_operations(before_ms, limit, Some(fence)).await?,
                Rows::Fires => store.purge_fires(before_ms, limit, Some(fence)).await?,
            };
            deleted += batch;
            if batch < u64::from(limit) {
                break;
            }
        }
        Ok(deleted)
    }
}

/// What is deleted by its age.
#[derive(Clone, Copy)]
enum Rows<'a> {
    /// Terminal tasks of a type.
    Tasks(&'a TypeName),
    RequestIds,
    Acquires,
    Changes,
    Logs,
    Workflows,
    Operations,
    /// What became of the fire times of schedules.
    Fires,
}

#[async_trait::async_trait]
impl Duty for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn description(&self) -> &'static str {
        "deletes finished tasks past their type's retention, and what else nobody needs any more"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        let now_ms = cx.store.now_ms().await?;
        let before = |kept_ms: u64| now_ms.saturating_sub_unsigned(kept_ms);
        let mut deleted = 0;
        for (rows, kept_ms) in [
            (Rows::RequestIds, self.keep.request_ids_ms),
            (Rows::Acquires, self.keep.acquires_ms),
            (Rows::Changes, self.keep.changes_ms),
            (Rows::Logs, self.keep.logs_ms),
            (Rows::Operations, self.keep.operations_ms),
            (Rows::Fires, self.keep.schedule_fires_ms),
        ] {
            deleted += self.purge(cx, rows, before(kept_ms)).await?;
        }
        deleted += self.purge(cx, Rows::Workflows, before(self.keep.workflows_ms)).await?;
        deleted +=
            cx.store.delete_stale_workers(before(self.keep.workers_ms), Some(&cx.fence)).await?;
        deleted += cx.store.purge_orders(before(self.keep.host_orders_ms), Some(&cx.fence)).await?;
        for task_type in all_types(&cx.store).await? {
            if let Some(before_ms) = task_type.delete_rows_before_ms(now_ms) {
                deleted += self.purge(cx, Rows::Tasks(&task_type.name), before_ms).await?;
            }
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::Bed;
    use asyncflow_core::{
        host::OrderName,
        operation::{NewOperation, OperationKind},
        state::TaskState,
    };
    use asyncflow_store::Registration;

    #[tokio::test]
    async fn finished_tasks_go_when_their_type_says_so_and_others_stay() {
        for bed in Bed::everywhere().await {
            let lead = bed.lead("g1").await;
            let mut config = bed.config();
            config.duties.batch_rows_max = 2;
            let mut retention = Retention::new(&config);
            let mut short = Vec::new();
            for _ in 0..5 {
                let id = bed.new_task("short", None).await;
                bed.complete(&id).await;
                short.push(id);
            }
            let waiting = bed.new_task("short", None).await;
            let kept = bed.new_task("long", None).await;
            bed.complete(&kept).await;
            bed.set_type("short", |task_type| task_type.retention_ms = 1).await;
            bed.set_type("long", |task_type| task_type.retention_ms = 3_600_000).await;

            let mut gone = false;
            while !gone {
                bed.run(&mut retention, &lead).await.unwrap();
                gone = true;
                for id in &short {
                    gone &= bed.task(id).await.is_none();
                }
            }
            assert_eq!(bed.task(&waiting).await.unwrap().state, TaskState::Pending);
            assert_eq!(bed.task(&kept).await.unwrap().state, TaskState::Succeeded);
        }
    }

    #[tokio::test]
    async fn operations_that_are_over_go_after_their_time() {
        let bed = Bed::sqlite().await;
        let lead = bed.lead("g1").await;
        let new = NewOperation {
            kind: OperationKind::Cancel,
            user: "ann".into(),
            filter: "user = ann".into(),
            only_user: None,
            changes_max: None,
            message: String::new(),
            from_start: false,
            request_id: None,
        };
        let over = bed.store.create_operation(&new, 16).await.unwrap().operation.id;
        let live = bed.store.create_operation(&new, 16).await.unwrap().operation.id;
        bed.store.cancel_operation(over).await.unwrap();
        let mut config = bed.config();
        bed.run(&mut Retention::new(&config), &lead).await.unwrap();
        assert!(bed.store.find_operation(over).await.unwrap().is_some(), "it is kept for days");
        config.retention.operations_ms = 0;
        let mut retention = Retention::new(&config);
        while bed.store.find_operation(over).await.unwrap().is_some() {
            bed.run(&mut retention, &lead).await.unwrap();
        }
        assert!(bed.store.find_operation(live).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn orders_of_hosts_that_never_come_back_go_after_their_time() {
        for bed in Bed::everywhere().await {
            let lead = bed.lead("g1").await;
            let here = Registration { worker_id: "here".into(), ..Registration::default() };
            bed.store.register_worker(&here).await.unwrap();
            let cordon = |worker: &str| (worker.to_owned(), OrderName::Cordon, Vec::new());
            bed.store.put_orders(&[cordon("here"), cordon("gone")]).await.unwrap();
            let left = async || {
                let ids = ["here".to_owned(), "gone".to_owned()];
                bed.store.list_orders(&ids).await.unwrap().into_keys().collect::<Vec<_>>()
            };
            let mut config = bed.config();
            bed.run(&mut Retention::new(&config), &lead).await.unwrap();
            assert_eq!(left().await, ["gone", "here"], "it may be switched off for weeks");
            config.retention.host_orders_ms = 0;
            let mut retention = Retention::new(&config);
            while left().await.len() > 1 {
                bed.run(&mut retention, &lead).await.unwrap();
            }
            assert_eq!(left().await, ["here"], "a cordon of a living host has no end");
        }
    }

    #[tokio::test]
    async fn old_changes_go_and_an_older_term_deletes_nothing() {
        let bed = Bed::sqlite().await;
        let old = bed.lead("g1").await;
        let mut config = bed.config();
        config.retention.changes_ms = 0;
        let id = bed.new_task("short", None).await;
        bed.complete(&id).await;
        let last = bed.store.last_change_seq().await.unwrap();
        assert!(last > 0);
        let new = bed.lead("g2").await;
        let mut retention = Retention::new(&config);
        let refused = bed.run(&mut retention, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert_eq!(bed.store.last_change_seq().await.unwrap(), last);
        while bed.store.last_change_seq().await.unwrap() > 0 {
            bed.run(&mut retention, &new).await.unwrap();
        }
    }
}
