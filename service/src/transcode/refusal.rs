//! A status as an HTTP answer: `{"error": {"code", "status", "message", "details"}}`, with the
//! details that a gRPC caller gets.

use crate::status;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use prost::Message;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::{StatusExt, pb};

const TYPE_PREFIX: &str = "type.googleapis.com/";

/// The answer that refuses a call.
pub(super) fn respond(status: &Status) -> Response<Body> {
    let mut body = text(status);
    body.push(b'\n');
    let mut response = Response::new(Body::new(http_body_util::Full::from(body)));
    *response.status_mut() = http_status(status);
    let headers = response.headers_mut();
    pass_headers(status.metadata().as_ref(), headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: Reason<'a>,
}

#[derive(Serialize)]
struct Reason<'a> {
    code: u16,
    status: &'static str,
    message: &'a str,
    details: Vec<Value>,
}

/// The body of such an answer, on one line.
pub(super) fn text(status: &Status) -> Vec<u8> {
    let error = Reason {
        code: http_status(status).as_u16(),
        status: code_name(status.code()),
        message: status.message(),
        details: details(status),
    };
    // A structure of texts and numbers: there is nothing in it that cannot be written.
    serde_json::to_vec(&Refusal { error }).unwrap_or_default()
}

/// What callers may see of an answer's metadata.
pub(super) fn pass_headers(from: &HeaderMap, to: &mut HeaderMap) {
    let passes = |name: &HeaderName| {
        name.as_str() == "traceparent" || name.as_str().starts_with("asyncflow-")
    };
    for (name, value) in from.iter().filter(|(name, _)| passes(name)) {
        to.insert(name.clone(), value.clone());
    }
}

/// `google.rpc.Code` gives each code one; where HTTP is more exact, it is.
fn http_status(status: &Status) -> StatusCode {
    let info = status.get_details_error_info();
    match info.as_ref().map(|info| info.reason.as_str()) {
        Some(status::METHOD_NOT_ALLOWED) => return StatusCode::METHOD_NOT_ALLOWED,
        Some(status::MESSAGE_TOO_LARGE) => return StatusCode::PAYLOAD_TOO_LARGE,
        Some(status::URL_TOO_LONG) => return StatusCode::URI_TOO_LONG,
        Some(status::UNSUPPORTED_BODY) => return StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => {}
    }
    let closed_by_client = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => closed_by_client,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn details(status: &Status) -> Vec<Value> {
    let Ok(packed) = pb::Status::decode(status.details()) else { return Vec::new() };
    let list = packed.details.iter().map(|any| {
        let name = any.type_url.strip_prefix(TYPE_PREFIX).unwrap_or(&any.type_url);
        let mut fields = detail(name, &any.value).unwrap_or_default();
        fields.insert("@type".to_owned(), any.type_url.clone().into());
        Value::Object(fields)
    });
    list.collect()
}

/// The kinds that asyncflow uses; of another one only the name is told.
fn detail(name: &str, value: &[u8]) -> Option<Map<String, Value>> {
    let fields = match name {
        "google.rpc.ErrorInfo" => {
            let info = pb::ErrorInfo::decode(value).ok()?;
            let metadata: std::collections::BTreeMap<_, _> = info.metadata.into_iter().collect();
            json!({ "reason": info.reason, "domain": info.domain, "metadata": metadata })
        }
        "google.rpc.BadRequest" => {
            let violations = pb::BadRequest::decode(value).ok()?.field_violations;
            let violations = violations
                .into_iter()
                .map(|v| json!({ "field": v.field, "description": v.description }));
            json!({ "field_violations": violations.collect::<Vec<_>>() })
        }
        "google.rpc.RetryInfo" => {
            let delay = pb::RetryInfo::decode(value).ok()?.retry_delay.unwrap_or_default();
            let seconds = delay.seconds as f64 + f64::from(delay.nanos) / 1e9;
            json!({ "retry_delay": format!("{seconds}s") })
        }
        "google.rpc.ResourceInfo" => {
            let info = pb::ResourceInfo::decode(value).ok()?;
            json!({
                "resource_type": info.resource_type,
                "resource_name": info.resource_name,
                "owner": info.owner,
                "description": info.description,
            })
        }
        _ => return None,
    };
    match fields {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}
