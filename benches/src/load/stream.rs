//! Creates by streams, as the SDK offers them: how many are acknowledged per second, and how long
//! after the SDK took them.

use super::{
    create::TASK_TYPE,
    deployment::Deployment,
    report::{Measured, Report},
    scenario::Settings,
    shape::Shape,
    tally::Tally,
};
use crate::{clock::Stopwatch, error::BenchError};
use asyncflow_sdk::{Client, ClientOptions, Error, v1::CreateTaskRequest};
use clap::Args;
use futures::{StreamExt, stream};
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::task::JoinSet;

/// After a stream broke.
const PAUSE: Duration = Duration::from_millis(10);

/// StreamCreateTasks, through the SDK
#[derive(Args, Debug, Serialize)]
pub struct StreamArgs {
    /// Streams at once, on a connection each
    #[arg(long, value_name = "N", default_value_t = 4)]
    streams: usize,
    #[command(flatten)]
    #[serde(flatten)]
    settings: Settings,
}

/// When the tasks without an answer were taken, oldest first: answers come in the same order.
type Taken = Arc<Mutex<VecDeque<Duration>>>;

impl StreamArgs {
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub async fn run(&self, on: &Deployment, report: &mut Report) -> Result<(), BenchError> {
        let Settings { shape, time, .. } = self.settings;
        on.make_types(&[TASK_TYPE.to_owned()], shape.context_bytes).await?;
        let tally = Tally::new(Stopwatch::start(), time.span());
        let mut running = JoinSet::new();
        for number in 0..self.streams {
            let options = on.brokers.options(number);
            let client = Client::connect(ClientOptions {
                address: options.address,
                token: options.token,
                ca_file: options.ca_file,
                ..ClientOptions::default()
            })?;
            running.spawn(keep_streaming(client, shape, Arc::clone(&tally)));
        }
        running.join_all().await;
        report.add(Measured::of("stream", &tally.finish()))
    }
}

/// One stream after the other, should one break.
async fn keep_streaming(client: Client, shape: Shape, tally: Arc<Tally>) {
    while tally.clock().elapsed() < tally.span().to {
        if let Err(error) = one_stream(&client, shape, &tally).await {
            tally.failed(&error);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Creates until the span is over and all that was sent is answered.
async fn one_stream(client: &Client, shape: Shape, tally: &Arc<Tally>) -> Result<(), BenchError> {
    let taken = Taken::default();
    let requests = requests(shape, Arc::clone(tally), Arc::clone(&taken));
    let mut results = Box::pin(client.create_stream(requests).await?);
    while let Some(result) = results.next().await {
        let result = result?;
        let since = taken.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match result.error {
            Some(error) => tally.failed(&Error::from(error).into()),
            None => {
                let now = tally.clock().elapsed();
                tally.answered(now, now.saturating_sub(since.unwrap_or(now)), 1);
            }
        }
    }
    Ok(())
}

/// Tasks without end, until the span is over.
fn requests(
    shape: Shape,
    tally: Arc<Tally>,
    taken: Taken,
) -> impl futures::Stream<Item = CreateTaskRequest> + Send + 'static {
    let next = move || {
        let now = tally.clock().elapsed();
        (now < tally.span().to).then(|| {
            taken.lock().unwrap_or_else(PoisonError::into_inner).push_back(now);
            shape.request(TASK_TYPE)
        })
    };
    stream::iter(std::iter::from_fn(next))
}
