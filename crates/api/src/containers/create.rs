//! `POST /containers/create`.

use hyper::StatusCode;
use lapstrake_engine::containers::NewContainer;
use lapstrake_engine::settings::{Settings, Streams};
use serde::Serialize;
use serde_json::Value;

use super::body::{self, Body};
use super::document;
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;

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
        host: body.host_config.settings()?,
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
