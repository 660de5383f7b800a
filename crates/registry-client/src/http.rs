//! Answers: their status made an error, their body read within a bound.

use std::error::Error as _;
use std::time::Duration;

use lapstrake_distribution::errors;
use lapstrake_oci::Repo;
use reqwest::{Response, StatusCode, Url};

use crate::error::Error;

/// How long a body may pause. A registry that fetches from elsewhere needs some time to begin.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// What is read of an error's body.
const MAX_ERROR_BYTES: u64 = 64 * 1024;

/// Lets a success pass and turns everything else into an error with the registry's own words.
pub(crate) async fn checked(answer: Response, repo: &Repo, what: &str) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = body(answer, repo, what, MAX_ERROR_BYTES)
        .await
        .unwrap_or_default();
    let (registry, what) = (repo.registry().to_owned(), what.to_owned());
    let message = errors::describe(&body);
    Err(match status {
        StatusCode::NOT_FOUND => Error::NotFound {
            registry,
            what,
            message,
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
            registry,
            what,
            message,
        },
        _ => Error::Status {
            registry,
            what,
            status: status.as_u16(),
            message,
        },
    })
}

/// Reads a whole body of at most `max` bytes.
pub(crate) async fn body(
    mut answer: Response,
    repo: &Repo,
    what: &str,
    max: u64,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = chunk(&mut answer, repo, what).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > max {
            return Err(Error::Length {
                registry: repo.registry().to_owned(),
                what: what.to_owned(),
                want: max,
                got: bytes.len() as u64,
            });
        }
    }
    Ok(bytes)
}

/// The next piece of a body, or an error if it doesn't come.
pub(crate) async fn chunk(
    answer: &mut Response,
    repo: &Repo,
    what: &str,
) -> Result<Option<bytes::Bytes>, Error> {
    match tokio::time::timeout(STALL, answer.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(transport(&error, repo, what)),
        Err(_elapsed) => Err(Error::Stalled {
            registry: repo.registry().to_owned(),
            what: what.to_owned(),
            waited: STALL,
        }),
    }
}

pub(crate) fn transport(error: &reqwest::Error, repo: &Repo, what: &str) -> Error {
    Error::Transport {
        registry: repo.registry().to_owned(),
        what: what.to_owned(),
        reason: reason(error),
    }
}

/// The innermost cause: what the network says, without the URL (whose query may hold secrets).
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = None;
    while let Some(error) = cause {
        text = Some(error.to_string());
        cause = error.source();
    }
    match text {
        Some(text) => text,
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => "the request failed".to_owned(),
    }
}

/// Host and port of a URL, as they stand in a reference.
pub(crate) fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(
        url.port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    )
}
