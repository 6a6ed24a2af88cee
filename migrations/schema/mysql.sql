-- Written by the test `schema`; UPDATE_SCHEMA=1 renews it.

CREATE TABLE IF NOT EXISTS task_types (
  name VARCHAR(40) NOT NULL,
  description TEXT NOT NULL,
  schedule_limit INT NOT NULL,
  priority INT NOT NULL,
  max_retries INT NOT NULL,
  retry_interval_ms BIGINT NOT NULL,
  retry_max_interval_ms BIGINT NOT NULL,
  max_running_ms BIGINT NOT NULL,
  max_crashes INT NOT NULL,
  max_context_bytes INT NOT NULL,
  shard_max_rows BIGINT NOT NULL,
  retention_ms BIGINT NOT NULL,
  paused SMALLINT NOT NULL,
  revision BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS shards (
  task_type VARCHAR(40) NOT NULL,
  number INT NOT NULL,
  state SMALLINT NOT NULL,
  version BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  PRIMARY KEY (task_type, number)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS task_counts (
  task_type VARCHAR(40) NOT NULL,
  shard INT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  state SMALLINT NOT NULL,
  slot SMALLINT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (task_type, shard, user_name, state, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS request_dedup (
  user_name VARCHAR(64) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  digest BIGINT NOT NULL,
  task_id VARCHAR(80) NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (user_name, request_id),
  KEY request_dedup_time (create_time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS workers (
  worker_id VARCHAR(64) NOT NULL,
  session_id BIGINT NOT NULL,
  incarnation VARCHAR(128) NOT NULL,
  info LONGBLOB NOT NULL,
  register_time_ms BIGINT NOT NULL,
  seen_time_ms BIGINT NOT NULL,
  draining SMALLINT NOT NULL,
  running INT NOT NULL,
  PRIMARY KEY (worker_id),
  UNIQUE KEY workers_session (session_id),
  KEY workers_seen (seen_time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS acquires (
  session_id BIGINT NOT NULL,
  acquire_id VARCHAR(128) NOT NULL,
  tasks LONGBLOB NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (session_id, acquire_id),
  KEY acquires_time (create_time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS change_log (
  seq BIGINT AUTO_INCREMENT PRIMARY KEY,
  time_ms BIGINT NOT NULL,
  changes LONGBLOB NOT NULL,
  KEY change_log_time (time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS task_log_chunks (
  task_id VARCHAR(80) NOT NULL,
  attempt INT NOT NULL,
  byte_offset BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  time_ms BIGINT NOT NULL,
  bytes LONGBLOB NOT NULL,
  PRIMARY KEY (task_id, attempt, byte_offset),
  KEY task_log_chunks_time (time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS leader (
  name VARCHAR(40) NOT NULL,
  holder VARCHAR(128) NOT NULL,
  epoch BIGINT NOT NULL,
  expire_time_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS locks (
  name VARCHAR(128) NOT NULL,
  token VARCHAR(64) NOT NULL,
  expire_time_ms BIGINT NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS duties (
  name VARCHAR(64) NOT NULL,
  runs BIGINT NOT NULL,
  failures BIGINT NOT NULL,
  done BIGINT NOT NULL,
  last_start_ms BIGINT,
  last_end_ms BIGINT,
  last_error TEXT,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

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
  nodes INT NOT NULL,
  succeeded INT NOT NULL,
  failed INT NOT NULL,
  cancelled INT NOT NULL,
  skipped INT NOT NULL,
  parent_key BIGINT NOT NULL,
  parent_place BIGINT NOT NULL,
  parent_task VARCHAR(80) NOT NULL,
  request_id VARCHAR(128),
  digest BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  finish_time_ms BIGINT NOT NULL,
  message TEXT,
  definition LONGBLOB NOT NULL,
  input LONGBLOB NOT NULL,
  input_type VARCHAR(128) NOT NULL,
  labels TEXT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY workflows_request (user_name, request_id),
  KEY workflows_owner (user_name, parent_key, id),
  KEY workflows_top (parent_key, id),
  KEY workflows_parent_task (parent_task, id),
  KEY workflows_finish (finish_time_ms, parent_key, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS workflow_nodes (
  workflow_key BIGINT NOT NULL,
  node INT NOT NULL,
  state SMALLINT NOT NULL,
  items INT NOT NULL,
  started INT NOT NULL,
  need_succeeded INT NOT NULL,
  need_failed INT NOT NULL,
  need_cancelled INT NOT NULL,
  need_skipped INT NOT NULL,
  succeeded INT NOT NULL,
  failed INT NOT NULL,
  cancelled INT NOT NULL,
  skipped INT NOT NULL,
  again LONGBLOB,
  message TEXT,
  PRIMARY KEY (workflow_key, node),
  KEY workflow_nodes_state (state, workflow_key, node)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS workflow_items (
  workflow_key BIGINT NOT NULL,
  place BIGINT NOT NULL,
  task_id VARCHAR(80) NOT NULL,
  child_key BIGINT NOT NULL,
  PRIMARY KEY (workflow_key, place)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS workflow_lists (
  workflow_key BIGINT NOT NULL,
  node INT NOT NULL,
  chunk INT NOT NULL,
  items LONGBLOB NOT NULL,
  PRIMARY KEY (workflow_key, node, chunk)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS task_waits (
  awaited VARCHAR(80) NOT NULL,
  name VARCHAR(64) NOT NULL,
  waiter VARCHAR(80) NOT NULL,
  any_end SMALLINT NOT NULL,
  outcome SMALLINT NOT NULL,
  PRIMARY KEY (awaited, name, waiter),
  KEY task_waits_waiter (waiter),
  KEY task_waits_outcome (outcome, awaited)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS signals (
  target VARCHAR(80) NOT NULL,
  name VARCHAR(64) NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  create_time_ms BIGINT NOT NULL,
  content LONGBLOB NOT NULL,
  content_type VARCHAR(128) NOT NULL,
  PRIMARY KEY (target, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS schedules (
  id BIGINT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  name VARCHAR(128) NOT NULL,
  revision BIGINT NOT NULL,
  request_id VARCHAR(128),
  digest BIGINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  update_time_ms BIGINT NOT NULL,
  spec LONGBLOB NOT NULL,
  action LONGBLOB NOT NULL,
  source LONGBLOB NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY schedules_request (user_name, request_id),
  KEY schedules_owner (user_name, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

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
  cost INT NOT NULL,
  PRIMARY KEY (schedule_id),
  KEY schedule_standings_due (due_ms, schedule_id),
  KEY schedule_standings_queued (queued_ms, schedule_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS schedule_fires (
  schedule_id BIGINT NOT NULL,
  fire_ms BIGINT NOT NULL,
  cause SMALLINT NOT NULL,
  outcome SMALLINT NOT NULL,
  time_ms BIGINT NOT NULL,
  run VARCHAR(80) NOT NULL,
  request_id VARCHAR(128),
  message TEXT,
  PRIMARY KEY (schedule_id, fire_ms),
  UNIQUE KEY schedule_fires_request (schedule_id, request_id),
  KEY schedule_fires_time (time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

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
  PRIMARY KEY (id),
  UNIQUE KEY operations_request (user_name, request_id),
  KEY operations_owner (user_name, id),
  KEY operations_state (state, id),
  KEY operations_finish (finish_time_ms)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

ALTER TABLE task_types ADD COLUMN speculation_permille INT NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_min_sample INT NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_max_percent INT NOT NULL DEFAULT 0;

ALTER TABLE task_types ADD COLUMN speculation_min_running_ms BIGINT NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS twins (
  original VARCHAR(80) NOT NULL,
  run INT NOT NULL,
  twin VARCHAR(80) NOT NULL,
  host VARCHAR(255) NOT NULL,
  outcome SMALLINT NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (original, run),
  UNIQUE KEY twins_twin (twin),
  KEY twins_outcome (outcome, original, run)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

ALTER TABLE task_types ADD COLUMN resources TEXT;

ALTER TABLE workers ADD COLUMN report LONGBLOB;

ALTER TABLE workers ADD COLUMN report_time_ms BIGINT NOT NULL DEFAULT 0;

CREATE TABLE IF NOT EXISTS host_orders (
  worker_id VARCHAR(64) NOT NULL,
  name VARCHAR(160) NOT NULL,
  body LONGBLOB NOT NULL,
  create_time_ms BIGINT NOT NULL,
  PRIMARY KEY (worker_id, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS user_usage (
  day_number INT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  slot SMALLINT NOT NULL,
  gpu_ms BIGINT NOT NULL,
  cpu_ms BIGINT NOT NULL,
  attempts BIGINT NOT NULL,
  PRIMARY KEY (day_number, user_name, slot)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS brokers (
  broker_id VARCHAR(64) NOT NULL,
  beats BIGINT NOT NULL,
  seen_time_ms BIGINT NOT NULL,
  PRIMARY KEY (broker_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

ALTER TABLE task_types ADD COLUMN has_commands SMALLINT;

-- The tables of a shard, here shard 1 of the type `example`.

CREATE TABLE IF NOT EXISTS t_example_1 (
  id BIGINT NOT NULL,
  user_name VARCHAR(64) NOT NULL,
  name VARCHAR(128) NOT NULL,
  trace_id VARCHAR(32) NOT NULL,
  state SMALLINT NOT NULL,
  order_time BIGINT NOT NULL,
  priority INT NOT NULL,
  revision BIGINT NOT NULL,
  run INT NOT NULL,
  attempt INT NOT NULL,
  failures INT NOT NULL,
  crashes INT NOT NULL,
  max_crashes INT NOT NULL,
  max_retries INT NOT NULL,
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
  worker_id CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
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
  payload LONGBLOB NOT NULL,
  payload_type VARCHAR(128) NOT NULL,
  context LONGBLOB NOT NULL,
  context_type VARCHAR(128) NOT NULL,
  result LONGBLOB,
  result_type VARCHAR(128),
  labels TEXT NOT NULL,
  PRIMARY KEY (id),
  KEY t_example_1_state (state, order_time, id),
  KEY t_example_1_owner (user_name, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS a_example_1 (
  task_key BIGINT NOT NULL,
  attempt INT NOT NULL,
  run INT NOT NULL,
  worker_id VARCHAR(64) NOT NULL,
  session_id BIGINT NOT NULL,
  stage VARCHAR(64) NOT NULL,
  claim_time_ms BIGINT NOT NULL,
  start_time_ms BIGINT,
  end_time_ms BIGINT NOT NULL,
  outcome SMALLINT NOT NULL,
  failure_reason SMALLINT,
  failure_message TEXT,
  exit_code INT,
  usage_info TEXT,
  PRIMARY KEY (task_key, attempt)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

CREATE TABLE IF NOT EXISTS l_example_1 (
  name VARCHAR(63) NOT NULL,
  value VARCHAR(255) NOT NULL,
  task_key BIGINT NOT NULL,
  PRIMARY KEY (name, value, task_key),
  KEY l_example_1_task (task_key)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 /*M! COLLATE=utf8mb4_nopad_bin */ /*!80017 COLLATE=utf8mb4_0900_bin */;

