//! `POST /containers/create`.

use hyper::StatusCode;
use lapstrake_bridge::blocking;
use lapstrake_engine::containers::NewContainer;
use lapstrake_engine::settings::{CgroupVersion, Settings, Streams};
use serde::Serialize;
use serde_json::Value;

use super::body::{self, Body};
use super::document;
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::images::{find, platform_of};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    warnings: Vec<String>,
}

/// Makes a container.
pub(super) async fn create(mut call: Call) -> Answered {
    let raw: Value = call.needed_json().await?;
    let host_config = raw.get("HostConfig").cloned().unwrap_or(Value::Null);
    let body: Body = body::read(raw)?;
    if body.image.is_empty() {
        return Err(Failure::invalid("no image specified"));
    }
    has_platform(&call, &body.image).await?;
    let name = call.query.get("name").filter(|name| !name.is_empty());
    let mounts = body.host_config.mounts()?;
    let settings = Settings {
        image: body.image.clone(),
        execution: body.execution,
        attach: Streams {
            stdin: body.attach_stdin,
            stdout: body.attach_stdout,
            stderr: body.attach_stderr,
        },
        tty: body.tty,
        open_stdin: body.open_stdin,
        stdin_once: body.stdin_once,
        network_disabled: body.network_disabled,
        host: body.host_config.settings(CgroupVersion::of_host())?,
    };
    let new = NewContainer {
        name: name.map(str::to_owned),
        settings,
        mounts,
        document: document::of(&host_config),
    };
    let created = call.daemon.containers.create(new).await;
    let created = created.map_err(|error| missing_image(error.into(), &body.image))?;
    let created = Created {
        id: created.id,
        warnings: created.warnings,
    };
    answer::json(StatusCode::CREATED, &created)
}

/// Refuses an image that is for another platform than the one that was asked for: the docker CLI pulls then.
async fn has_platform(call: &Call, image: &str) -> Result<(), Failure> {
    let Some(wanted) = platform_of(call)? else {
        return Ok(());
    };
    let (engine, name) = (call.daemon.engine.clone(), image.to_owned());
    let actual = blocking(move || find(&engine, &name)).await??;
    let actual = actual.config.platform;
    if wanted.suits(&actual).is_some() {
        return Ok(());
    }
    Err(Failure::not_found(format!(
        "image with reference {image} was found but does not match the specified platform: wanted {wanted}, actual: {actual}"
    )))
}

/// The words by which the docker CLI knows that it has to pull.
fn missing_image(failure: Failure, image: &str) -> Failure {
    if failure.status == StatusCode::NOT_FOUND && failure.message.starts_with("no image ") {
        let named = match image.rsplit_once('/').map_or(image, |(_, name)| name) {
            name if name.contains([':', '@']) => image.to_owned(),
            _ => format!("{image}:latest"),
        };
        return Failure::not_found(format!("No such image: {named}"));
    }
    failure
}
