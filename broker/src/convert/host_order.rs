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

/// What people are told of orders: what a task is to go on from is for its worker alone.
pub fn without_contexts(mut orders: v1::HostOrders) -> v1::HostOrders {
    orders.tasks.iter_mut().for_each(|order| order.context = None);
    orders
}

/// As many orders about tasks as fit into one answer, at least one: the rest is told when these are
/// done.
pub fn within(mut orders: v1::HostOrders, bytes_max: usize) -> v1::HostOrders {
    let mut bytes = 0_usize;
    let mut fits = |order: &v1::TaskOrder| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(order.encoded_len());
        is_first || bytes <= bytes_max
    };
    let count = orders.tasks.iter().take_while(|order| fits(order)).count();
    orders.tasks.truncate(count);
    orders
}

/// What was ordered of a GPU before.
pub fn gpu(orders: &[HostOrder], uuid: &str) -> Option<v1::GpuOrder> {
    to_proto(orders).gpus.into_iter().find(|order| order.uuid == uuid)
}

/// The body of an order about a GPU after a change.
pub fn changed_gpu(
    uuid: &str,
    before: Option<&[u8]>,
    change: impl Fn(v1::GpuOrder) -> v1::GpuOrder,
) -> Vec<u8> {
    let before = before.and_then(|body| v1::GpuOrder::decode(body).ok()).unwrap_or_default();
    change(v1::GpuOrder { uuid: uuid.to_owned(), ..before }).encode_to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_with_large_contexts_are_told_a_few_at_a_time() {
        let context = |bytes| v1::Content { data: vec![0; bytes].into(), ..Default::default() };
        let order = |bytes| v1::TaskOrder { context: Some(context(bytes)), ..Default::default() };
        let of = |sizes: &[usize]| v1::HostOrders {
            cordoned: true,
            tasks: sizes.iter().copied().map(order).collect(),
            ..Default::default()
        };
        let told = |sizes: &[usize]| within(of(sizes), 1_000).tasks.len();
        assert_eq!((told(&[300, 300, 300, 300]), told(&[2_000, 1]), told(&[])), (3, 1, 0));
        let shown = without_contexts(of(&[300]));
        assert!(shown.cordoned && shown.tasks[0].context.is_none());
    }
}
