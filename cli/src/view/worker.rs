//! A worker.

use super::pairs;
use crate::{
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::{Host, HostOrders, Worker};
use prost_types::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Worker`, with what is wanted of it.
#[derive(Debug, Serialize)]
pub struct WorkerView {
    worker_id: String,
    host: String,
    labels: BTreeMap<String, String>,
    task_types: Vec<String>,
    takes_commands: bool,
    slots: i32,
    running: i32,
    version: String,
    cordoned: bool,
    draining: bool,
    alive: bool,
    register_time: Option<String>,
    heartbeat_time: Option<String>,
    #[serde(skip)]
    condition: &'static str,
    #[serde(skip)]
    registered: Option<Timestamp>,
    #[serde(skip)]
    heard: Option<Timestamp>,
}

impl From<Host> for WorkerView {
    fn from(host: Host) -> Self {
        let worker = host.worker.unwrap_or_default();
        let orders = host.orders.unwrap_or_default();
        Self {
            condition: condition(&worker, &orders),
            cordoned: orders.cordoned,
            worker_id: worker.worker_id,
            host: worker.host,
            labels: worker.labels,
            task_types: worker.task_types,
            takes_commands: worker.takes_commands,
            slots: worker.slots,
            running: worker.running,
            version: worker.version,
            draining: worker.draining || orders.draining,
            alive: worker.alive,
            register_time: time::rfc3339(worker.register_time.as_ref()),
            heartbeat_time: time::rfc3339(worker.heartbeat_time.as_ref()),
            registered: worker.register_time,
            heard: worker.heartbeat_time,
        }
    }
}

/// What a worker takes.
pub fn types(names: &[String], takes_commands: bool) -> String {
    let any = takes_commands.then_some("any command");
    names.iter().map(String::as_str).chain(any).collect::<Vec<_>>().join(",")
}

/// In one word how a worker is, as people and orders have made it.
pub fn condition(worker: &Worker, orders: &HostOrders) -> &'static str {
    match orders {
        // Nobody misses it.
        _ if has_left(worker, orders) => "CORDONED (away)",
        _ if !worker.alive => "LOST",
        orders if orders.detach => "DETACHING",
        orders if orders.draining || worker.draining => "DRAINING",
        orders if orders.cordoned => "CORDONED",
        _ => "ALIVE",
    }
}

/// Whether it has left a host that is closed, of which nothing else is known.
pub fn has_left(worker: &Worker, orders: &HostOrders) -> bool {
    let is_closed = orders.cordoned || orders.draining;
    is_closed && !worker.alive && worker.register_time.is_none()
}

impl View for WorkerView {
    const COLUMNS: &'static [&'static str] =
        &["ID", "HOST", "CONDITION", "RUNNING", "SLOTS", "TYPES", "LABELS", "HEARD", "REGISTERED"];

    fn id(&self) -> String {
        self.worker_id.clone()
    }

    fn row(&self, look: Look) -> Vec<String> {
        vec![
            self.worker_id.clone(),
            self.host.clone(),
            look.palette.state(self.condition),
            self.running.to_string(),
            self.slots.to_string(),
            types(&self.task_types, self.takes_commands),
            pairs(&self.labels),
            time::relative(self.heard.as_ref(), look.now_ms),
            time::relative(self.registered.as_ref(), look.now_ms),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = ["id", "host", "condition", "running", "slots", "types", "labels", "heard"];
        names.into_iter().chain(["registered"]).zip(self.row(look)).collect()
    }
}
