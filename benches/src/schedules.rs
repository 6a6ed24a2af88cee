//! Schedules that are due in the same minute: how long until all have fired, by the store alone as
//! the governor calls it, while a broker runs.

use crate::{clock::Stopwatch, error::BenchError, limits, record::Records, target::Target};
use asyncflow_core::{
    id::TypeName,
    schedule::{
        action::Action,
        spec::{Overlap, Spec, Timing},
    },
};
use asyncflow_store::{NewSchedule, Store, StoreError, StoreOptions};
use futures::{StreamExt, TryStreamExt, stream};
use std::sync::Arc;

const SCHEDULES: usize = 10_000;
const CREATORS: usize = 16;
const EVERY_MS: i64 = 3_600_000;
/// As the governor has it.
const BATCH: u32 = 500;

pub async fn measure(target: &Target, records: &mut Records) -> Result<(), BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    let name = TypeName::new("bench_schedules");
    let name = name.map_err(|error| BenchError::Other(error.to_string()))?;
    let task_type = Arc::new(store.ensure_type(&name).await?);
    let mut task = limits::row(&task_type).new;
    task.request_id = None;
    let due_ms = store.now_ms().await? + EVERY_MS;
    for (round, overlap) in [Overlap::Allow, Overlap::Skip].into_iter().enumerate() {
        // Each at a time of its own.
        let first_ms = due_ms + round as i64 * 1_000;
        let new = NewSchedule {
            user: "bench".to_owned(),
            name: String::new(),
            spec: Spec {
                timing: Timing::Interval { every_ms: EVERY_MS, anchor_ms: first_ms },
                start_ms: None,
                end_ms: None,
                jitter_ms: 0,
                overlap,
                catch_up_ms: EVERY_MS,
            },
            action: Action::Task(Box::new(task.clone())),
            source: vec![b'x'; 500],
            request_id: None,
            create_time_ms: due_ms - EVERY_MS,
        };
        stream::iter(0..SCHEDULES)
            .map(|_| store.create_schedule(&new))
            .buffer_unordered(CREATORS)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|error| BenchError::Other(error.to_string()))?;
        let watch = Stopwatch::start();
        let made = fire(&store, first_ms).await?;
        let measure = format!("{SCHEDULES} schedules due at once fire, {overlap:?}");
        records.add(&measure, "s", watch.elapsed().as_secs_f64())?;
        if made != SCHEDULES {
            return Err(BenchError::Other(format!("{made} tasks were made, not {SCHEDULES}")));
        }
    }
    // Those that may overlap fire again; for the others 10,000 runs are found to live.
    let watch = Stopwatch::start();
    let made = fire(&store, due_ms + EVERY_MS + 1_000).await?;
    let measure = format!("{SCHEDULES} fire again and {SCHEDULES} are skipped");
    records.add(&measure, "s", watch.elapsed().as_secs_f64())?;
    if made != SCHEDULES {
        return Err(BenchError::Other(format!("{made} tasks were made, not {SCHEDULES}")));
    }
    store.close().await;
    Ok(())
}

/// Until nothing is due any more, as the governor's duty does; how many tasks were made.
async fn fire(store: &Store, now_ms: i64) -> Result<usize, StoreError> {
    let mut made = 0;
    loop {
        let fired = store.fire_due(now_ms, BATCH, None).await?;
        made += fired.made.len();
        if !fired.more {
            return Ok(made);
        }
    }
}
