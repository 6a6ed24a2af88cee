//! A network of the caller's own in place of TCP: for tests that simulate one.

use std::{io, sync::OnceLock};

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::{Channel, Endpoint, Uri};

type Connection = Box<dyn Stream>;
type Connect = Box<dyn Fn(String, u16) -> BoxFuture<'static, io::Result<Connection>> + Send + Sync>;

static CONNECT: OnceLock<Connect> = OnceLock::new();

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// From now on this process connects to host and port by `connect`, and never by TCP. Only the
/// first call of this does anything.
pub fn connect_by<F, W, S>(connect: F)
where
    F: Fn(String, u16) -> W + Send + Sync + 'static,
    W: Future<Output = io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let _ = CONNECT.set(Box::new(move |host, port| {
        let connecting = connect(host, port);
        Box::pin(async move { Ok(Box::new(connecting.await?) as Connection) })
    }));
}

/// A channel over that network, if there is one.
pub(crate) fn channel(endpoint: &Endpoint) -> Option<Channel> {
    let connect = CONNECT.get()?;
    let connector = tower::service_fn(move |uri: Uri| {
        let host = uri.host().unwrap_or_default().to_owned();
        let connecting = connect(host, uri.port_u16().unwrap_or(80));
        async move { connecting.await.map(TokioIo::new) }
    });
    Some(endpoint.connect_with_connector_lazy(connector))
}
