//! Creating many tasks by one stream.

use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::{Client, tasks::identify};
use crate::{
    Error,
    v1::{CreateTaskRequest, CreateTaskResult, StreamCreateTasksRequest},
};

/// Requests that go in one message, if they are there at the same time.
const MESSAGE_REQUESTS_MAX: usize = 500;

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
        let messages = identified
            .ready_chunks(MESSAGE_REQUESTS_MAX)
            .map(|requests| StreamCreateTasksRequest { requests });
        let answers = self.broker.clone().stream_create_tasks(messages).await?.into_inner();
        let results = answers.map_err(Error::from).map_ok(|answer| {
            let results = answer.results.into_iter().map(Ok);
            stream::iter(results)
        });
        Ok(results.try_flatten())
    }
}
