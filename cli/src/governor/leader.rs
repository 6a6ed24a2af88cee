//! `governor leader`

use super::asked::Question;
use crate::{connection::Governor, error::CliError, output::Output, view::governor::LeaderView};
use asyncflow_proto::v1::GetLeaderRequest;

#[derive(Debug, clap::Args)]
pub struct Args {}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        let leader = governor.call(async |client| client.get_leader(GetLeaderRequest {}).await);
        output.one(&LeaderView::from(leader.await?))
    }
}
