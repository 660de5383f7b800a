//! Whether anybody is there.

use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, PRAGMA};
use hyper::{Method, StatusCode};

use crate::answer::{self, Response};
use crate::call::Call;

/// `GET` and `HEAD /_ping`.
pub(super) fn ping(call: &Call) -> Response {
    let words = if call.method == Method::HEAD {
        ""
    } else {
        "OK"
    };
    let mut response = answer::text(StatusCode::OK, words);
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    // The classic builder: there is no BuildKit here.
    put(HeaderName::from_static("builder-version"), "1");
    put(HeaderName::from_static("swarm"), "inactive");
    put(CACHE_CONTROL, "no-cache, no-store, must-revalidate");
    put(PRAGMA, "no-cache");
    response
}
