//! Handlers that are plain async functions.

use async_trait::async_trait;

use super::{
    attempt::AttemptHandle,
    handler::{Handler, HandlerError},
};
use crate::v1::{Content, LeasedTask};

/// Works on tasks by a function, see [`super::WorkerBuilder::function`].
pub(super) struct FunctionHandler<F>(pub F);

#[async_trait]
impl<F, W> Handler for FunctionHandler<F>
where
    F: Fn(AttemptHandle) -> W + Send + Sync + 'static,
    W: Future<Output = Result<Option<Content>, HandlerError>> + Send + 'static,
{
    type Context = ();

    async fn load_context(&self, _: &LeasedTask) -> Result<(), HandlerError> {
        Ok(())
    }

    async fn process(
        &self,
        attempt: &mut AttemptHandle,
        (): (),
    ) -> Result<Option<Content>, HandlerError> {
        (self.0)(attempt.clone()).await
    }
}
