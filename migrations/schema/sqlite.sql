-- Written by the test `schema`; UPDATE_SCHEMA=1 renews it.

CREATE TABLE IF NOT EXISTS task_types (
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  schedule_limit INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  retry_interval_ms INTEGER NOT NULL,
  retry_max_interval_ms INTEGER NOT NULL,
  max_running_ms INTEGER NOT NULL,
  max_crashes INTEGER NOT NULL,
  max_context_bytes INTEGER NOT NULL,
  shard_max_rows INTEGER NOT NULL,
  retention_ms INTEGER NOT NULL,
  paused INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS shards (
  task_type TEXT NOT NULL,
  number INTEGER NOT NULL,
  state INTEGER NOT NULL,
  version INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  PRIMARY KEY (task_type, number)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS task_counts (
  task_type TEXT NOT NULL,
  shard INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  state INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (task_type, shard, user_name, state, slot)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS request_dedup (
  user_name TEXT NOT NULL,
  request_id TEXT NOT NULL,
  digest INTEGER NOT NULL,
  task_id TEXT NOT NULL,
  create_time_ms INTEGER NOT NULL,
  PRIMARY KEY (user_name, request_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS request_dedup_time ON request_dedup (create_time_ms);

CREATE TABLE IF NOT EXISTS workers (
  worker_id TEXT NOT NULL,
  session_id INTEGER NOT NULL,
  incarnation TEXT NOT NULL,
  info BLOB NOT NULL,
  register_time_ms INTEGER NOT NULL,
  seen_time_ms INTEGER NOT NULL,
  draining INTEGER NOT NULL,
  running INTEGER NOT NULL,
  PRIMARY KEY (worker_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS workers_session ON workers (session_id);

CREATE INDEX IF NOT EXISTS workers_seen ON workers (seen_time_ms);

CREATE TABLE IF NOT EXISTS acquires (
  session_id INTEGER NOT NULL,
  acquire_id TEXT NOT NULL,
  tasks BLOB NOT NULL,
  create_time_ms INTEGER NOT NULL,
  PRIMARY KEY (session_id, acquire_id)
);

CREATE INDEX IF NOT EXISTS acquires_time ON acquires (create_time_ms);

CREATE TABLE IF NOT EXISTS change_log (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  time_ms INTEGER NOT NULL,
  changes BLOB NOT NULL
);

CREATE INDEX IF NOT EXISTS change_log_time ON change_log (time_ms);

CREATE TABLE IF NOT EXISTS task_log_chunks (
  task_id TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  byte_offset INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  bytes BLOB NOT NULL,
  PRIMARY KEY (task_id, attempt, byte_offset)
);

CREATE INDEX IF NOT EXISTS task_log_chunks_time ON task_log_chunks (time_ms);

CREATE TABLE IF NOT EXISTS leader (
  name TEXT NOT NULL,
  holder TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  expire_time_ms INTEGER NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS locks (
  name TEXT NOT NULL,
  token TEXT NOT NULL,
  expire_time_ms INTEGER NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE IF NOT EXISTS duties (
  name TEXT NOT NULL,
  runs INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  done INTEGER NOT NULL,
  last_start_ms INTEGER,
  last_end_ms INTEGER,
  last_error TEXT,
  PRIMARY KEY (name)
);

ALTER TABLE shards ADD COLUMN close_time_ms INTEGER;

ALTER TABLE shards ADD COLUMN drain_time_ms INTEGER;

ALTER TABLE shards ADD COLUMN archive TEXT;

ALTER TABLE task_types ADD COLUMN shard_max_age_ms INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN result_retention_ms INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN archive INTEGER NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS workflows (
  id INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  name TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  state INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  nodes INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  parent_key INTEGER NOT NULL,
  parent_place INTEGER NOT NULL,
  parent_task TEXT NOT NULL,
  request_id TEXT,
  digest INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  finish_time_ms INTEGER NOT NULL,
  message TEXT,
  definition BLOB NOT NULL,
  input BLOB NOT NULL,
  input_type TEXT NOT NULL,
  labels TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX IF NOT EXISTS workflows_request ON workflows (user_name, request_id);

CREATE INDEX IF NOT EXISTS workflows_owner ON workflows (user_name, parent_key, id);

CREATE INDEX IF NOT EXISTS workflows_top ON workflows (parent_key, id);

CREATE INDEX IF NOT EXISTS workflows_parent_task ON workflows (parent_task, id);

CREATE INDEX IF NOT EXISTS workflows_finish ON workflows (finish_time_ms, parent_key, id);

CREATE TABLE IF NOT EXISTS workflow_nodes (
  workflow_key INTEGER NOT NULL,
  node INTEGER NOT NULL,
  state INTEGER NOT NULL,
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
  again BLOB,
  message TEXT,
  PRIMARY KEY (workflow_key, node)
);

CREATE INDEX IF NOT EXISTS workflow_nodes_state ON workflow_nodes (state, workflow_key, node);

CREATE TABLE IF NOT EXISTS workflow_items (
  workflow_key INTEGER NOT NULL,
  place INTEGER NOT NULL,
  task_id TEXT NOT NULL,
  child_key INTEGER NOT NULL,
  PRIMARY KEY (workflow_key, place)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS workflow_lists (
  workflow_key INTEGER NOT NULL,
  node INTEGER NOT NULL,
  chunk INTEGER NOT NULL,
  items BLOB NOT NULL,
  PRIMARY KEY (workflow_key, node, chunk)
);

CREATE TABLE IF NOT EXISTS task_waits (
  awaited TEXT NOT NULL,
  name TEXT NOT NULL,
  waiter TEXT NOT NULL,
  any_end INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  PRIMARY KEY (awaited, name, waiter)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS task_waits_waiter ON task_waits (waiter);

CREATE INDEX IF NOT EXISTS task_waits_outcome ON task_waits (outcome, awaited);

CREATE TABLE IF NOT EXISTS signals (
  target TEXT NOT NULL,
  name TEXT NOT NULL,
  user_name TEXT NOT NULL,
  create_time_ms INTEGER NOT NULL,
  content BLOB NOT NULL,
  content_type TEXT NOT NULL,
  PRIMARY KEY (target, name)
);

CREATE TABLE IF NOT EXISTS schedules (
  id INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  name TEXT NOT NULL,
  revision INTEGER NOT NULL,
  request_id TEXT,
  digest INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  spec BLOB NOT NULL,
  action BLOB NOT NULL,
  source BLOB NOT NULL,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX IF NOT EXISTS schedules_request ON schedules (user_name, request_id);

CREATE INDEX IF NOT EXISTS schedules_owner ON schedules (user_name, id);

CREATE TABLE IF NOT EXISTS schedule_standings (
  schedule_id INTEGER NOT NULL,
  version INTEGER NOT NULL,
  state INTEGER NOT NULL,
  next_ms INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  queued_ms INTEGER NOT NULL,
  last_fire_ms INTEGER NOT NULL,
  last_run TEXT NOT NULL,
  last_error TEXT NOT NULL,
  fired INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  missed INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  PRIMARY KEY (schedule_id)
);

CREATE INDEX IF NOT EXISTS schedule_standings_due ON schedule_standings (due_ms, schedule_id);

CREATE INDEX IF NOT EXISTS schedule_standings_queued ON schedule_standings (queued_ms, schedule_id);

CREATE TABLE IF NOT EXISTS schedule_fires (
  schedule_id INTEGER NOT NULL,
  fire_ms INTEGER NOT NULL,
  cause INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  run TEXT NOT NULL,
  request_id TEXT,
  message TEXT,
  PRIMARY KEY (schedule_id, fire_ms)
) WITHOUT ROWID;

CREATE UNIQUE INDEX IF NOT EXISTS schedule_fires_request ON schedule_fires (schedule_id, request_id);

CREATE INDEX IF NOT EXISTS schedule_fires_time ON schedule_fires (time_ms);

CREATE TABLE IF NOT EXISTS operations (
  id INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  state INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  filter TEXT NOT NULL,
  only_user TEXT,
  changes_max INTEGER NOT NULL,
  message TEXT NOT NULL,
  from_start INTEGER NOT NULL,
  request_id TEXT,
  digest INTEGER NOT NULL,
  cursor_token TEXT NOT NULL,
  matched INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  issues TEXT NOT NULL,
  error TEXT,
  epoch INTEGER NOT NULL,
  holder TEXT NOT NULL,
  lease_until_ms INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  finish_time_ms INTEGER NOT NULL,
  PRIMARY KEY (id)
);

CREATE UNIQUE INDEX IF NOT EXISTS operations_request ON operations (user_name, request_id);

CREATE INDEX IF NOT EXISTS operations_owner ON operations (user_name, id);

CREATE INDEX IF NOT EXISTS operations_state ON operations (state, id);

CREATE INDEX IF NOT EXISTS operations_finish ON operations (finish_time_ms);

ALTER TABLE task_types ADD COLUMN speculation_permille INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_min_sample INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_max_percent INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_min_running_ms INTEGER NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS twins (
  original TEXT NOT NULL,
  run INTEGER NOT NULL,
  twin TEXT NOT NULL,
  host TEXT NOT NULL,
  outcome INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  PRIMARY KEY (original, run)
) WITHOUT ROWID;

CREATE UNIQUE INDEX IF NOT EXISTS twins_twin ON twins (twin);

CREATE INDEX IF NOT EXISTS twins_outcome ON twins (outcome, original, run);

ALTER TABLE task_types ADD COLUMN resources TEXT;

ALTER TABLE workers ADD COLUMN report BLOB;

ALTER TABLE workers ADD COLUMN report_time_ms INTEGER NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS host_orders (
  worker_id TEXT NOT NULL,
  name TEXT NOT NULL,
  body BLOB NOT NULL,
  create_time_ms INTEGER NOT NULL,
  PRIMARY KEY (worker_id, name)
);

CREATE TABLE IF NOT EXISTS user_usage (
  day_number INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  slot INTEGER NOT NULL,
  gpu_ms INTEGER NOT NULL,
  cpu_ms INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  PRIMARY KEY (day_number, user_name, slot)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS brokers (
  broker_id TEXT NOT NULL,
  beats INTEGER NOT NULL,
  seen_time_ms INTEGER NOT NULL,
  PRIMARY KEY (broker_id)
);

ALTER TABLE task_types ADD COLUMN has_commands INTEGER;

-- The tables of a shard, here shard 1 of the type `example`.

CREATE TABLE IF NOT EXISTS t_example_1 (
  id INTEGER NOT NULL,
  user_name TEXT NOT NULL,
  name TEXT NOT NULL,
  trace_id TEXT NOT NULL,
  state INTEGER NOT NULL,
  order_time INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  run INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  failures INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  max_crashes INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  retry_interval_ms INTEGER NOT NULL,
  retry_max_interval_ms INTEGER NOT NULL,
  max_running_ms INTEGER NOT NULL,
  not_before_ms INTEGER,
  paused_from_state INTEGER,
  paused_order_ms INTEGER,
  stage TEXT NOT NULL,
  context_version INTEGER NOT NULL,
  progress TEXT,
  failure_reason INTEGER,
  failure_message TEXT,
  worker_id TEXT NOT NULL,
  session_id INTEGER NOT NULL,
  beats INTEGER NOT NULL,
  settle_digest INTEGER NOT NULL,
  create_time_ms INTEGER NOT NULL,
  update_time_ms INTEGER NOT NULL,
  claim_time_ms INTEGER NOT NULL DEFAULT 0,
  start_time_ms INTEGER NOT NULL DEFAULT 0,
  finish_time_ms INTEGER NOT NULL DEFAULT 0,
  workflow_key INTEGER NOT NULL DEFAULT 0,
  workflow_place INTEGER NOT NULL DEFAULT 0,
  ties INTEGER NOT NULL DEFAULT 0,
  success_if TEXT,
  resources TEXT,
  payload BLOB NOT NULL,
  payload_type TEXT NOT NULL,
  context BLOB NOT NULL,
  context_type TEXT NOT NULL,
  result BLOB,
  result_type TEXT,
  labels TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE INDEX IF NOT EXISTS t_example_1_state ON t_example_1 (state, order_time, id);

CREATE INDEX IF NOT EXISTS t_example_1_owner ON t_example_1 (user_name, id);

CREATE TABLE IF NOT EXISTS a_example_1 (
  task_key INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  run INTEGER NOT NULL,
  worker_id TEXT NOT NULL,
  session_id INTEGER NOT NULL,
  stage TEXT NOT NULL,
  claim_time_ms INTEGER NOT NULL,
  start_time_ms INTEGER,
  end_time_ms INTEGER NOT NULL,
  outcome INTEGER NOT NULL,
  failure_reason INTEGER,
  failure_message TEXT,
  exit_code INTEGER,
  usage_info TEXT,
  PRIMARY KEY (task_key, attempt)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS l_example_1 (
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  task_key INTEGER NOT NULL,
  PRIMARY KEY (name, value, task_key)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS l_example_1_task ON l_example_1 (task_key);

