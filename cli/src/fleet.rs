//! The hosts as their workers last told of them, and how people name one, or one of its GPUs.

use crate::{connection::Broker, error::CliError};
use asyncflow_proto::v1::{Gpu, Host, Worker};
use futures::TryStreamExt;

const NO_WORKER_IN_ANSWER: &str = "the broker's answer holds a host without a worker";

/// Everything that is known of the hosts, in the order of their workers' ids.
pub async fn hosts(broker: &Broker) -> Result<Vec<Host>, CliError> {
    broker.client.hosts().try_collect().await.map_err(|error| broker.explain(error))
}

/// The worker of a host; a broker that is well names one.
pub fn worker(host: &Host) -> Result<&Worker, CliError> {
    host.worker.as_ref().ok_or_else(|| CliError::Failed(NO_WORKER_IN_ANSWER.to_owned()))
}

/// What people call it: the machine's name, or the worker's where that is not told.
pub fn name(host: &Host) -> &str {
    let Some(worker) = &host.worker else { return "" };
    if worker.host.is_empty() { &worker.worker_id } else { &worker.host }
}

/// The GPUs that it last told of.
pub fn gpus(host: &Host) -> &[Gpu] {
    host.report.as_ref().map_or(&[], |report| &report.gpus)
}

/// Finds a host by its worker's id, by its name, or by the beginning of one.
///
/// # Errors
/// [`CliError::NotFound`] when nothing fits, [`CliError::Usage`] with the workers when several do.
pub fn find<'a>(hosts: &'a [Host], typed: &str) -> Result<&'a Host, CliError> {
    let ids = |host: &Host| host.worker.as_ref().map(|it| it.worker_id.clone()).unwrap_or_default();
    let exact = |host: &&Host| ids(host) == typed;
    if let Some(host) = hosts.iter().find(exact) {
        return Ok(host);
    }
    let mut fits: Vec<&Host> = hosts.iter().filter(|host| name(host) == typed).collect();
    if fits.is_empty() && !typed.is_empty() {
        let begins = |host: &&Host| name(host).starts_with(typed) || ids(host).starts_with(typed);
        fits = hosts.iter().filter(begins).collect();
    }
    match fits.as_slice() {
        [] => Err(CliError::NotFound(format!(
            "no worker and no host is called {typed:?}; `asyncflow worker list` shows them"
        ))),
        [only] => Ok(only),
        several => {
            let several: Vec<String> = several.iter().map(|host| ids(host)).collect();
            let several = several.join(", ");
            Err(CliError::Usage(format!("{typed:?} may be any of the workers {several}")))
        }
    }
}

/// Finds a GPU by `HOST:INDEX`, by its UUID, or by the beginning of that.
///
/// # Errors
/// As [`find`].
pub fn find_gpu<'a>(hosts: &'a [Host], typed: &str) -> Result<(&'a Host, &'a Gpu), CliError> {
    if let Some((host, index)) = typed.rsplit_once(':')
        && let Ok(index) = index.parse::<i32>()
    {
        let host = find(hosts, host)?;
        let gpu = gpus(host).iter().find(|gpu| gpu.index == index);
        return gpu.map(|gpu| (host, gpu)).ok_or_else(|| CliError::NotFound(none(host, index)));
    }
    let all = || hosts.iter().flat_map(|host| gpus(host).iter().map(move |gpu| (host, gpu)));
    let begins = |gpu: &Gpu| {
        let (uuid, typed) = (gpu.uuid.to_ascii_lowercase(), typed.to_ascii_lowercase());
        uuid.starts_with(&typed)
            || uuid.strip_prefix("gpu-").is_some_and(|it| it.starts_with(&typed))
    };
    let fits: Vec<_> = all().filter(|(_, gpu)| !typed.is_empty() && begins(gpu)).collect();
    match fits.as_slice() {
        [] => Err(CliError::NotFound(format!(
            "no GPU is called {typed:?} (HOST:INDEX or a UUID); `asyncflow gpu list` shows them"
        ))),
        [only] => Ok(*only),
        several => {
            let several: Vec<String> =
                several.iter().map(|(host, gpu)| format!("{}:{}", name(host), gpu.index)).collect();
            let several = several.join(", ");
            Err(CliError::Usage(format!("{typed:?} may be any of the GPUs {several}")))
        }
    }
}

fn none(host: &Host, index: i32) -> String {
    let known: Vec<String> = gpus(host).iter().map(|gpu| gpu.index.to_string()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    format!("{} has told of no GPU {index}; the GPUs that it has told of: {known}", name(host))
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use asyncflow_proto::v1::HostReport;

    /// A host with a worker of its own and these GPUs.
    pub fn host(worker_id: &str, name: &str, uuids: &[&str]) -> Host {
        let worker = Worker {
            worker_id: worker_id.to_owned(),
            host: name.to_owned(),
            alive: true,
            ..Worker::default()
        };
        let gpu =
            |(index, uuid): (i32, &&str)| Gpu { uuid: (*uuid).to_owned(), index, ..Gpu::default() };
        let gpus = (0..).zip(uuids).map(gpu).collect();
        let report = HostReport { gpus, ..HostReport::default() };
        Host { worker: Some(worker), report: Some(report), ..Host::default() }
    }

    fn hosts() -> Vec<Host> {
        vec![
            host("w-1", "anna", &["GPU-aa1", "GPU-ab2"]),
            host("w-2", "berta", &["GPU-ba1"]),
            host("w-3", "berta", &[]),
            host("anna-2", "clara", &[]),
        ]
    }

    #[test]
    fn a_host_is_found_by_worker_name_or_beginning() {
        let hosts = hosts();
        let found = |typed| find(&hosts, typed).map(|host| worker(host).unwrap().worker_id.clone());
        assert_eq!(found("w-2").unwrap(), "w-2");
        assert_eq!(found("anna").unwrap(), "w-1", "a whole name wins over a beginning");
        assert_eq!(found("cl").unwrap(), "anna-2");
        let several = found("berta").unwrap_err();
        assert!(several.to_string().contains("w-2, w-3"), "{several}");
        assert!(matches!(several, CliError::Usage(_)));
        assert!(matches!(found("dora").unwrap_err(), CliError::NotFound(_)));
        assert!(matches!(found("").unwrap_err(), CliError::NotFound(_)));
    }

    #[test]
    fn a_gpu_is_found_by_place_or_uuid() {
        let hosts = hosts();
        let found = |typed| find_gpu(&hosts, typed).map(|(_, gpu)| gpu.uuid.clone());
        assert_eq!(found("anna:1").unwrap(), "GPU-ab2");
        assert_eq!(found("w-2:0").unwrap(), "GPU-ba1");
        assert_eq!(found("gpu-AB").unwrap(), "GPU-ab2");
        assert_eq!(found("b").unwrap(), "GPU-ba1");
        let several = found("GPU-a").unwrap_err().to_string();
        assert!(several.contains("anna:0, anna:1"), "{several}");
        let absent = found("anna:7").unwrap_err().to_string();
        assert!(absent.contains("no GPU 7") && absent.contains("0, 1"), "{absent}");
        assert!(found("clara:0").unwrap_err().to_string().contains("none"));
        assert!(found("zz").unwrap_err().to_string().contains("HOST:INDEX"));
    }
}
