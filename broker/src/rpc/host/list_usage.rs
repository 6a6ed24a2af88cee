//! ListUsage: what users have used, those who used the most first.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_core::{
    limits::{USAGE_USERS_MAX, USER_BYTES_MAX},
    validate::{at::At, text},
    violation::Violations,
};
use asyncflow_proto::v1;

use super::told;
use crate::{
    broker::Broker,
    convert::{time, usage},
    error::RpcError,
};

const START_DEFAULT_MS: i64 = 30 * 86_400_000;
/// Hosts that are looked at in one step.
const HOSTS: u32 = 200;

pub async fn list_usage(
    broker: &Broker,
    request: v1::ListUsageRequest,
) -> Result<v1::ListUsageResponse, RpcError> {
    let mut violations = Violations::new();
    let at = At::REQUEST;
    text::line(&request.user, USER_BYTES_MAX, at.field("user"), &mut violations);
    let start_at = at.field("start_time");
    let start_ms = time::timestamp_ms(request.start_time.as_ref(), start_at, &mut violations);
    violations.none()?;

    let start_ms = match start_ms {
        Some(start_ms) => start_ms,
        None => broker.store.now_ms().await? - START_DEFAULT_MS,
    };
    let user = Some(request.user.as_str()).filter(|user| !user.is_empty());
    let used = broker.store.usage(start_ms, user).await?;
    let decayed = broker.store.decayed_gpu_seconds().await?;
    let now = gpus_now(broker).await?;
    let names: BTreeSet<&String> = used.keys().chain(decayed.keys()).chain(now.keys()).collect();
    let names = names.into_iter().filter(|name| user.is_none_or(|user| user == name.as_str()));
    let mut users: Vec<v1::UserUsage> = names
        .map(|name| v1::UserUsage {
            gpus_now: now.get(name).copied().unwrap_or_default(),
            decayed_gpu_seconds: decayed.get(name).copied().unwrap_or_default(),
            ..usage::of_user(name, used.get(name).copied().unwrap_or_default())
        })
        .collect();
    users.sort_by(|one, other| other.gpu_seconds.total_cmp(&one.gpu_seconds));
    users.truncate(USAGE_USERS_MAX);
    Ok(v1::ListUsageResponse { users })
}

/// GPUs in use by user, as living workers told last.
async fn gpus_now(broker: &Broker) -> Result<BTreeMap<String, f64>, RpcError> {
    let mut now = BTreeMap::new();
    let mut after: Option<String> = None;
    loop {
        let rows = broker.store.list_hosts(after.as_deref(), HOSTS).await?;
        let is_last = rows.len() < HOSTS as usize;
        after = rows.last().map(|row| row.worker.registration.worker_id.clone());
        for host in told(broker, rows).await? {
            let is_alive = host.worker.is_some_and(|worker| worker.alive);
            for (user, gpus) in host.report.iter().filter(|_| is_alive).flat_map(usage::gpus_now) {
                *now.entry(user).or_default() += gpus;
            }
        }
        if is_last {
            return Ok(now);
        }
    }
}
