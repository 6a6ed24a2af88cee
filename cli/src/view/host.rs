//! A host: its worker, what that told last, and what is wanted of it.

use super::{
    bytes_for_people,
    gpu::{self, GpuView, RunningView},
    pairs, worker,
};
use crate::{
    fleet,
    output::{Look, View},
    time,
};
use asyncflow_proto::v1::Host;
use prost_types::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// See the protocol's `Host`.
#[derive(Debug, Serialize)]
pub struct HostView {
    worker_id: String,
    host: String,
    alive: bool,
    draining: bool,
    labels: BTreeMap<String, String>,
    task_types: Vec<String>,
    takes_commands: bool,
    slots: i32,
    running: i32,
    version: String,
    register_time: Option<String>,
    heartbeat_time: Option<String>,
    report_time: Option<String>,
    orders: OrdersView,
    cpus: f64,
    cpus_free: f64,
    memory_bytes: i64,
    memory_free_bytes: i64,
    load: f64,
    gpu_provider: String,
    alarms: Vec<String>,
    gpus: Vec<GpuView>,
    tasks: Vec<RunningView>,
    /// In one word how it is.
    #[serde(skip)]
    pub condition: &'static str,
    #[serde(skip)]
    has_left: bool,
    #[serde(skip)]
    name: String,
    #[serde(skip)]
    heard: Option<Timestamp>,
    #[serde(skip)]
    reported: Option<Timestamp>,
}

/// What is wanted of it.
#[derive(Debug, Serialize)]
struct OrdersView {
    cordoned: bool,
    draining: bool,
    detach: bool,
}

impl From<Host> for HostView {
    fn from(host: Host) -> Self {
        let (name, gpus) = (fleet::name(&host).to_owned(), gpu::views(&host));
        let worker = host.worker.unwrap_or_default();
        let report = host.report.unwrap_or_default();
        let orders = host.orders.unwrap_or_default();
        let condition = worker::condition(&worker, &orders);
        let has_left = worker::has_left(&worker, &orders);
        Self {
            worker_id: worker.worker_id,
            host: worker.host,
            alive: worker.alive,
            draining: worker.draining,
            labels: worker.labels,
            task_types: worker.task_types,
            takes_commands: worker.takes_commands,
            slots: worker.slots,
            running: worker.running,
            version: worker.version,
            register_time: time::rfc3339(worker.register_time.as_ref()),
            heartbeat_time: time::rfc3339(worker.heartbeat_time.as_ref()),
            report_time: time::rfc3339(host.report_time.as_ref()),
            condition,
            has_left,
            orders: OrdersView {
                cordoned: orders.cordoned,
                draining: orders.draining,
                detach: orders.detach,
            },
            cpus: report.cpus,
            cpus_free: report.cpus_free,
            memory_bytes: report.memory_bytes,
            memory_free_bytes: report.memory_free_bytes,
            load: report.load,
            gpu_provider: report.gpu_provider,
            alarms: report.alarms,
            gpus,
            tasks: report.running.iter().map(Into::into).collect(),
            name,
            heard: worker.heartbeat_time,
            reported: host.report_time,
        }
    }
}

impl HostView {
    /// What a list of GPUs alone would hide: alarms, and a host without GPUs.
    pub fn remark(&self, look: Look) -> Option<String> {
        let mut parts = self.alarms.clone();
        if self.has_left {
            let since = time::elapsed(self.heard.as_ref(), None, look.now_ms);
            let since = if since.is_empty() { since } else { format!(" for {since}") };
            parts.push(format!("its worker is away{since}, and it is cordoned"));
        } else if self.reported.is_none() {
            parts.push("it has not told of its GPUs yet".to_owned());
        } else if self.gpus.is_empty() {
            parts.push(format!("0 GPUs ({})", self.gpu_provider));
        }
        (!parts.is_empty()).then(|| format!("{}: {}", self.name, parts.join("; ")))
    }

