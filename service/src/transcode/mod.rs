//! The same calls as JSON over plain HTTP, and gRPC-Web, on the port of gRPC.
//!
//! ```text
//!                    ┌ application/grpc ─────────────────────────────────┐
//!  HTTP/1.1, HTTP/2 ─┤ application/grpc-web ─▶ tonic-web ────────────────┼─▶ inner: token, limits,
//!                    └ else: route ─▶ path, query, JSON ─▶ gRPC request ─┘   deadline, handler
//!                      JSON, events, lines ◀─ message by message ◀───────────── gRPC answer
//! ```
//!
//! It knows nothing of the calls but their descriptors and `google.api.http`. What is inside of it
//! cannot tell an HTTP caller from another one, so no rule is kept twice.
//!
//! | module | answers |
//! |---|---|
//! | `api`, `table` | which call do a method and a path mean? |
//! | `request`, `bind`, `json` | what does the request say? |
//! | `answer`, `stream`, `refusal` | how is the answer written? |
//! | `browser` | may a page call? |
//! | `openapi` | how are others told? |

mod answer;
mod api;
mod bind;
mod browser;
mod json;
mod openapi;
mod refusal;
mod request;
mod stream;
mod table;

pub use api::{HttpApi, HttpApiError};
pub use browser::Browsers;
pub use table::BadRule;

use crate::status;
use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::Full;
use request::Draft;
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use stream::Form;
use table::{Found, Route};
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceExt};

/// Longest path with query.
const URL_BYTES_MAX: usize = 8 << 10;
/// Base64 makes three bytes four, and names come with it.
const JSON_FACTOR: usize = 2;
const DOCUMENT_PATH: &str = "/v1/openapi.json";
const ANY_PATH_METHODS: &str = "GET, HEAD, POST, PATCH, DELETE, OPTIONS";

/// Puts [`Transcoder`] around routes of tonic.
#[derive(Clone)]
pub struct TranscodeLayer {
    shared: Arc<Shared>,
}

struct Shared {
    api: HttpApi,
    browsers: Browsers,
    body_bytes_max: usize,
}

impl TranscodeLayer {
    /// Serves `api`; `message_bytes_max` is the limit of an encoded message.
    #[must_use]
    pub fn new(api: HttpApi, browsers: Browsers, message_bytes_max: usize) -> Self {
        let body_bytes_max = message_bytes_max.saturating_mul(JSON_FACTOR);
        Self { shared: Arc::new(Shared { api, browsers, body_bytes_max }) }
    }
}

impl<S> Layer<S> for TranscodeLayer {
    type Service = Transcoder<S>;

    fn layer(&self, inner: S) -> Transcoder<S> {
        Transcoder { inner, shared: Arc::clone(&self.shared) }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Transcoder<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// The routes of tonic, or what is around them.
pub trait Calls:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Calls for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

impl<S: Calls> Service<Request<Body>> for Transcoder<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let kind = Kind::of(request.headers());
        if kind == Kind::Grpc && request.version() == Version::HTTP_2 {
            return Either::Left(self.inner.call(request));
        }
        let fresh = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, fresh);
        let shared = Arc::clone(&self.shared);
        Either::Right(async move { Ok(shared.answer(inner, kind, request).await) }.boxed())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Grpc,
    GrpcWeb,
    Http,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        match kind.and_then(|kind| kind.strip_prefix(b"application/grpc")) {
            Some(rest) if rest.starts_with(b"-web") => Self::GrpcWeb,
            Some(_) => Self::Grpc,
            None => Self::Http,
        }
    }
}

impl Shared {
    async fn answer<S: Calls>(
        &self,
        inner: S,
        kind: Kind,
        request: Request<Body>,
    ) -> Response<Body> {
        if let Err(status) = self.browsers.check(&request) {
            return refusal::respond(&status);
        }
        match kind {
            Kind::Http => self.answer_http(inner, request).await,
            Kind::GrpcWeb => {
                let Ok(answer) = GrpcWebLayer::new().layer(inner).oneshot(request).await;
                answer
            }
            Kind::Grpc => refusal::respond(&status::unsupported_body(
                "gRPC needs HTTP/2: send application/json, or application/grpc-web",
            )),
        }
    }

    async fn answer_http<S: Calls>(&self, inner: S, request: Request<Body>) -> Response<Body> {
        let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        if length > URL_BYTES_MAX {
            return refusal::respond(&status::url_too_long(URL_BYTES_MAX));
        }
        let is_head = request.method() == Method::HEAD;
        let response = self.answer_route(inner, request).await;
        let labels = [("status", response.status().as_str().to_owned())];
        metrics::counter!("asyncflow_http_requests_total", &labels).increment(1);
        if is_head { without_body(response) } else { response }
    }

