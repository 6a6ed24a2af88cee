//! Creating many tasks by one stream.

use futures::{Stream, StreamExt, TryStreamExt, stream};

use prost::Message;

use super::{Client, tasks::identify};
use crate::{
    Error,
    v1::{CreateTaskRequest, CreateTaskResult, StreamCreateTasksRequest},
};

/// Requests that go in one message, if they are there at the same time.
const MESSAGE_REQUESTS_MAX: usize = 500;
/// A message is closed at this size. A single request may be larger; brokers take 8 MiB.
const MESSAGE_BYTES: usize = 1 << 20;

/// Messages of these requests, in their order.
fn messages(
    requests: Vec<CreateTaskRequest>,
    bytes: usize,
) -> impl Iterator<Item = StreamCreateTasksRequest> {
    let mut requests = requests.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut message = StreamCreateTasksRequest { requests: vec![requests.next()?] };
        let mut size = message.requests[0].encoded_len();
        while let Some(next) = requests.next_if(|next| size + next.encoded_len() <= bytes) {
            size += next.encoded_len();
            message.requests.push(next);
        }
        Some(message)
    })
}

impl Client {
    /// Creates tasks as `requests` yields them, no faster than the broker writes; one result for
    /// each, in their order, when it is on disk. A task that could not be created has an `error`,
    /// which `Error::from` makes an [`Error`] of, and the others go on.
    ///
    /// Nothing is repeated inside. When the stream breaks, send again what has no result yet, with
    /// the same request ids; empty ones are replaced by random ones.
    ///
    /// # Errors
    /// When the stream could not be opened; the stream ends with the error that broke it.
    pub async fn create_stream<S>(
        &self,
        requests: S,
    ) -> Result<impl Stream<Item = Result<CreateTaskResult, Error>> + Send + use<S>, Error>
    where
        S: Stream<Item = CreateTaskRequest> + Send + 'static,
    {
        let identified = requests.map(|mut request| {
            identify(&mut request);
            request
        });
        let messages = identified.ready_chunks(MESSAGE_REQUESTS_MAX).flat_map(|requests| {
            stream::iter(messages(requests, MESSAGE_BYTES).collect::<Vec<_>>())
        });
        let answers = self.broker.clone().stream_create_tasks(messages).await?.into_inner();
        let results = answers.map_err(Error::from).map_ok(|answer| {
            let results = answer.results.into_iter().map(Ok);
            stream::iter(results)
        });
        Ok(results.try_flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_the_order_and_a_size() {
        let request = |bytes: usize| CreateTaskRequest {
            request_id: "x".repeat(bytes),
            ..CreateTaskRequest::default()
        };
        let requests = [10, 10, 90, 300, 10].map(request).to_vec();
        let sizes = messages(requests.clone(), 100).map(|message| message.requests.len());
        assert_eq!(sizes.collect::<Vec<_>>(), [2, 1, 1, 1]);
        let all: Vec<_> = messages(requests.clone(), 100).flat_map(|one| one.requests).collect();
        assert_eq!(all, requests);
    }
}
