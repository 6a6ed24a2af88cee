//! `task purge`

use super::bulk::{Bulk, Deed};
use crate::{error::Outcome, session::Session};

/// Delete all ended tasks that match a filter, with their history and logs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    bulk: Bulk,
}

pub async fn execute(args: Args, session: &Session) -> Outcome {
    args.bulk.execute(Deed::Purge, session).await
}
