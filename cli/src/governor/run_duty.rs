//! `governor run-duty`

use super::asked::Question;
use crate::{
    connection::{Governor, required},
    error::CliError,
    output::Output,
    view::governor::DutyView,
};
use asyncflow_proto::v1::RunDutyRequest;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name, e.g. `reap`
    duty: String,
}

impl Question for Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError> {
        let request = RunDutyRequest { duty: self.duty };
        let answer = governor.call(async |client| client.run_duty(request).await).await?;
        output.one(&DutyView::from(required(answer.duty, "duty")?))
    }
}
