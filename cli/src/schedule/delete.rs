//! `schedule delete`

use crate::{
    connection::Broker,
    error::{Outcome, exit},
};

/// Delete a schedule; what it has made stays
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its id
    schedule: String,
}

pub async fn execute(args: Args, broker: &Broker) -> Outcome {
    let deleted = broker.client.delete_schedule(&args.schedule).await;
    deleted.map_err(|error| broker.explain(error))?;
    crate::remark(&format!("{} deleted", args.schedule));
    Ok(exit::OK)
}
