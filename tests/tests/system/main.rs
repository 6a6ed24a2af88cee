//! Real processes over real databases. One file per scenario; the harness is this package's
//! library.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[macro_use]
extern crate asyncflow_tests;

mod adopted_without_brokers;
mod broken_stream;
mod broker_failover;
mod brokers_away;
mod database_outage;
mod full_disk;
mod gpu;
mod half_open;
mod handed_over;
mod handlers;
mod killed_broker;
mod killed_governor;
mod killed_in_bulk;
mod killed_worker;
mod last_member;
mod late_claim;
mod late_end;
mod lost_answers;
mod lost_connections;
mod machinery;
mod many_tasks;
mod many_workers;
mod one_trace;
mod payloads_and_commands;
mod poison_task;
mod python_client;
mod races;
mod random_workflows;
mod redis_speed;
mod redis_trouble;
mod schedules_without_broker;
mod schedules_without_governor;
mod secured;
mod shards;
mod stopped_worker;
mod straggler;
mod sub_tasks;
mod task_life;
mod type_at_run_time;
mod watched_workflow;
mod workers_full_disk;
mod workflow_under_fire;
mod wrong_clock;
mod wrong_clocks_elsewhere;
