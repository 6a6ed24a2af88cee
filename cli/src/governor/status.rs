//! `governor status`

use super::asked::Question;
use crate::{connection::Governor, error::CliError, output::Output, view::governor::StatusView};
use asyncflow_proto::v1::GetStatusRequest;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        let status = governor.call(async |client| client.get_status(GetStatusRequest {}).await);
        let view = StatusView::from(status.await?);
        output.one(&view)?;
        if output.is_table() {
            output.line("")?;
            output.many(view.duties())?;
        }
        Ok(())
    }
}
