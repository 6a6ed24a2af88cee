//! `results`: removes the results whose type keeps them for a shorter time than the tasks.

use super::{Duty, DutyContext, every_type::all_types};
use crate::config::GovernorConfig;
use asyncflow_store::{LeaderFence, ResultMarks, StoreError};
use std::time::Duration;

/// Pages per run and type, so that one backlog does not hold up the others.
const PAGES_MAX: usize = 200;

/// See the module.
pub(crate) struct Results {
    interval: Duration,
    batch_rows_max: u32,
    /// How far it came under the term that it last ran under; another leader begins anew.
    marks: ResultMarks,
    term: Option<LeaderFence>,
}

impl Results {
    pub fn new(config: &GovernorConfig) -> Self {
        Self {
            interval: Duration::from_millis(config.duties.retention_interval_ms),
            batch_rows_max: config.duties.batch_rows_max,
            marks: ResultMarks::new(),
            term: None,
        }
    }
}

#[async_trait::async_trait]
impl Duty for Results {
    fn name(&self) -> &'static str {
        "results"
    }

    fn description(&self) -> &'static str {
        "removes results past their type's result retention, while their tasks stay"
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    async fn run(&mut self, cx: &DutyContext) -> Result<u64, StoreError> {
        if self.term.as_ref() != Some(&cx.fence) {
            self.marks.clear();
            self.term = Some(cx.fence.clone());
        }
        let now_ms = cx.store.now_ms().await?;
        let (limit, fence) = (self.batch_rows_max, Some(&cx.fence));
        let mut expired = 0;
        for task_type in all_types(&cx.store).await? {
            if task_type.result_retention_ms <= 0 {
                continue;
            }
            let before_ms = now_ms.saturating_sub(task_type.result_retention_ms);
            for _ in 0..PAGES_MAX {
                let store = &cx.store;
                let marks = &mut self.marks;
                let page =
                    store.expire_results(&task_type.name, before_ms, marks, limit, fence).await?;
                expired += page.expired;
                if !page.more {
                    break;
                }
            }
        }
        Ok(expired)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;
    use crate::testing::Bed;
    use asyncflow_core::{event::Event, id::TaskId, state::TaskState, task::TaskBody};
    use asyncflow_store::Parts;

    async fn body(bed: &Bed, id: &TaskId) -> TaskBody {
        bed.store.get(id, Parts::ALL).await.unwrap().body
    }

    async fn sleep_past(bed: &Bed, id: &TaskId) {
        let ended_ms = bed.task(id).await.unwrap().finish_time_ms.unwrap();
        while bed.store.now_ms().await.unwrap() <= ended_ms + 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn results_go_when_their_type_says_so_and_their_tasks_stay() {
        for bed in Bed::everywhere().await {
            let lead = bed.lead("g1").await;
            let mut config = bed.config();
            config.duties.batch_rows_max = 2;
            let mut results = Results::new(&config);
            let mut ended = Vec::new();
            for at in 0..5 {
                let id = bed.new_task("short", None).await;
                bed.complete_with(&id, (at != 2).then_some("42")).await;
                ended.push(id);
            }
            let kept = bed.new_task("long", None).await;
            bed.complete_with(&kept, Some("43")).await;
            bed.set_type("short", |task_type| task_type.result_retention_ms = 1).await;
            sleep_past(&bed, &ended[4]).await;

            assert_eq!(bed.run(&mut results, &lead).await.unwrap(), 4);
            for (at, id) in ended.iter().enumerate() {
                let body = body(&bed, id).await;
                assert_eq!((body.result, body.result_expired), (None, at != 2));
                assert_eq!(bed.task(id).await.unwrap().state, TaskState::Succeeded);
            }
            assert_eq!(body(&bed, &kept).await.result.unwrap().data, "43");
            assert_eq!(bed.run(&mut results, &lead).await.unwrap(), 0);

            // A retried task gets a result of its own, which lives its own time.
            bed.apply(&ended[0], Event::retry(false)).await;
            assert!(!body(&bed, &ended[0]).await.result_expired);
            bed.complete_with(&ended[0], Some("44")).await;
            sleep_past(&bed, &ended[0]).await;
            assert_eq!(bed.run(&mut results, &lead).await.unwrap(), 1);
            assert!(body(&bed, &ended[0]).await.result_expired);
        }
    }

    #[tokio::test]
    async fn an_older_term_removes_nothing() {
        let bed = Bed::sqlite().await;
        let id = bed.new_task("short", None).await;
        bed.complete_with(&id, Some("42")).await;
        bed.set_type("short", |task_type| task_type.result_retention_ms = 1).await;
        sleep_past(&bed, &id).await;
        let (old, new) = (bed.lead("g1").await, bed.lead("g2").await);
        let mut results = Results::new(&bed.config());
        let refused = bed.run(&mut results, &old).await;
        assert!(matches!(refused, Err(StoreError::NotLeader)), "{refused:?}");
        assert!(body(&bed, &id).await.result.is_some());
        assert_eq!(bed.run(&mut results, &new).await.unwrap(), 1);
    }
}
