//! First pages and counts at size, while only the stream runs.

use super::sample::quantile;
use crate::{
    brokers::Owner, clock::Stopwatch, error::BenchError, record::thousands, target::Target,
};
use asyncflow_core::{
    id::{ShardId, TypeName},
    task::Labels,
};
use asyncflow_proto::v1::{
    CountTasksRequest, ListShardsRequest, ListTasksRequest, TaskState,
    governor_service_client::GovernorServiceClient,
};
use asyncflow_store::{CompareLimits, Compared, Store, StoreOptions};
use std::time::Duration;
use tonic::{Code, Status, transport::Channel};

const REPEATS: usize = 20;

/// A user with a few tasks, all of them in the oldest shard.
pub const RARE_USER: &str = "rare";
/// Users with a twentieth of the rows each are called this and two digits.
pub const COMMON_USER: &str = "user";

/// What a tenth of the ballast carries.
pub fn common_labels() -> Labels {
    let labels = [("project", "vision"), ("tier", "gold")];
    labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// What the tasks of [`RARE_USER`] carry.
pub fn rare_labels() -> Labels {
    Labels::from([("project".to_owned(), "audio".to_owned())])
}

/// The filters of ListTasks that are timed.
const FILTERS: [&str; 21] = [
    "",
    "task_type = bench",
    "user = \"user07\"",
    "user = \"rare\"",
    "user = \"nobody\"",
    "state = PENDING",
    "state = RUNNING",
    "state = SUCCEEDED",
    "state = FAILED",
    "(state = PENDING OR state = RUNNING)",
    "state = SUCCEEDED AND user = \"user07\"",
    "state = SUCCEEDED AND user = \"rare\"",
    "state = FAILED AND user = \"user07\"",
    "labels.project = \"vision\"",
    "labels.project = \"audio\"",
    "labels.project = \"vision\" AND user = \"user07\"",
    "labels.project = \"vision\" AND user = \"rare\"",
    "labels.project = \"vision\" AND state = FAILED",
    "labels.project = \"vision\" AND labels.tier = \"gold\"",
    "labels.project = \"audio\" AND labels.tier = \"gold\"",
    "create_time < \"2026-01-01T00:00:00Z\"",
];

/// How long one read took, over some repetitions.
pub struct Read {
    pub what: String,
    /// `None` when it was refused, as a query that no index serves may be.
    pub took: Option<Took>,
}

#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub p50: Duration,
    pub longest: Duration,
}

/// Times every list and every count, and the look at the counts of the type's first shard.
pub async fn measure(target: &Target, task_type: &TypeName) -> Result<Vec<Read>, BenchError> {
    let owner = target.owner()?;
    let mut reads = Vec::new();
    for filter in FILTERS {
        let what = format!("ListTasks, `{filter}`").replace(", ``", "");
        let request = ListTasksRequest { filter: filter.to_owned(), ..Default::default() };
        reads.push(read(what, &owner, request, list).await?);
    }
    let states = vec![TaskState::Pending.into()];
    let (of_type, user) = (task_type.to_string(), "user07".to_owned());
    let counts = [
        ("all", CountTasksRequest::default()),
        ("of a type", CountTasksRequest { task_type: of_type, ..Default::default() }),
        ("of a user", CountTasksRequest { user, ..Default::default() }),
        ("in a state", CountTasksRequest { states, ..Default::default() }),
    ];
    for (name, request) in counts {
        reads.push(read(format!("CountTasks, {name}"), &owner, request, count).await?);
    }
    let governor = target.governor().await?;
    let request = ListShardsRequest::default();
    reads.push(read("ListShards, with sizes".to_owned(), &governor, request, shards).await?);
    reads.push(compare_counts(target, task_type).await?);
    Ok(reads)
}

/// What the governor's duty `reconcile` does with the first shard, once.
async fn compare_counts(target: &Target, task_type: &TypeName) -> Result<Read, BenchError> {
    let store = Store::connect(&StoreOptions::new(target.database_url())).await?;
    let shard = ShardId { task_type: task_type.clone(), number: 1 };
    let limits = CompareLimits { page_rows: 10_000, snapshot_max: Duration::from_secs(600) };
    let asked = Stopwatch::start();
    let Compared::Whole(found) = store.compare_counts(&shard, limits).await? else {
        return Err(BenchError::Other("the counts could not be compared".to_owned()));
    };
    let took = asked.elapsed();
    store.close().await;
    let (rows, drifts) = (thousands(found.rows.unsigned_abs()), found.drifts.len());
    let what = format!("counts against all {rows} rows of shard 1, once; {drifts} differ");
    Ok(Read { what, took: Some(Took { p50: took, longest: took }) })
}

async fn list(mut owner: Owner, request: ListTasksRequest) -> Result<(), Status> {
    owner.list_tasks(request).await.map(drop)
}

async fn count(mut owner: Owner, request: CountTasksRequest) -> Result<(), Status> {
    owner.count_tasks(request).await.map(drop)
}

async fn shards(
    mut governor: GovernorServiceClient<Channel>,
    request: ListShardsRequest,
) -> Result<(), Status> {
    governor.list_shards(request).await.map(drop)
}

async fn read<C: Clone, R: Clone, F: Future<Output = Result<(), Status>>>(
    what: String,
    client: &C,
    request: R,
    call: impl Fn(C, R) -> F,
) -> Result<Read, BenchError> {
    let mut latencies = Vec::with_capacity(REPEATS);
    for _ in 0..REPEATS {
        let asked = Stopwatch::start();
        match call(client.clone(), request.clone()).await {
            Ok(()) => latencies.push(asked.elapsed()),
            Err(status) if status.code() == Code::InvalidArgument => {
                return Ok(Read { what, took: None });
            }
            Err(status) => return Err(status.into()),
        }
    }
    latencies.sort_unstable();
    let (p50, longest) = (quantile(&latencies, 0.5), quantile(&latencies, 1.0));
    Ok(Read { what, took: Some(Took { p50, longest }) })
}
