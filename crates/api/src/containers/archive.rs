//! Files in and out of containers.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use lapstrake_engine::containers::{Error, PathStat, PutFiles};
use lapstrake_engine::rfc3339;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::answer::{self, Answered, Response};
use crate::call::Call;
use crate::error::Failure;
use crate::stream::{file, reader};

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

/// As Docker writes it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    name: &'a str,
    size: i64,
    mode: u32,
    mtime: String,
    link_target: &'a str,
}

fn path_of(call: &Call) -> Result<String, Failure> {
    let path = call.query.get("path").map(str::to_owned);
    path.ok_or_else(|| Failure::invalid("bad parameter: path is required"))
}

/// What is not there is told with the container in which it is not.
fn told(error: Error, name: &str) -> Failure {
    let mut failure = Failure::from(error);
    if let Some(words) = failure.message.strip_suffix(" in the container") {
        failure.message = format!("{words} in container {name}");
    }
    failure
}

/// `HEAD /containers/NAME/archive`.
pub(super) async fn stat(call: Call, name: String) -> Answered {
    let path = path_of(&call)?;
    let stat = call.daemon.containers.stat_file(&name, &path).await;
    let stat = stat.map_err(|error| told(error, &name))?;
    let mut response = answer::empty(StatusCode::OK);
    put_stat(&mut response, &stat)?;
    Ok(response)
}

/// `GET /containers/NAME/archive`.
pub(super) async fn get(call: Call, name: String) -> Answered {
    let path = path_of(&call)?;
    let containers = call.daemon.containers.clone();
    let (tell, stat) = oneshot::channel();
    let tell = move |found| {
        // Nobody may wait for it any more.
        drop(tell.send(found));
    };
    let answered = file(TAR, move |out| async move {
        let copied = containers.copy_out(&name, &path, tell, out).await;
        copied.map_err(|error| told(error, &name))
    });
    let mut response = answered.await?;
    // It was told before the first byte was written.
    if let Ok(stat) = stat.await {
        put_stat(&mut response, &stat)?;
    }
    Ok(response)
}

fn put_stat(response: &mut Response, stat: &PathStat) -> Result<(), Failure> {
    let (seconds, nanoseconds) = stat.modified;
    let since = Duration::new(u64::try_from(seconds).unwrap_or_default(), nanoseconds);
    let written = Written {
        name: &stat.name,
        size: stat.size,
        mode: stat.mode,
        mtime: rfc3339(UNIX_EPOCH + since),
        link_target: &stat.link_target,
    };
    let json = serde_json::to_vec(&written).unwrap_or_default();
    let value = base64::engine::general_purpose::STANDARD.encode(json);
    let value = HeaderValue::from_str(&value)
        .map_err(|error| Failure::internal(format!("cannot write a header: {error}")))?;
    response.headers_mut().insert(STAT, value);
    Ok(())
}

/// `PUT /containers/NAME/archive`.
pub(super) async fn put(mut call: Call, name: String) -> Answered {
    let path = path_of(&call)?;
    let how = PutFiles {
        replace_across_kinds: !call.query.flag("noOverwriteDirNonDir"),
        own: call.query.flag("copyUIDGID"),
    };
    let tar = reader(call.take_body());
    let containers = call.daemon.containers.clone();
    let copied = containers.copy_in(&name, &path, tar, how).await;
    copied.map_err(|error| told(error, &name))?;
    Ok(answer::empty(StatusCode::OK))
}
