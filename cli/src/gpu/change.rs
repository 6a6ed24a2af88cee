//! The same verb for several GPUs, or for several processes on one.

use crate::{
    connection::Broker,
    error::{CliError, Outcome, exit},
    fleet,
    output::Output,
    view::gpu::{self, GpuView},
};
use asyncflow_proto::v1::{GpuProcessTreatment, Host};
use asyncflow_sdk::Error;

/// Which GPUs.
#[derive(Debug, clap::Args)]
pub struct Gpus {
    /// HOST:INDEX, a UUID, or the beginning of one
    #[arg(value_name = "GPU", required = true)]
    typed: Vec<String>,
}

/// Which processes on which GPU.
#[derive(Debug, clap::Args)]
pub struct Processes {
    /// HOST:INDEX, a UUID, or the beginning of one
    #[arg(value_name = "GPU")]
    gpu: String,
    /// Processes on it; `asyncflow gpu list` shows them
    #[arg(value_name = "PID", required = true)]
    pids: Vec<i32>,
    /// Take it as a stranger again, by how much it uses
    #[arg(long)]
    undo: bool,
}

/// Finds all GPUs first, so that a typing error changes nothing; `verb` gets the ids of worker and
/// GPU, and gives the host as it is then.
pub async fn each<F>(
    gpus: &Gpus,
    broker: &Broker,
    output: &Output,
    verb: impl Fn(String, String) -> F,
) -> Outcome
where
    F: Future<Output = Result<Option<Host>, Error>>,
{
    let hosts = fleet::hosts(broker).await?;
    let mut places = Vec::with_capacity(gpus.typed.len());
    for typed in &gpus.typed {
        let (host, gpu) = fleet::find_gpu(&hosts, typed)?;
        places.push((fleet::worker(host)?.worker_id.clone(), gpu.uuid.clone()));
    }
    let mut views = Vec::with_capacity(places.len());
    for (worker_id, uuid) in places {
        let host = verb(worker_id, uuid.clone()).await.map_err(|error| broker.explain(error))?;
        views.extend(view_of(host, &uuid)?);
    }
    output.many(&views)?;
    Ok(exit::OK)
}

/// Says of all named processes how they are to be taken, unless that is to be undone.
pub async fn treat(
    processes: &Processes,
    treatment: GpuProcessTreatment,
    broker: &Broker,
    output: &Output,
) -> Outcome {
    let hosts = fleet::hosts(broker).await?;
    let (host, gpu) = fleet::find_gpu(&hosts, &processes.gpu)?;
    let stranger = |pid: &i32| gpu.processes.iter().any(|process| process.pid == *pid);
    if let Some(pid) = processes.pids.iter().find(|pid| !stranger(pid)) {
        let place = format!("GPU {} of {}", gpu.index, fleet::name(host));
        return Err(CliError::NotFound(format!(
            "no stranger's process {pid} is on {place}; `asyncflow gpu list` shows those that are"
        )));
    }
    let undone = GpuProcessTreatment::Unspecified;
    let treatment = if processes.undo { undone } else { treatment };
    let mut changed = None;
    for pid in &processes.pids {
        let worker_id = &fleet::worker(host)?.worker_id;
        let answer = broker.client.update_gpu_process(worker_id, &gpu.uuid, *pid, treatment).await;
        changed = Some(answer.map_err(|error| broker.explain(error))?);
    }
    output.many(&view_of(changed, &gpu.uuid)?)?;
    Ok(exit::OK)
}

fn view_of(host: Option<Host>, uuid: &str) -> Result<Vec<GpuView>, CliError> {
    let host =
        host.ok_or_else(|| CliError::Failed("the broker's answer holds no host".to_owned()))?;
    Ok(gpu::views(&host).into_iter().filter(|view| view.is(uuid)).collect())
}
