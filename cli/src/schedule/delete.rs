//! `schedule delete`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
    task::each::report,
};

/// Delete schedules; what they have made stays
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Their ids
    #[arg(value_name = "SCHEDULE", required = true)]
    schedules: Vec<String>,
}

/// Goes through them to the end; the exit code is that of the first error.
pub async fn execute(args: Args, broker: &Broker) -> Outcome {
    let mut failed: Option<u8> = None;
    for id in args.schedules {
        match broker.client.delete_schedule(&id).await {
            Ok(()) => crate::remark(&format!("{id} deleted")),
            Err(error) => {
                let error = broker.explain(error);
                report(&id, &error);
                failed.get_or_insert(error.exit_code());
            }
        }
    }
    Ok(failed.unwrap_or(exit::OK))
}
