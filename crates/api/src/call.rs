//! A request, after its version was taken off.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Body as _;
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::answer::Said;
use crate::daemon::Daemon;
use crate::error::Failure;
use crate::query::Query;
use crate::version::{self, NEWEST, Named, Refused, Version};

/// No document that a client sends is longer.
const MAX_JSON_BYTES: usize = 8 << 20;

/// A request.
pub(crate) struct Call {
    /// Who answers.
    pub(crate) daemon: Arc<Daemon>,
    /// In which version of the API.
    pub(crate) version: Version,
    /// What is to be done.
    pub(crate) method: Method,
    /// To what: the parts of the path, decoded.
    pub(crate) path: Vec<String>,
    /// How.
    pub(crate) query: Query,
    /// Headers.
    pub(crate) head: HeaderMap,
    /// What came with it.
    pub(crate) body: Said,
    /// The connection, once it was switched.
    pub(crate) upgrade: Option<OnUpgrade>,
}

impl Call {
    /// Reads a request's line.
    pub(crate) fn of(daemon: &Arc<Daemon>, mut request: Request<Said>) -> Result<Self, Refused> {
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let (head, body) = request.into_parts();
        let (version, path) = match version::split(head.uri.path()) {
            Named::None(path) => (NEWEST, path),
            Named::Some(version, path) => (version::check(version)?, path),
        };
        // As Docker does, the whole path is decoded and then taken apart.
        let path = percent_decode_str(path).decode_utf8_lossy();
        Ok(Self {
            daemon: Arc::clone(daemon),
            version,
            path: path.split('/').skip(1).map(str::to_owned).collect(),
            query: Query::parse(head.uri.query().unwrap_or_default()),
            method: head.method,
            head: head.headers,
            body,
            upgrade,
        })
    }

    /// What is to be done to what: the method and the parts of the path.
    pub(crate) fn line(&self) -> (Method, Vec<String>) {
        (self.method.clone(), self.path.clone())
    }

    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)?.to_str().ok()
    }

    /// What came with it, once.
    pub(crate) fn take_body(&mut self) -> Said {
        let nothing = Empty::new().map_err(|never| match never {});
        std::mem::replace(&mut self.body, nothing.boxed())
    }

    /// The document that came with the request; nothing if none did.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        if !self.says_something()? {
            return Ok(None);
        }
        let bytes = self.whole_body().await?;
        parse(&bytes).map(Some)
    }

    /// Whether a document came with the request, or at least something that is called one.
    fn says_something(&self) -> Result<bool, Failure> {
        let has_none = self.body.size_hint().exact() == Some(0);
        let content_type = self.header("content-type").unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is_json = essence.eq_ignore_ascii_case("application/json");
        let says_nothing = has_none && content_type.is_empty();
        if !is_json && !says_nothing {
            return Err(Failure::invalid(format!(
                "unsupported Content-Type header ({content_type}): must be 'application/json'"
            )));
        }
        Ok(!has_none)
    }

    /// As [`Self::json`], where there must be one, and it is an object: a list's members have no names.
    pub(crate) async fn needed_json<T: DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let object: Option<Map<String, Value>> = self.json().await?;
        let object = Value::Object(object.ok_or_else(no_json)?);
        serde_json::from_value(object).map_err(|error| no_sense(&error))
    }

    async fn whole_body(&mut self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|why| Failure::invalid(format!("invalid JSON: {why}")))?;
            // What comes after a body is of no use here.
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            if whole.len() + bytes.len() > MAX_JSON_BYTES {
                return Err(Failure::invalid("invalid JSON: it is longer than 8 MiB"));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

fn no_json() -> Failure {
    Failure::invalid("invalid JSON: got EOF while reading request body")
}

fn no_sense(error: &serde_json::Error) -> Failure {
    Failure::invalid(format!("invalid JSON: {error}"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    if bytes.trim_ascii().is_empty() {
        return Err(no_json());
    }
    let mut documents = serde_json::Deserializer::from_slice(bytes);
    let document = T::deserialize(&mut documents);
    let document = document.map_err(|error| no_sense(&error))?;
    documents
        .end()
        .map_err(|_more| Failure::invalid("unexpected content after JSON"))?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_one_whole_document() {
        let parsed = |text: &str| parse::<Vec<u8>>(text.as_bytes()).map_err(|why| why.message);
        assert_eq!(parsed("[1]\n"), Ok(vec![1]));
        for (text, want) in [
            ("", "invalid JSON: got EOF while reading request body"),
            ("  ", "invalid JSON: got EOF while reading request body"),
            ("[1] [2]", "unexpected content after JSON"),
            ("[1", "invalid JSON: "),
            ("{}", "invalid JSON: "),
        ] {
            let error = parsed(text).expect_err(text);
            assert!(error.starts_with(want), "{text}: {error}");
        }
    }
}