    async fn answer_route<S: Calls>(&self, inner: S, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if path == DOCUMENT_PATH {
            return match parts.method {
                Method::GET | Method::HEAD => {
                    answer::plain("application/json", self.api.document())
                }
                Method::OPTIONS => options("GET, HEAD, OPTIONS"),
                _ => not_allowed(&parts.method, "GET, HEAD, OPTIONS"),
            };
        }
        if parts.method == Method::OPTIONS && path == "*" {
            return options(ANY_PATH_METHODS);
        }
        // The answer to HEAD is that to GET without its body; a stream has no end to wait for.
        let is_head = parts.method == Method::HEAD;
        let method = if is_head { &Method::GET } else { &parts.method };
        let (route, values) = match self.api.table().find(method, path) {
            Found::Route(route, _) if is_head && route.streams() => {
                return not_allowed(&parts.method, "GET, OPTIONS");
            }
            Found::Route(route, values) => (Arc::clone(route), values),
            Found::WrongMethod(routes) => {
                let allowed = allowed(&routes);
                return match parts.method {
                    Method::OPTIONS => options(&allowed),
                    _ => not_allowed(&parts.method, &allowed),
                };
            }
            Found::Unknown(hint) => {
                let hint = hint.map(|route| route.to_string());
                return refusal::respond(&status::unknown_path(path, hint.as_deref()));
            }
        };
        if let Err(status) = check_content(&route, &parts.headers) {
            return refusal::respond(&status);
        }
        let draft = Draft {
            values: values.into_iter().map(str::to_owned).collect(),
            query: parts.uri.query().map(str::to_owned),
            resume: header_text(&parts.headers, "last-event-id"),
            body_bytes_max: self.body_bytes_max,
            route: Arc::clone(&route),
        };
        let form = form(&parts.headers);
        let Ok(answer) = inner.oneshot(draft.into_grpc(parts, body)).await;
        let output = route.call.output();
        match route.streams() {
            true => answer::stream(answer, output, form),
            false => answer::once(answer, output).await,
        }
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn form(headers: &HeaderMap) -> Form {
    let accepted = headers.get_all(header::ACCEPT).iter();
    let texts: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    // The first that is known counts; who sends quality values sends them in this order.
    let kinds = texts.iter().flat_map(|text| text.split(','));
    kinds.filter_map(accepted_form).next().unwrap_or(Form::Lines)
}

fn accepted_form(media_range: &str) -> Option<Form> {
    let mut parts = media_range.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let is_refused = parts
        .filter_map(|part| part.strip_prefix("q="))
        .any(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
    match kind.as_str() {
        _ if is_refused => None,
        "text/event-stream" => Some(Form::Events),
        "text/plain" => Some(Form::Bytes),
        "application/json" | "application/jsonl" | "application/x-ndjson" => Some(Form::Lines),
        _ => None,
    }
}

/// JSON goes by several names; `curl -d` calls everything a form.
fn check_content(route: &Route, headers: &HeaderMap) -> Result<(), tonic::Status> {
    let encoding = header_text(headers, header::CONTENT_ENCODING.as_str());
    if let Some(encoding) = encoding.filter(|name| !name.eq_ignore_ascii_case("identity")) {
        return Err(status::unsupported_body(&format!(
            "a body in the encoding {encoding:?} is not understood: send it as it is"
        )));
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json = matches!(
        kind,
        "" | "application/json"
            | "application/jsonl"
            | "application/x-ndjson"
            | "application/x-www-form-urlencoded"
            | "text/json"
            | "text/plain"
    ) || kind.ends_with("+json");
    match is_json || matches!(route.body, table::Payload::None) {
        true => Ok(()),
        false => Err(status::unsupported_body(&format!(
            "a body of type {kind:?} is not understood: send application/json"
        ))),
    }
}

fn allowed(routes: &[&Route]) -> String {
    let mut names: Vec<_> = routes.iter().map(|route| route.method.as_str()).collect();
    if routes.iter().any(|route| route.method == Method::GET && !route.streams()) {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn options(allowed: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set_allow(&mut response, allowed);
    response
}

fn not_allowed(method: &Method, allowed: &str) -> Response<Body> {
    let mut response = refusal::respond(&status::method_not_allowed(method.as_str(), allowed));
    set_allow(&mut response, allowed);
    response
}

fn set_allow(response: &mut Response<Body>, allowed: &str) {
    if let Ok(value) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
}

fn without_body(mut response: Response<Body>) -> Response<Body> {
    let exact = http_body::Body::size_hint(response.body()).exact();
    if let Some(length) = exact {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(|_| Body::new(Full::<bytes::Bytes>::default()))
}
