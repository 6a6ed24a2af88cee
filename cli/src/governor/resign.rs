//! `governor resign`

use super::asked::Question;
use crate::{connection::Governor, error::CliError, output::Output};
use asyncflow_proto::v1::ResignRequest;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, _: &Output) -> Result<(), CliError> {
        governor.call(async |client| client.resign(ResignRequest {}).await).await?;
        Ok(())
    }
}
