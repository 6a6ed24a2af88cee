//! The bounds of everything that comes from outside. One place, so that the docs, the proto
//! comments and the checks cannot drift apart.

pub const USER_BYTES_MAX: usize = 64;
pub const NAME_BYTES_MAX: usize = 128;
pub const LABELS_MAX: usize = 32;
pub const LABEL_KEY_BYTES_MAX: usize = 63;
pub const LABEL_VALUE_BYTES_MAX: usize = 255;
pub const REQUEST_ID_BYTES_MAX: usize = 128;
pub const CONTENT_TYPE_BYTES_MAX: usize = 128;
pub const STAGE_BYTES_MAX: usize = 64;
pub const MESSAGE_BYTES_MAX: usize = 1_024;
pub const WORKER_ID_BYTES_MAX: usize = 64;
pub const METRICS_MAX: usize = 32;
/// What a task is created with.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1_024;
/// `max_context_bytes` of a type unless it says otherwise, as in the seed.
pub const CONTEXT_BYTES_DEFAULT: i32 = 8_192;
/// The largest `max_context_bytes` that can be set.
pub const CONTEXT_BYTES_MAX: i32 = 1_024 * 1_024;
pub const RESULT_BYTES_MAX: usize = 64 * 1_024;
pub const PRIORITY_MIN: i32 = -1_000;
pub const PRIORITY_MAX: i32 = 1_000;
pub const RETRIES_MAX: i32 = 1_000;
/// Retry intervals and running times: 1 ms to a year.
pub const DURATION_MS_MAX: i64 = 365 * 24 * 3_600 * 1_000;
/// `not_before` may lie at most this far ahead: ten years.
pub const NOT_BEFORE_AHEAD_MS_MAX: i64 = 10 * DURATION_MS_MAX;
/// Nodes of a workflow, members of its groups counted.
pub const FLOW_NODES_MAX: usize = 10_000;
/// Nodes of a workflow that wait for each other in a row.
pub const FLOW_DEPTH_MAX: usize = 1_000;
/// Workflows within workflows.
pub const FLOW_NESTING_MAX: usize = 16;
/// What a workflow is created with.
pub const FLOW_INPUT_BYTES_MAX: usize = 1_024 * 1_024;
/// Items of a map.
pub const FLOW_ITEMS_MAX: usize = 100_000;
pub const NODE_NAME_BYTES_MAX: usize = 64;
/// The longest condition of a task's success.
pub const SUCCESS_IF_BYTES_MAX: usize = 1_024;
/// Tasks that a task waits for before its first attempt.
pub const PREDECESSORS_MAX: usize = 100;
/// Signals that a task waits for at once, or that are kept for it.
pub const SIGNALS_MAX: usize = 32;
pub const SIGNAL_NAME_BYTES_MAX: usize = 64;
/// Volumes of a container.
pub const VOLUMES_MAX: usize = 64;
pub const IMAGE_BYTES_MAX: usize = 255;
/// The name of a conda environment.
pub const PYTHON_NAME_BYTES_MAX: usize = 128;
/// What of a diff is kept.
pub const DIFF_BYTES_MAX: usize = 64 * 1_024;
/// What all signals of a task, or of a workflow, weigh together.
pub const SIGNALS_BYTES_MAX: usize = 8 * 1_024;
/// Tasks that wait for the end of one.
pub const WAITERS_MAX: usize = 10_000;
/// Callbacks of a task on all levels.
pub const CALLBACKS_ALL_MAX: usize = 100;
/// Callbacks of each kind.
pub const CALLBACKS_MAX: usize = 16;
/// How deep callbacks of callbacks go.
pub const CALLBACK_LEVELS_MAX: usize = 4;
/// How the tasks that a task makes in one call are named.
pub const CHILDREN_KEY_BYTES_MAX: usize = 40;
/// The model of a GPU, as its driver calls it.
pub const GPU_NAME_BYTES_MAX: usize = 128;
/// GPUs that a task may have for itself.
pub const TASK_GPUS_MAX: i64 = 64;
pub const TASK_CPUS_MAX: f64 = 10_000.0;
/// Memory that a task may need, of a GPU or of the host: 1 PiB.
pub const TASK_MEMORY_BYTES_MAX: i64 = 1 << 50;
pub const GPU_MODEL_BYTES_MAX: usize = 64;
/// The shortest time after which a task is stopped whose GPUs are idle.
pub const GPU_IDLE_MS_MIN: i64 = 1_000;
pub const BATCH_TASKS_MAX: usize = 1_000;
pub const PAGE_SIZE_DEFAULT: i32 = 50;
pub const PAGE_SIZE_MAX: i32 = 1_000;
/// Tasks per AcquireTasks.
pub const ACQUIRE_TASKS_MAX: i32 = 1_000;
/// Outcomes per SettleTasks.
pub const SETTLE_TASKS_MAX: usize = 1_000;
/// Leases in one heartbeat.
pub const HEARTBEAT_LEASES_MAX: usize = 10_000;
/// Tasks that a worker runs at once.
pub const SLOTS_MAX: i32 = 10_000;
/// Task types that a worker or an acquire names.
pub const WORKER_TYPES_MAX: usize = 1_000;
pub const METRIC_NAME_BYTES_MAX: usize = 64;
pub const INCARNATION_BYTES_MAX: usize = 128;
pub const ACQUIRE_ID_BYTES_MAX: usize = 64;
pub const HOST_BYTES_MAX: usize = 255;
/// GPUs of a host.
pub const GPUS_MAX: usize = 64;
/// The UUID of a GPU, or of a part of one.
pub const GPU_UUID_BYTES_MAX: usize = 96;
/// Processes on a GPU that are told.
pub const GPU_PROCESSES_MAX: usize = 256;
/// Tasks that a host tells of.
pub const HOST_RUNNING_MAX: usize = 1_000;
/// What an operator should know of a host.
pub const HOST_ALARMS_MAX: usize = 16;
/// Users whose usage is told.
pub const USAGE_USERS_MAX: usize = 1_000;
pub const VERSION_BYTES_MAX: usize = 64;
/// Lost workers after which a task is POISON.
pub const CRASHES_MAX: i32 = 1_000;
/// How much longer than usual a straggler runs.
pub const SPECULATION_FACTOR_MIN: f64 = 1.5;
pub const SPECULATION_FACTOR_MAX: f64 = 100.0;
/// Ended tasks that tell what is usual.
pub const SPECULATION_SAMPLE_MAX: i32 = 200;
pub const SHARD_ROWS_MIN: i64 = 1_000;
pub const SHARD_ROWS_MAX: i64 = 1_000_000_000;
pub const SCHEDULE_LIMIT_MAX: i32 = 1_000;
pub const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// A program's path, a working directory.
pub const PATH_BYTES_MAX: usize = 4_096;
pub const ARGS_MAX: usize = 1_000;
/// One argument, or the value of one environment variable.
pub const ARG_BYTES_MAX: usize = 32 * 1_024;
pub const ENVIRONMENT_MAX: usize = 256;
pub const ENVIRONMENT_NAME_BYTES_MAX: usize = 256;
pub const FILTER_BYTES_MAX: usize = 4_096;
pub const PAGE_TOKEN_BYTES_MAX: usize = 512;
/// Tasks that one WatchTasks names.
pub const WATCH_TASKS_MAX: usize = 1_000;
/// The longest lease, and so the longest time that a lease in force may last still.
pub const LEASE_MS_MAX: i64 = 3_600_000;
/// The longest wait of a WaitTask or an AcquireTasks.
pub const WAIT_MS_MAX: i64 = 60_000;
/// The wait of a WaitTask or an AcquireTasks that names none.
pub const WAIT_MS_DEFAULT: i64 = 30_000;
/// One piece of a task's log.
pub const LOG_CHUNK_BYTES_MAX: usize = 64 * 1_024;
/// All pieces of one PushTaskLogs.
pub const LOG_CALL_BYTES_MAX: usize = 1_024 * 1_024;
/// How many pieces that are.
pub const LOG_CALL_CHUNKS_MAX: usize = 4_096;
/// Where a piece of a log starts at most: 1 PiB.
pub const LOG_OFFSET_MAX: i64 = 1 << 50;

/// A text longer than this is no cron expression that anybody means.
pub const CRON_BYTES_MAX: usize = 256;
pub const TIME_ZONE_BYTES_MAX: usize = 64;
/// Interval schedules, in milliseconds: a second to a year.
pub const SCHEDULE_INTERVAL_MS_MIN: i64 = 1_000;
pub const SCHEDULE_JITTER_MS_MAX: i64 = 24 * 3_600_000;
pub const CATCH_UP_MS_DEFAULT: i64 = 3_600_000;
pub const CATCH_UP_MS_MIN: i64 = 10_000;
/// Fire times that one ListFireTimes tells.
pub const FIRE_TIMES_MAX: i32 = 1_000;
pub const FIRE_TIMES_DEFAULT: i32 = 10;
/// Fire times that one BackfillSchedule covers.
pub const BACKFILL_FIRES_MAX: usize = 1_000;
