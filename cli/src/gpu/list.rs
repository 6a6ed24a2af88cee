//! `gpu list`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    fleet,
    output::Output,
    view::{gpu, host::HostView},
};

/// List the GPUs of all hosts: who uses them, how much, and why one may not be used
///
/// It shows what the workers told last, which is a few seconds old. `-o json` has everything that
/// they told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only of this worker or host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
}

pub async fn execute(args: Args, broker: &Broker, output: &Output) -> Outcome {
    let mut hosts = fleet::hosts(broker).await?;
    if let Some(typed) = &args.host {
        hosts = vec![fleet::find(&hosts, typed)?.clone()];
    }
    let views: Vec<_> = hosts.iter().flat_map(gpu::views).collect();
    output.many(&views)?;
    if output.is_table() {
        hosts
            .iter()
            .filter_map(|host| HostView::from(host.clone()).remark(output.look()))
            .for_each(|text| {
                crate::remark(&text);
            });
    }
    Ok(exit::OK)
}
