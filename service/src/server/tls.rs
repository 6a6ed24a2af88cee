//! TLS of the server: rustls with ring.

use crate::config::TlsConfig;
use std::{fs, os::unix::fs::MetadataExt, path::Path, time::Duration};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes ring the provider of this process. Needed before any TLS where another crate of the
/// build has brought a second provider along; only the first call has an effect.
pub fn install_crypto_provider() {
    // An error means that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Reads and checks the files; `None` where TLS is off. An error names the key of its file.
pub(crate) fn server_config(
    config: &TlsConfig,
) -> Result<Option<ServerTlsConfig>, (&'static str, String)> {
    let (Some(cert_file), Some(key_file)) = (&config.cert_file, &config.key_file) else {
        return Ok(None);
    };
    install_crypto_provider();
    let cert = read("cert_file", cert_file)?;
    let key = read("key_file", key_file)?;
    let mode = fs::metadata(key_file).map_or(0, |meta| meta.mode() & 0o7777);
    if mode & 0o007 != 0 {
        let message = format!("{} has mode {mode:04o}, others can use it", key_file.display());
        return Err(("key_file", message));
    }
    let mut tls =
        ServerTlsConfig::new().identity(Identity::from_pem(cert, key)).timeout(HANDSHAKE_TIMEOUT);
    check(&tls).map_err(|error| ("cert_file", error))?;
    if let Some(ca_file) = &config.client_ca_file {
        tls = tls.client_ca_root(Certificate::from_pem(read("client_ca_file", ca_file)?));
        check(&tls).map_err(|error| ("client_ca_file", error))?;
    }
    Ok(Some(tls))
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, (&'static str, String)> {
    fs::read(path).map_err(|error| (key, format!("cannot read {}: {error}", path.display())))
}

/// Tonic parses the files only when a server is built with them.
fn check(tls: &ServerTlsConfig) -> Result<(), String> {
    use std::error::Error;
    Server::builder().tls_config(tls.clone()).map(drop).map_err(|error| {
        let cause = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        format!("certificate and key cannot be used{cause}")
    })
}
