//! Answers: their bodies and what every one has.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::StatusCode;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;

use crate::daemon::SERVER;
use crate::error::Failure;
use crate::version::NEWEST;

/// What a body may fail with while it comes or goes.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a request.
pub(crate) type Said = BoxBody<Bytes, BodyError>;
/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;
/// An answer.
pub(crate) type Response = hyper::Response<Body>;
/// What a route gives.
pub(crate) type Answered = Result<Response, Failure>;

/// Compared by the docker CLI letter by letter: nothing may follow it.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// For words.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A body of these bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> BodyError {
    match never {}
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = hyper::Response::new(Empty::new().map_err(never).boxed_unsync());
    *response.status_mut() = status;
    response
}

/// An answer with this body.
pub(crate) fn with_body(status: StatusCode, content_type: HeaderValue, body: Body) -> Response {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer in JSON, which ends with a line's end, as Docker's do.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Answered {
    let mut bytes = serde_json::to_vec(value)
        .map_err(|error| Failure::internal(format!("cannot write the answer: {error}")))?;
    bytes.push(b'\n');
    Ok(with_body(status, JSON, full(bytes)))
}

/// As [`json`], with status 200.
pub(crate) fn ok(value: &impl Serialize) -> Answered {
    json(StatusCode::OK, value)
}

/// An answer in words.
pub(crate) fn text(status: StatusCode, words: impl Into<Bytes>) -> Response {
    with_body(status, TEXT, full(words))
}

/// What a client is told of a failure.
pub(crate) fn failure(failure: &Failure) -> Response {
    #[derive(Serialize)]
    struct Told<'a> {
        message: &'a str,
    }
    let message = &failure.message;
    json(failure.status, &Told { message }).unwrap_or_else(|_| empty(failure.status))
}

/// Puts on every answer what every answer has.
pub(crate) fn stamp(response: &mut Response) {
    const API_VERSION: HeaderName = HeaderName::from_static("api-version");
    const EXPERIMENTAL: HeaderName = HeaderName::from_static("docker-experimental");
    const OS_TYPE: HeaderName = HeaderName::from_static("ostype");
    let headers = response.headers_mut();
    let version = HeaderValue::from_str(&NEWEST.to_string());
    headers.insert(API_VERSION, version.expect("digits and a point"));
    headers.insert(EXPERIMENTAL, HeaderValue::from_static("false"));
    headers.insert(OS_TYPE, HeaderValue::from_static("linux"));
    headers.insert(hyper::header::SERVER, HeaderValue::from_static(SERVER));
    let is_empty = hyper::body::Body::size_hint(response.body()).exact() == Some(0);
    // A switched connection and "no content" have no length at all.
    let may_have = response.status() != StatusCode::NO_CONTENT
        && response.status() != StatusCode::NOT_MODIFIED
        && !response.status().is_informational();
    if is_empty && may_have {
        let headers = response.headers_mut();
        headers
            .entry(CONTENT_LENGTH)
            .or_insert(HeaderValue::from_static("0"));
    }
}
