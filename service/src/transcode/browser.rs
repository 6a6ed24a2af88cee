//! Keeps pages of others away. A browser sends requests wherever a page wants it to, also to
//! programs that listen on loopback without tokens, and who may create a task may run programs.

use crate::status;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use std::{net::IpAddr, time::Duration};
use tonic::{Status, body::Body};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it was allowed.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3_600);

/// Which pages may call.
#[derive(Debug, Clone, Default)]
pub struct Browsers {
    origins: Vec<HeaderValue>,
    /// There are no tokens: a name that was made to point here must not do.
    loopback_only: bool,
}

impl Browsers {
    /// Lets pages of these origins (`https://example.org`) call.
    #[must_use]
    pub fn new(origins: &[String], loopback_only: bool) -> Self {
        let origins = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
        Self { origins, loopback_only }
    }

    /// Refuses a page that is not to call.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub(super) fn check(&self, request: &Request<Body>) -> Result<(), Status> {
        if let Some(origin) = request.headers().get(header::ORIGIN)
            && !self.origins.contains(origin)
        {
            return Err(status::origin_refused(&String::from_utf8_lossy(origin.as_bytes())));
        }
        // No browser speaks HTTP/2 without TLS.
        if self.loopback_only && request.version() < Version::HTTP_2 {
            let host = host(request);
            let host = host.as_deref().unwrap_or_default();
            if !is_loopback(host) {
                return Err(status::host_refused(host));
            }
        }
        Ok(())
    }

    /// What answers preflights and adds the headers that a page's browser wants to see; `None`
    /// where no page may call.
    #[must_use]
    pub fn cors(&self) -> Option<CorsLayer> {
        if self.origins.is_empty() {
            return None;
        }
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let allowed = [
            "authorization",
            "content-type",
            "grpc-timeout",
            "last-event-id",
            "traceparent",
            "x-grpc-web",
            "x-user-agent",
        ];
        let exposed = [
            "grpc-status",
            "grpc-message",
            "grpc-status-details-bin",
            "retry-after",
            "traceparent",
        ];
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.origins.clone()))
            .allow_methods(methods)
            .allow_headers(allowed.map(HeaderName::from_static))
            .expose_headers(exposed.map(HeaderName::from_static))
            .max_age(PREFLIGHT_MAX_AGE);
        Some(layer)
    }
}

fn host(request: &Request<Body>) -> Option<String> {
    let named = request.uri().host().map(str::to_owned);
    named.or_else(|| of_header(request.headers()))
}

fn of_header(headers: &HeaderMap) -> Option<String> {
    let authority: http::uri::Authority = headers.get(header::HOST)?.to_str().ok()?.parse().ok()?;
    Some(authority.host().to_owned())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = bare.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn refused(browsers: &Browsers, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post("/v1/tasks");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        browsers.check(&request.body(Body::empty()).unwrap()).is_err()
    }

    #[test]
    fn a_page_of_somebody_else_is_refused() {
        let none = Browsers::new(&[], true);
        assert!(!refused(&none, &[("host", "127.0.0.1:7070")]));
        assert!(!refused(&none, &[("host", "LOCALHOST")]));
        assert!(!refused(&none, &[("host", "[::1]:7070")]));
        assert!(refused(&none, &[("host", "evil.example:7070")]), "its name points here");
        assert!(refused(&none, &[("host", "127.0.0.1.evil.example")]));
        assert!(refused(&none, &[]));
        assert!(refused(&none, &[("host", "127.0.0.1"), ("origin", "http://127.0.0.1")]));
        assert!(refused(&none, &[("host", "127.0.0.1"), ("origin", "null")]));

        let ours = Browsers::new(&["https://board.example".to_owned()], false);
        assert!(!refused(&ours, &[("host", "broker"), ("origin", "https://board.example")]));
        assert!(refused(&ours, &[("host", "broker"), ("origin", "https://board.example.org")]));
    }
}
