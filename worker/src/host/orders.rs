//! What was ordered of GPUs and of strangers on them.

use std::collections::{BTreeMap, BTreeSet};

use asyncflow_proto::time::timestamp_ms;
use asyncflow_sdk::v1::{GpuProcessTreatment as Treatment, HostOrders};

/// Clocks of hosts and of brokers differ by less.
const SKEW_MS: i64 = 60_000;

/// All of it, as a broker said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    cordoned: BTreeSet<String>,
    forgiven: BTreeMap<String, i64>,
    processes: BTreeMap<(String, i32), (Treatment, i64)>,
}

impl From<&HostOrders> for Orders {
    fn from(orders: &HostOrders) -> Self {
        let cordoned = orders.gpus.iter().filter(|order| order.cordoned);
        let forgiven = orders.gpus.iter().filter_map(|order| {
            Some((order.uuid.clone(), timestamp_ms(order.forgive_time.as_ref()?)?))
        });
        let processes = orders.processes.iter().map(|order| {
            let time = order.time.as_ref().and_then(timestamp_ms).unwrap_or(i64::MAX);
            ((order.uuid.clone(), order.pid), (order.treatment(), time))
        });
        Self {
            cordoned: cordoned.map(|order| order.uuid.clone()).collect(),
            forgiven: forgiven.collect(),
            processes: processes.collect(),
        }
    }
}

impl Orders {
    /// An operator keeps tasks away from the GPU.
    pub fn is_cordoned(&self, uuid: &str) -> bool {
        self.cordoned.contains(uuid)
    }

    /// GPUs of which older faults are to be forgotten, with that time.
    pub fn forgiven(&self) -> impl Iterator<Item = (&String, i64)> {
        self.forgiven.iter().map(|(uuid, time_ms)| (uuid, *time_ms))
    }

    /// How a process is to be taken that began at `start_ms`. One that began after the order is
    /// another one with the same number.
    pub fn treatment(&self, uuid: &str, pid: i32, start_ms: i64) -> Treatment {
        match self.processes.get(&(uuid.to_owned(), pid)) {
            Some((treatment, time_ms)) if start_ms <= time_ms.saturating_add(SKEW_MS) => *treatment,
            Some(_) | None => Treatment::Unspecified,
        }
    }
}

#[cfg(test)]
mod tests {
    use asyncflow_proto::time::timestamp;
    use asyncflow_sdk::v1::{GpuProcessOrder, HostOrders};

    use super::{Orders, SKEW_MS, Treatment};

    #[test]
    fn an_order_is_about_the_process_that_was_there() {
        let order = GpuProcessOrder {
            uuid: "gpu".to_owned(),
            pid: 42,
            treatment: Treatment::Ignored.into(),
            time: Some(timestamp(100_000)),
        };
        let orders = Orders::from(&HostOrders { processes: vec![order], ..HostOrders::default() });
        assert_eq!(orders.treatment("gpu", 42, 90_000), Treatment::Ignored);
        let later = 100_001 + SKEW_MS;
        assert_eq!(orders.treatment("gpu", 42, later), Treatment::Unspecified);
        assert_eq!(orders.treatment("gpu", 43, 0), Treatment::Unspecified);
        assert_eq!(orders.treatment("other", 42, 0), Treatment::Unspecified);
    }
}
