//! TLS of the server: rustls with ring. Done here and not by tonic, which would offer HTTP/2 alone.

use crate::config::TlsConfig;
use futures::{Stream, StreamExt};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::task::AbortOnDropHandle;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections that are shaking hands; the others wait to be accepted.
const HANDSHAKES_MAX: usize = 4_096;
/// What is offered, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Makes ring the provider of this process. Needed before any TLS where another crate of the
/// build has brought a second provider along; only the first call has an effect.
pub fn install_crypto_provider() {
    // An error means that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Reads and checks the files; `None` where TLS is off. An error names the key of its file.
pub(crate) fn server_config(
    config: &TlsConfig,
) -> Result<Option<Arc<ServerConfig>>, (&'static str, String)> {
    let (Some(cert_file), Some(key_file)) = (&config.cert_file, &config.key_file) else {
        return Ok(None);
    };
    install_crypto_provider();
    let chain = certificates("cert_file", cert_file)?;
    let key = read("key_file", key_file)?;
    let mode = fs::metadata(key_file).map_or(0, |meta| meta.mode() & 0o7777);
    if mode & 0o007 != 0 {
        let message = format!("{} has mode {mode:04o}, others can use it", key_file.display());
        return Err(("key_file", message));
    }
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|error| ("key_file", unusable(&error.to_string())))?;
    let builder = ServerConfig::builder();
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(ca_file) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates("client_ca_file", ca_file)?);
            let verifier = WebPkiClientVerifier::builder(roots.into()).build();
            let bad = |error| ("client_ca_file", unusable(&format!("{error}")));
            builder.with_client_cert_verifier(verifier.map_err(bad)?)
        }
    };
    let tls = builder.with_single_cert(chain, key);
    let mut tls = tls.map_err(|error| ("cert_file", unusable(&error.to_string())))?;
    tls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Some(Arc::new(tls)))
}

/// The connections of `incoming` after their handshake; those that fail are left out. They shake
/// hands side by side, on all threads.
pub(super) fn accept<IO>(
    incoming: impl Stream<Item = io::Result<IO>>,
    config: Arc<ServerConfig>,
) -> impl Stream<Item = io::Result<TlsStream<IO>>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let acceptor = TlsAcceptor::from(config);
    let shaking = incoming.map(move |stream| {
        let acceptor = acceptor.clone();
        let shake = async move {
            let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
            tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream?)).await.map_err(late)?
        };
        AbortOnDropHandle::new(tokio::spawn(shake))
    });
    shaking.buffer_unordered(HANDSHAKES_MAX).map(|ended| ended.map_err(io::Error::other)?)
}

fn certificates(
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, (&'static str, String)> {
    let text = read(key, path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err((key, unusable("the file has no certificate"))),
        Err(error) => Err((key, unusable(&error.to_string()))),
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, (&'static str, String)> {
    fs::read(path).map_err(|error| (key, format!("cannot read {}: {error}", path.display())))
}

fn unusable(cause: &str) -> String {
    format!("certificate and key cannot be used: {cause}")
}
