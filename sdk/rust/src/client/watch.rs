//! Following the state of tasks over breaks of the connection.

use futures::{Stream, stream};
use tonic::Streaming;

use super::{Client, Reconnects};
use crate::{
    Error,
    v1::{WatchTasksRequest, WatchTasksResponse},
};

struct Watching {
    client: Client,
    request: WatchTasksRequest,
    open: Option<Streaming<WatchTasksResponse>>,
    reconnects: Reconnects,
}

impl Client {
    /// Streams the state of matching tasks: as they are, then at every change. After a break the
    /// stream goes on from its last resume token; it ends when the broker ends it well
    /// (`until_done`), or with an error that repeating does not help. Keep-alives are left out.
    pub fn watch(
        &self,
        request: WatchTasksRequest,
    ) -> impl Stream<Item = Result<WatchTasksResponse, Error>> {
        let watching = Watching {
            client: self.clone(),
            request,
            open: None,
            reconnects: Reconnects::new(self),
        };
        stream::try_unfold(watching, |mut watching| async move {
            let answer = watching.next().await?;
            Ok(answer.map(|answer| (answer, watching)))
        })
    }
}

impl Watching {
    async fn next(&mut self) -> Result<Option<WatchTasksResponse>, Error> {
        loop {
            match self.message().await {
                Ok(None) => return Ok(None),
                Ok(Some(answer)) => {
                    self.reconnects.succeeded();
                    if !answer.resume_token.is_empty() {
                        self.request.resume_token.clone_from(&answer.resume_token);
                    }
                    if answer.task.is_some() || !answer.deleted_task_id.is_empty() {
                        return Ok(Some(answer));
                    }
                }
                Err(error) => {
                    self.open = None;
                    self.reconnects.failed(error).await?;
                }
            }
        }
    }

    async fn message(&mut self) -> Result<Option<WatchTasksResponse>, Error> {
        let stream = match &mut self.open {
            Some(stream) => stream,
            closed => {
                let mut broker = self.client.broker.clone();
                let stream = broker.watch_tasks(self.request.clone()).await?.into_inner();
                closed.insert(stream)
            }
        };
        Ok(stream.message().await?)
    }
}
