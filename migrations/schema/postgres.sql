-- Written by the test `schema`; UPDATE_SCHEMA=1 renews it.

CREATE TABLE IF NOT EXISTS task_types (
  name VARCHAR(40) NOT NULL,
  description TEXT NOT NULL,
  schedule_limit INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  retry_interval_ms BIGINT NOT NULL,
  retry_max_interval_ms BIGINT NOT NULL,
  max_running_ms BIGINT NOT NULL,
  max_crashes INTEGER NOT NULL,
  max_context_bytes INTEGER NOT NULL,
  shard_max_rows BIGINT NOT NULL,
  retention_ms BIGINT NOT NULL,
  paused SMALLINT NOT NULL,
  revision BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS shards (
  task_type VARCHAR(40) NOT NULL,
  number INTEGER NOT NULL,
  state SMALLINT NOT NULL,
  version BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  PRIMARY KEY (task_type, number)
);

CREATE TABLE IF NOT EXISTS task_counts (
  task_type VARCHAR(40) NOT NULL,
  shard INTEGER NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  state SMALLINT NOT NULL,
  slot SMALLINT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (task_type, shard, user_name, state, slot)
);

CREATE TABLE IF NOT EXISTS request_dedup (
  user_name VARCHAR(64) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  digest BIGINT NOT NULL,
  task_id VARCHAR(80) NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (user_name, request_id)
);

CREATE INDEX IF NOT EXISTS request_dedup_time ON request_dedup (create_time_ms);

CREATE TABLE IF NOT EXISTS workers (
  worker_id VARCHAR(64) NOT NULL,
  session_id BIGINT NOT NULL,
  incarnation VARCHAR(128) NOT NULL,
  info BYTEA NOT NULL,
  register_time_ms BIGINT NOT NULL,
  seen_time_ms BIGINT NOT NULL,
  draining SMALLINT NOT NULL,
  running INTEGER NOT NULL,
  PRIMARY KEY (worker_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS workers_session ON workers (session_id);

CREATE INDEX IF NOT EXISTS workers_seen ON workers (seen_time_ms);

CREATE TABLE IF NOT EXISTS acquires (
  session_id BIGINT NOT NULL,
  acquire_id VARCHAR(128) NOT NULL,
  tasks BYTEA NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (session_id, acquire_id)
);

CREATE INDEX IF NOT EXISTS acquires_time ON acquires (create_time_ms);

CREATE TABLE IF NOT EXISTS change_log (
  seq BIGSERIAL PRIMARY KEY,
  time_ms BIGINT NOT NULL,
  changes BYTEA NOT NULL
);

CREATE INDEX IF NOT EXISTS change_log_time ON change_log (time_ms);

CREATE TABLE IF NOT EXISTS task_log_chunks (
  task_id VARCHAR(80) NOT NULL,
  attempt INTEGER NOT NULL,
  byte_offset BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  time_ms BIGINT NOT NULL,
  bytes BYTEA NOT NULL,
  PRIMARY KEY (task_id, attempt, byte_offset)
);

CREATE INDEX IF NOT EXISTS task_log_chunks_time ON task_log_chunks (time_ms);

CREATE TABLE IF NOT EXISTS leader (
  name VARCHAR(40) NOT NULL,
  holder VARCHAR(128) NOT NULL,
  epoch BIGINT NOT NULL,
  expire_time_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS locks (
  name VARCHAR(128) NOT NULL,
  token VARCHAR(64) NOT NULL,
  expire_time_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS duties (
  name VARCHAR(64) NOT NULL,
  runs BIGINT NOT NULL,
  failures BIGINT NOT NULL,
  done BIGINT NOT NULL,
  last_start_ms BIGINT,
  last_end_ms BIGINT,
  last_error TEXT,
  PRIMARY KEY (name)
);

ALTER TABLE shards ADD COLUMN close_time_ms BIGINT;

ALTER TABLE shards ADD COLUMN drain_time_ms BIGINT;

ALTER TABLE shards ADD COLUMN archive TEXT;

ALTER TABLE task_types ADD COLUMN shard_max_age_ms BIGINT NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN result_retention_ms BIGINT NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN archive SMALLINT NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS workflows (
  id BIGINT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  name VARCHAR(128) NOT NULL,
  trace_id VARCHAR(32) NOT NULL,
  state SMALLINT NOT NULL,
  revision BIGINT NOT NULL,
  nodes INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  parent_key BIGINT NOT NULL,
  parent_place BIGINT NOT NULL,
  parent_task VARCHAR(80) NOT NULL,
  request_id VARCHAR(128),
  digest BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  finish_time_ms BIGINT NOT NULL,
  message TEXT,
  definition BYTEA NOT NULL,
  input BYTEA NOT NULL,
  input_type VARCHAR(128) NOT NULL,
  labels TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX IF NOT EXISTS workflows_request ON workflows (user_name, request_id);

CREATE INDEX IF NOT EXISTS workflows_owner ON workflows (user_name, parent_key, id);

CREATE INDEX IF NOT EXISTS workflows_top ON workflows (parent_key, id);

CREATE INDEX IF NOT EXISTS workflows_parent_task ON workflows (parent_task, id);

CREATE INDEX IF NOT EXISTS workflows_finish ON workflows (finish_time_ms, parent_key, id);

CREATE TABLE IF NOT EXISTS workflow_nodes (
  workflow_key BIGINT NOT NULL,
  node INTEGER NOT NULL,
  state SMALLINT NOT NULL,
  items INTEGER NOT NULL,
  started INTEGER NOT NULL,
  need_succeeded INTEGER NOT NULL,
  need_failed INTEGER NOT NULL,
  need_cancelled INTEGER NOT NULL,
  need_skipped INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  again BYTEA,
  message TEXT,
  PRIMARY KEY (workflow_key, node)
);

CREATE INDEX IF NOT EXISTS workflow_nodes_state ON workflow_nodes (state, workflow_key, node);

CREATE TABLE IF NOT EXISTS workflow_items (
  workflow_key BIGINT NOT NULL,
  place BIGINT NOT NULL,
  task_id VARCHAR(80) NOT NULL,
  child_key BIGINT NOT NULL,
  PRIMARY KEY (workflow_key, place)
);

CREATE TABLE IF NOT EXISTS workflow_lists (
  workflow_key BIGINT NOT NULL,
  node INTEGER NOT NULL,
  chunk INTEGER NOT NULL,
  items BYTEA NOT NULL,
  PRIMARY KEY (workflow_key, node, chunk)
);

CREATE TABLE IF NOT EXISTS task_waits (
  awaited VARCHAR(80) NOT NULL,
  name VARCHAR(64) NOT NULL,
  waiter VARCHAR(80) NOT NULL,
  any_end SMALLINT NOT NULL,
  outcome SMALLINT NOT NULL,
  PRIMARY KEY (awaited, name, waiter)
);

CREATE INDEX IF NOT EXISTS task_waits_waiter ON task_waits (waiter);

CREATE INDEX IF NOT EXISTS task_waits_outcome ON task_waits (outcome, awaited);

CREATE TABLE IF NOT EXISTS signals (
  target VARCHAR(80) NOT NULL,
  name VARCHAR(64) NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  create_time_ms BIGINT NOT NULL,
  content BYTEA NOT NULL,
  content_type VARCHAR(128) NOT NULL,
  PRIMARY KEY (target, name)
);

CREATE TABLE IF NOT EXISTS schedules (
  id BIGINT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  name VARCHAR(128) NOT NULL,
  revision BIGINT NOT NULL,
  request_id VARCHAR(128),
  digest BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  spec BYTEA NOT NULL,
  action BYTEA NOT NULL,
  source BYTEA NOT NULL,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX IF NOT EXISTS schedules_request ON schedules (user_name, request_id);

CREATE INDEX IF NOT EXISTS schedules_owner ON schedules (user_name, id);

CREATE TABLE IF NOT EXISTS schedule_standings (
  schedule_id BIGINT NOT NULL,
  version BIGINT NOT NULL,
  state SMALLINT NOT NULL,
  next_ms BIGINT NOT NULL,
  due_ms BIGINT NOT NULL,
  queued_ms BIGINT NOT NULL,
  last_fire_ms BIGINT NOT NULL,
  last_run VARCHAR(80) NOT NULL,
  last_error TEXT NOT NULL,
  fired BIGINT NOT NULL,
  skipped BIGINT NOT NULL,
  missed BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  cost INTEGER NOT NULL,
  PRIMARY KEY (schedule_id)
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS schedule_standings_due ON schedule_standings (due_ms, schedule_id);

CREATE INDEX IF NOT EXISTS schedule_standings_queued ON schedule_standings (queued_ms, schedule_id);

CREATE TABLE IF NOT EXISTS schedule_fires (
  schedule_id BIGINT NOT NULL,
  fire_ms BIGINT NOT NULL,
  cause SMALLINT NOT NULL,
  outcome SMALLINT NOT NULL,
  time_ms BIGINT NOT NULL,
  run VARCHAR(80) NOT NULL,
  request_id VARCHAR(128),
  message TEXT,
  PRIMARY KEY (schedule_id, fire_ms)
);

CREATE UNIQUE INDEX IF NOT EXISTS schedule_fires_request ON schedule_fires (schedule_id, request_id);

CREATE INDEX IF NOT EXISTS schedule_fires_time ON schedule_fires (time_ms);

CREATE TABLE IF NOT EXISTS operations (
  id BIGINT NOT NULL,
  kind SMALLINT NOT NULL,
  state SMALLINT NOT NULL,
  revision BIGINT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  filter TEXT NOT NULL,
  only_user VARCHAR(64),
  changes_max BIGINT NOT NULL,
  message TEXT NOT NULL,
  from_start SMALLINT NOT NULL,
  request_id VARCHAR(128),
  digest BIGINT NOT NULL,
  cursor_token TEXT NOT NULL,
  matched BIGINT NOT NULL,
  changed BIGINT NOT NULL,
  skipped BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  issues TEXT NOT NULL,
  error TEXT,
  epoch BIGINT NOT NULL,
  holder VARCHAR(128) NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  finish_time_ms BIGINT NOT NULL,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX IF NOT EXISTS operations_request ON operations (user_name, request_id);

CREATE INDEX IF NOT EXISTS operations_owner ON operations (user_name, id);

CREATE INDEX IF NOT EXISTS operations_state ON operations (state, id);

CREATE INDEX IF NOT EXISTS operations_finish ON operations (finish_time_ms);

ALTER TABLE task_types ADD COLUMN speculation_permille INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_min_sample INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_max_percent INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_min_running_ms BIGINT NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS twins (
  original VARCHAR(80) NOT NULL,
  run INTEGER NOT NULL,
  twin VARCHAR(80) NOT NULL,
  host VARCHAR(255) NOT NULL,
  outcome SMALLINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (original, run)
);

CREATE UNIQUE INDEX IF NOT EXISTS twins_twin ON twins (twin);

CREATE INDEX IF NOT EXISTS twins_outcome ON twins (outcome, original, run);

ALTER TABLE task_types ADD COLUMN resources TEXT;

ALTER TABLE workers ADD COLUMN report BYTEA;

ALTER TABLE workers ADD COLUMN report_time_ms BIGINT NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS host_orders (
  worker_id VARCHAR(64) NOT NULL,
  name VARCHAR(160) NOT NULL,
  body BYTEA NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (worker_id, name)
);

CREATE TABLE IF NOT EXISTS user_usage (
  day_number INTEGER NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  slot SMALLINT NOT NULL,
  gpu_ms BIGINT NOT NULL,
  cpu_ms BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  PRIMARY KEY (day_number, user_name, slot)
);

CREATE TABLE IF NOT EXISTS brokers (
  broker_id VARCHAR(64) NOT NULL,
  beats BIGINT NOT NULL,
  seen_time_ms BIGINT NOT NULL,
  PRIMARY KEY (broker_id)
);

ALTER TABLE task_types ADD COLUMN has_commands SMALLINT;

-- The tables of a shard, here shard 1 of the type `example`.

CREATE TABLE IF NOT EXISTS t_example_1 (
  id BIGINT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  name VARCHAR(128) NOT NULL,
  trace_id VARCHAR(32) NOT NULL,
  state SMALLINT NOT NULL,
  order_time BIGINT NOT NULL,
  priority INTEGER NOT NULL,
  revision BIGINT NOT NULL,
  run INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  max_crashes INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  retry_interval_ms BIGINT NOT NULL,
  retry_max_interval_ms BIGINT NOT NULL,
  max_running_ms BIGINT NOT NULL,
  not_before_ms BIGINT,
  paused_from_state SMALLINT,
  paused_order_ms BIGINT,
  stage VARCHAR(64) NOT NULL,
  context_version BIGINT NOT NULL,
  progress TEXT,
  failure_reason SMALLINT,
  failure_message TEXT,
  worker_id VARCHAR(64) NOT NULL,
  session_id BIGINT NOT NULL,
  beats BIGINT NOT NULL,
  settle_digest BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  claim_time_ms BIGINT NOT NULL DEFAULT 0,
  start_time_ms BIGINT NOT NULL DEFAULT 0,
  finish_time_ms BIGINT NOT NULL DEFAULT 0,
  workflow_key BIGINT NOT NULL DEFAULT 0,
  workflow_place BIGINT NOT NULL DEFAULT 0,
  ties SMALLINT NOT NULL DEFAULT 0,
  success_if TEXT,
  resources TEXT,
  payload BYTEA NOT NULL,
  payload_type VARCHAR(128) NOT NULL,
  context BYTEA NOT NULL,
  context_type VARCHAR(128) NOT NULL,
  result BYTEA,
  result_type VARCHAR(128),
  labels TEXT NOT NULL,
  PRIMARY KEY (id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX IF NOT EXISTS t_example_1_ready ON t_example_1 (order_time, id) WHERE state = 9;

CREATE INDEX IF NOT EXISTS t_example_1_state ON t_example_1 (state, order_time, id) WHERE state <> 9;

CREATE INDEX IF NOT EXISTS t_example_1_owner ON t_example_1 (user_name, id);

CREATE TABLE IF NOT EXISTS a_example_1 (
  task_key BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  run INTEGER NOT NULL,
  worker_id VARCHAR(64) NOT NULL,
  session_id BIGINT NOT NULL,
  stage VARCHAR(64) NOT NULL,
  claim_time_ms BIGINT NOT NULL,
  start_time_ms BIGINT,
  end_time_ms BIGINT NOT NULL,
  outcome SMALLINT NOT NULL,
  failure_reason SMALLINT,
  failure_message TEXT,
  exit_code INTEGER,
  usage_info TEXT,
  PRIMARY KEY (task_key, attempt)
);

CREATE TABLE IF NOT EXISTS l_example_1 (
  name VARCHAR(63) NOT NULL,
  value VARCHAR(255) NOT NULL,
  task_key BIGINT NOT NULL,
  PRIMARY KEY (name, value, task_key)
);

CREATE INDEX IF NOT EXISTS l_example_1_task ON l_example_1 (task_key);

