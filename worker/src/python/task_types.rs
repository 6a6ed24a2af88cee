//! The types of Python tasks at the brokers: made when they are missing, never changed.

use std::time::Duration;

use asyncflow_sdk::{ChannelOptions, Client, ClientOptions, Error};
use tonic::Code;

use super::list::Listed;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);
const CALL_MAX: Duration = Duration::from_secs(10);

/// Makes those that are missing, as soon as a broker answers; then it returns. What this worker may
/// not do is left to an operator, who is told in the log. Cancel safe.
pub async fn make(brokers: &[ChannelOptions], mut wanted: Vec<Listed>) {
    let mut pause = PAUSE_MIN;
    while !wanted.is_empty() {
        for broker in brokers {
            let options = ClientOptions {
                address: broker.address.clone(),
                token: broker.token.clone(),
                ca_file: broker.ca_file.clone(),
                call_timeout: CALL_MAX,
                retries_max: 0,
                ..ClientOptions::default()
            };
            // What is wrong with the address is told by who registers there.
            let Ok(client) = Client::connect(options) else { return };
            wanted = make_by(&client, wanted).await;
        }
        if !wanted.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Gives back what has to be tried again.
async fn make_by(client: &Client, wanted: Vec<Listed>) -> Vec<Listed> {
    let mut left = Vec::new();
    for task in wanted {
        let task_type = task.task_type.as_str();
        match make_one(client, &task).await {
            Ok(()) => {}
            Err(error) if is_passing(&error) => {
                tracing::debug!(%error, task_type, "its type cannot be made yet");
                left.push(task);
            }
            Err(error) if error.code() == Code::PermissionDenied => tracing::warn!(
                task_type,
                "a worker with a token may not look for its task type, nor make it: an admin does, \
                 by `asyncflow type create`"
            ),
            Err(error) => tracing::warn!(%error, task_type, "its type cannot be made"),
        }
    }
    left
}

async fn make_one(client: &Client, task: &Listed) -> Result<(), Error> {
    let task_type = task.task_type.as_str();
    match client.get_type(task_type).await {
        Err(error) if error.code() == Code::NotFound => {}
        Err(error) => return Err(error),
        Ok(there) => {
            let differences = task.differences(&there);
            if !differences.is_empty() {
                let differences = differences.join("; ");
                tracing::warn!(
                    task_type,
                    differences,
                    "the task type exists, and its settings differ from those of @task; it is \
                     left as it is: `asyncflow type set` changes it"
                );
            }
            return Ok(());
        }
    }
    match client.create_type(task.new_type()).await {
        // Somebody else was faster.
        Err(error) if error.code() == Code::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            tracing::info!(task_type, "its type is made");
            Ok(())
        }
    }
}

fn is_passing(error: &Error) -> bool {
    let passing =
        [Code::Unavailable, Code::DeadlineExceeded, Code::Aborted, Code::ResourceExhausted];
    passing.contains(&error.code()) || error.code() == Code::Internal
}
