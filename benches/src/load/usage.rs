//! What a load has cost: processor time of brokers and database, commits, log.

use super::{
    deployment::Deployment,
    report::{More, rounded},
};
use crate::error::BenchError;
use asyncflow_store::{
    Backend,
    testing::{STATISTICS_LAG, ServerWork},
};
use serde_json::Value;

/// Totals at a moment; what is not known is absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub broker_cpu_ms: Option<f64>,
    pub database_cpu_ms: Option<f64>,
    pub work: Option<ServerWork>,
}

impl Usage {
    /// What was used since an earlier look.
    pub fn since(self, earlier: Self) -> Self {
        let less = |now: Option<f64>, then: Option<f64>| Some(now? - then?);
        Self {
            broker_cpu_ms: less(self.broker_cpu_ms, earlier.broker_cpu_ms),
            database_cpu_ms: less(self.database_cpu_ms, earlier.database_cpu_ms),
            work: self.work.zip(earlier.work).map(|(now, then)| now.since(then)),
        }
    }

    /// Its parts for each of `tasks`.
    pub fn per_task(self, tasks: u64) -> More {
        let each = |total: f64| Value::from(rounded(total / tasks.max(1) as f64));
        let mut more = More::new();
        let mut add = |name, total: Option<f64>| {
            if let Some(total) = total {
                more.insert(name, each(total));
            }
        };
        add("broker_cpu_ms_per_task", self.broker_cpu_ms);
        add("database_cpu_ms_per_task", self.database_cpu_ms);
        add("commits_per_task", self.work.map(|work| work.commits as f64));
        add("log_bytes_per_task", self.work.map(|work| work.log_bytes as f64));
        let dead = self.work.map(|work| work.dead_rows as f64).filter(|dead| *dead > 0.0);
        add("dead_rows_per_task", dead);
        more
    }
}

/// What was used since `before` by a load that has just ended.
pub async fn used_since(deployment: &Deployment, before: Usage) -> Result<Usage, BenchError> {
    let mut used = deployment.usage().await?.since(before);
    if settle(deployment).await {
        // All else is exact at once and has grown since by what the server does by itself.
        let late = deployment.usage().await?.since(before).work;
        used.work = used.work.zip(late).map(|(work, late)| ServerWork {
            dead_rows: late.dead_rows,
            statements: late.statements,
            ..work
        });
    }
    Ok(used)
}

/// Waits until PostgreSQL has the statistics of what was done so far; whether that was needed.
pub async fn settle(deployment: &Deployment) -> bool {
    let postgres = deployment.store().is_some_and(|store| store.backend() == Backend::Postgres);
    if postgres {
        tokio::time::sleep(STATISTICS_LAG).await;
    }
    postgres
}
