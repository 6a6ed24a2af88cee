//! Lazy channels to a broker: keep-alive, TLS by rustls, bearer token, trace header.

use std::{path::PathBuf, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{Error, trace};

/// A half-open connection is noticed after interval + timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel that puts the token and a trace header on every call.
pub type AuthorizedChannel = InterceptedService<Channel, CallHeaders>;

/// How a broker is reached.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// `http://host:port` or `https://host:port`.
    pub address: String,
    /// Sent as `authorization: Bearer …`.
    pub token: Option<String>,
    /// PEM file of the authority that signed the broker's certificate; required for `https`.
    pub ca_file: Option<PathBuf>,
    /// How long a connection attempt may take.
    pub connect_timeout: Duration,
}

impl ChannelOptions {
    /// Without token and TLS.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(3),
        }
    }

    /// Makes the channel; it connects at the first call, and again after a break.
    ///
    /// Errors: [`Error::Config`] for a bad address, token or CA file.
    pub fn open(&self) -> Result<AuthorizedChannel, Error> {
        let bad_address = |source| Error::Config(format!("address {}: {source}", self.address));
        let mut endpoint = Endpoint::from_shared(self.address.clone())
            .map_err(bad_address)?
            .connect_timeout(self.connect_timeout)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .user_agent(concat!("asyncflow-rust/", env!("CARGO_PKG_VERSION")))
            .map_err(bad_address)?;
        match endpoint.uri().scheme_str() {
            Some("http") => {}
            Some("https") => {
                endpoint = endpoint.tls_config(self.tls()?).map_err(bad_address)?;
            }
            _ => {
                let message = "must begin with http:// or https://";
                return Err(Error::Config(format!("address {}: {message}", self.address)));
            }
        }
        let headers = CallHeaders::new(self.token.as_deref())?;
        Ok(InterceptedService::new(lazy(&endpoint), headers))
    }

    fn tls(&self) -> Result<ClientTlsConfig, Error> {
        let Some(path) = &self.ca_file else {
            return Err(Error::Config("https needs a CA file (ASYNCFLOW_CA_FILE)".to_owned()));
        };
        let pem = std::fs::read(path)
            .map_err(|source| Error::Config(format!("CA file {}: {source}", path.display())))?;
        Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
    }
}

#[cfg(not(feature = "simulation"))]
fn lazy(endpoint: &Endpoint) -> Channel {
    endpoint.connect_lazy()
}

#[cfg(feature = "simulation")]
fn lazy(endpoint: &Endpoint) -> Channel {
    crate::simulation::channel(endpoint).unwrap_or_else(|| endpoint.connect_lazy())
}

/// Puts `authorization` and, unless the caller set one, `traceparent` on each call.
#[derive(Clone)]
pub struct CallHeaders {
    authorization: Option<MetadataValue<Ascii>>,
}

impl CallHeaders {
    fn new(token: Option<&str>) -> Result<Self, Error> {
        let authorization = token
            .map(|token| MetadataValue::try_from(format!("Bearer {}", token.trim())))
            .transpose()
            .map_err(|_| Error::Config("the token has characters that cannot be sent".into()))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        Ok(Self { authorization })
    }
}

impl Interceptor for CallHeaders {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(value) = &self.authorization {
            metadata.insert("authorization", value.clone());
        }
        trace::mark_unless_marked(metadata);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::{CallHeaders, ChannelOptions};
    use crate::Error;
    use tonic::{Request, service::Interceptor};

    #[tokio::test]
    async fn bad_options_are_refused_before_any_call() {
        for address in ["", "localhost:7070", "ftp://x", "https://without-ca:1", "http://a b"] {
            let refused = ChannelOptions::new(address).open().err();
            assert!(matches!(refused, Some(Error::Config(_))), "{address}: {refused:?}");
        }
        let mut options = ChannelOptions::new("http://127.0.0.1:1");
        options.token = Some("line\nbreak".to_owned());
        assert!(options.open().is_err());
    }

    #[test]
    fn every_call_carries_token_and_trace() {
        let request = CallHeaders::new(Some("secret\n")).unwrap().call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer secret");
        let trace = request.metadata().get("traceparent").unwrap().to_str().unwrap();
        assert_eq!(trace.len(), 55, "{trace}");
    }
}
