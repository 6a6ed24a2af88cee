//! UpdateHost: cordons, drains or detaches a host.

use asyncflow_core::{host::OrderName, validate::at::At};
use asyncflow_proto::v1;

use super::{changed, get, worker_of};
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
    get(broker, &worker_id).await?;

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
    Ok(v1::UpdateHostResponse { host: Some(changed(broker, &worker_id).await?) })
}
