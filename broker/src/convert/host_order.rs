//! What is wanted of hosts, as it is kept and as workers hear it.

use asyncflow_core::host::OrderName;
use asyncflow_proto::{time::timestamp, v1};
use asyncflow_store::HostOrder;
use prost::Message;

/// An order as it is given to the store.
pub type Order = (String, OrderName, Vec<u8>);

/// That a worker's whole host is to do something.
pub fn of_host(worker_id: &str, name: OrderName) -> Order {
    (worker_id.to_owned(), name, Vec::new())
}

pub fn of_gpu(worker_id: &str, order: &v1::GpuOrder) -> Order {
    (worker_id.to_owned(), OrderName::Gpu(order.uuid.clone()), order.encode_to_vec())
}

pub fn of_process(worker_id: &str, order: &v1::GpuProcessOrder) -> Order {
    let name = OrderName::Process { gpu: order.uuid.clone(), pid: order.pid };
    (worker_id.to_owned(), name, order.encode_to_vec())
}

/// All that is wanted of a host. What cannot be read was written by a later version, for workers of
/// that version.
pub fn to_proto(orders: &[HostOrder]) -> v1::HostOrders {
    let mut all = v1::HostOrders::default();
    for order in orders {
        let body = order.body.as_slice();
        match &order.name {
            OrderName::Cordon => all.cordoned = true,
            OrderName::Drain => all.draining = true,
            OrderName::Detach => all.detach = true,
            OrderName::Gpu(_) => all.gpus.extend(v1::GpuOrder::decode(body)),
            OrderName::Process { .. } => {
                let order_time = Some(timestamp(order.create_time_ms));
                let decoded = v1::GpuProcessOrder::decode(body);
                all.processes.extend(
                    decoded.map(|one| v1::GpuProcessOrder { time: one.time.or(order_time), ..one }),
                );
            }
            OrderName::Task { .. } => all.tasks.extend(v1::TaskOrder::decode(body)),
        }
    }
    all
}

/// What was ordered of a GPU before.
pub fn gpu(orders: &[HostOrder], uuid: &str) -> Option<v1::GpuOrder> {
    to_proto(orders).gpus.into_iter().find(|order| order.uuid == uuid)
}
