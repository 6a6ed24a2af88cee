//! How every question to a governor is put: whom it goes to, how the answer is printed.

use crate::{
    connection::{Governor, GovernorAddress},
    error::{CliError, Outcome, exit},
    output::{Output, OutputArgs},
};

/// One verb: its own flags, what it asks, what it prints.
pub trait Question: clap::Args {
    async fn ask(self, governor: &mut Governor, output: &Output) -> Result<(), CliError>;
}

/// A verb with the flags that all of them share.
#[derive(Debug, clap::Args)]
pub struct Asked<Q: Question> {
    #[command(flatten)]
    question: Q,
    #[command(flatten)]
    address: GovernorAddress,
    #[command(flatten)]
    output: OutputArgs,
}

impl<Q: Question> Asked<Q> {
    pub async fn execute(self) -> Outcome {
        let mut governor = self.address.open()?;
        self.question.ask(&mut governor, &self.output.open()).await?;
        Ok(exit::OK)
    }
}
