//! UpdateHost: cordons, drains or detaches a host.

use asyncflow_core::{host::OrderName, validate::at::At};
use asyncflow_proto::v1;

use super::{absent, changed, orders, worker_of};
use crate::{broker::Broker, convert::host_order::of_host, error::RpcError};

pub async fn update_host(
    broker: &Broker,
    request: v1::UpdateHostRequest,
) -> Result<v1::UpdateHostResponse, RpcError> {
    let v1::UpdateHostRequest { worker_id, cordoned, draining, detach } = request;
    let mut violations = worker_of(&worker_id);
    if cordoned.is_none() && draining.is_none() && !detach {
        violations.add(At::REQUEST, "must say what is to be changed: cordoned, draining, detach");
    }
    violations.none()?;
    let is_known = match broker.store.get_host(&worker_id).await? {
        Some(_) => true,
        // A closed host is given free also while its worker is away; nobody is there to detach.
        None => !detach && !orders(broker, &worker_id).await?.is_empty(),
    };
    if !is_known {
        return Err(RpcError::HostNotFound(worker_id));
    }

    let wanted = [
        (OrderName::Cordon, cordoned),
        (OrderName::Drain, draining),
        (OrderName::Detach, detach.then_some(true)),
    ];
    let named = |is_wanted| {
        let names = wanted.iter().filter(move |(_, wanted)| *wanted == Some(is_wanted));
        names.map(|(name, _)| name.clone())
    };
    let given: Vec<_> = named(true).map(|name| of_host(&worker_id, name)).collect();
    if !given.is_empty() {
        broker.store.put_orders(&given).await?;
    }
    let taken_back: Vec<_> = named(false).collect();
    broker.store.delete_orders(&worker_id, &taken_back).await?;
    let host = match changed(broker, &worker_id).await {
        Err(RpcError::HostNotFound(_)) => {
            absent(broker, vec![worker_id]).await?.next().map(|(_, host)| host)
        }
        host => Some(host?),
    };
    Ok(v1::UpdateHostResponse { host })
}