    /// Until when it takes nothing, and what to do about that; empty while it does.
    fn closed(&self) -> String {
        let until = format!("until `asyncflow worker uncordon {}`", self.worker_id);
        match &self.orders {
            orders if orders.draining => {
                format!("it ends when its tasks have ended, and then takes none {until}")
            }
            orders if orders.cordoned => {
                format!("it takes no new tasks, also when it is started again, {until}")
            }
            _ => String::new(),
        }
    }

    fn cores(&self) -> String {
        if self.cpus <= 0.0 {
            String::new()
        } else {
            format!("{:.1} of {}", self.cpus_free, self.cpus)
        }
    }

    fn memory(&self) -> String {
        let (free, all) =
            (bytes_for_people(self.memory_free_bytes), bytes_for_people(self.memory_bytes));
        match (free.is_empty(), all.is_empty()) {
            (_, true) => String::new(),
            (true, false) => format!("0 of {all}"),
            (false, false) => format!("{free} of {all}"),
        }
    }

    fn free_gpus(&self) -> String {
        let free = |gpu: &&GpuView| gpu.is_free();
        let count = self.gpus.iter().filter(free).count();
        if self.gpus.is_empty() { String::new() } else { format!("{count} of {}", self.gpus.len()) }
    }
}

impl View for HostView {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "HOST",
        "CONDITION",
        "RUNNING",
        "SLOTS",
        "FREE GPUS",
        "FREE CORES",
        "FREE MEMORY",
        "LOAD",
        "HEARD",
    ];

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
            self.free_gpus(),
            self.cores(),
            self.memory(),
            format!("{:.2}", self.load),
            time::relative(self.heard.as_ref(), look.now_ms),
        ]
    }

    fn details(&self, look: Look) -> Vec<(&'static str, String)> {
        let names = [
            "id",
            "host",
            "condition",
            "running",
            "slots",
            "free GPUs",
            "free cores",
            "free memory",
            "load",
            "heard",
        ];
        let mut details: Vec<_> = names.into_iter().zip(self.row(look)).collect();
        let gpus: Vec<String> = self.gpus.iter().map(|gpu| gpu.line(look)).collect();
        let tasks: Vec<String> = self.tasks.iter().map(RunningView::told).collect();
        details.insert(3, ("closed", self.closed()));
        details.extend([
            ("told", time::relative(self.reported.as_ref(), look.now_ms)),
            ("version", self.version.clone()),
            ("types", worker::types(&self.task_types, self.takes_commands)),
            ("labels", pairs(&self.labels)),
            ("GPUs from", self.gpu_provider.clone()),
            ("alarms", look.palette.error(&self.alarms.join("\n"))),
            ("GPUs", gpus.join("\n")),
            ("tasks", tasks.join("\n")),
        ]);
        if self.alarms.is_empty() {
            details.retain(|(name, _)| *name != "alarms");
        }
        details.retain(|(name, value)| *name != "closed" || !value.is_empty());
        details
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{fleet::tests::host, style::Palette, view::worker::WorkerView};
    use asyncflow_proto::{
        time::timestamp,
        v1::{HostOrders, Worker},
    };

    fn with(orders: HostOrders) -> HostView {
        Host { orders: Some(orders), ..host("w", "anna", &["GPU-a"]) }.into()
    }

    #[test]
    fn the_strongest_order_is_the_condition() {
        let mut orders = HostOrders::default();
        assert_eq!(with(orders.clone()).condition, "ALIVE");
        orders.cordoned = true;
        assert_eq!(with(orders.clone()).condition, "CORDONED");
        orders.draining = true;
        assert_eq!(with(orders.clone()).condition, "DRAINING");
        orders.detach = true;
        assert_eq!(with(orders).condition, "DETACHING");
        let mut lost = host("w", "anna", &[]);
        let worker = lost.worker.as_mut().unwrap();
        (worker.alive, worker.register_time) = (false, Some(timestamp(1)));
        assert_eq!(HostView::from(lost).condition, "LOST");
    }

    /// Somebody has taken it out of use: that its worker is away is as it should be.
    #[test]
    fn a_closed_host_whose_worker_has_left_is_not_lost() {
        let look = Look { palette: Palette::off(), now_ms: 7_200_001 };
        let worker = Worker {
            worker_id: "w".into(),
            heartbeat_time: Some(timestamp(1)),
            ..Worker::default()
        };
        let orders = HostOrders { cordoned: true, ..HostOrders::default() };
        let away = Host { worker: Some(worker), orders: Some(orders), ..Host::default() };
        assert_eq!(WorkerView::from(away.clone()).row(look)[2], "CORDONED (away)");
        let view = HostView::from(away);
        assert_eq!(view.condition, "CORDONED (away)");
        let told = view.remark(look).unwrap();
        assert_eq!(told, "w: its worker is away for 2h, and it is cordoned");
    }

    #[test]
    fn a_closed_host_says_until_when() {
        let look = Look { palette: Palette::off(), now_ms: 1 };
        let closed = |orders: HostOrders| {
            let details = with(orders).details(look);
            details.into_iter().find(|(name, _)| *name == "closed").map(|(_, value)| value)
        };
        assert_eq!(closed(HostOrders::default()), None);
        let cordoned = closed(HostOrders { cordoned: true, ..HostOrders::default() }).unwrap();
        assert!(cordoned.contains("also when it is started again"), "{cordoned}");
        let draining = closed(HostOrders { draining: true, ..HostOrders::default() }).unwrap();
        assert!(draining.ends_with("`asyncflow worker uncordon w`"), "{draining}");
    }

    #[test]
    fn what_a_list_of_gpus_would_hide_is_remarked() {
        let look = Look { palette: Palette::off(), now_ms: 7_200_001 };
        let mut well = host("w", "anna", &["GPU-a"]);
        well.report_time = Some(timestamp(1));
        assert_eq!(HostView::from(well.clone()).remark(look), None);
        well.report.as_mut().unwrap().alarms = vec!["driver and library differ".to_owned()];
        let told = HostView::from(well).remark(look).unwrap();
        assert_eq!(told, "anna: driver and library differ");
        let mut none = host("w", "berta", &[]);
        assert!(HostView::from(none.clone()).remark(look).unwrap().contains("not told"));
        none.report_time = Some(timestamp(1));
        none.report.as_mut().unwrap().gpu_provider = "none".to_owned();
        assert_eq!(HostView::from(none).remark(look).unwrap(), "berta: 0 GPUs (none)");
    }

    #[test]
    fn a_list_of_workers_and_one_host_count_alike() {
        let look = Look { palette: Palette::off(), now_ms: 1 };
        let mut host = host("w", "anna", &["GPU-a"]);
        host.report_time = Some(timestamp(1));
        host.worker.as_mut().unwrap().running = 3;
        let of_list = WorkerView::from(host.clone()).details(look);
        let of_host = HostView::from(host).details(look);
        let running = |details: Vec<(&str, String)>| {
            details.into_iter().find(|(name, _)| *name == "running").unwrap().1
        };
        assert_eq!(running(of_list), "3");
        assert_eq!(running(of_host), "3");
    }

    #[test]
    fn details_name_alarms_only_where_there_are_some() {
        let look = Look { palette: Palette::off(), now_ms: 1 };
        let mut host = host("w", "anna", &["GPU-a"]);
        let names = |host: &Host| -> Vec<&str> {
            HostView::from(host.clone()).details(look).into_iter().map(|(name, _)| name).collect()
        };
        assert!(!names(&host).contains(&"alarms"));
        host.report.as_mut().unwrap().alarms = vec!["hot".to_owned()];
        assert!(names(&host).contains(&"alarms"));
    }
}
