//! Commands in containers: `/containers/{id}/exec` and `/exec/{id}`.

use std::time::Duration;

use hyper::{Method, StatusCode};
use lapstrake_engine::containers::{Attach, Error, ExecSettings};
use lapstrake_engine::settings::Streams;
use lapstrake_engine::streams::{Stream, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::body::{self, given};
use super::detach::DetachKeys;
use super::pump::{Terms, pump};
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::stream::{Duplex, hijack, stream_type};

/// How long the end of a command's output waits for the command's.
const CODE_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    user: String,
    privileged: bool,
    tty: bool,
    console_size: Vec<u16>,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    /// Go takes it in any case, and docker-py writes it so.
    #[serde(alias = "detachKeys")]
    detach_keys: String,
    env: Vec<String>,
    working_dir: String,
    cmd: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Start {
    detach: bool,
    /// Whether the client takes what comes as a terminal's, whatever the command has.
    tty: bool,
    console_size: Vec<u16>,
}

/// Makes a command ready.
pub(super) async fn create(mut call: Call, name: &str) -> Answered {
    let body: Body = body::read(call.needed_json::<Value>().await?)?;
    let settings = ExecSettings {
        arguments: body.cmd,
        env: body.env,
        user: given(&body.user),
        working_dir: given(&body.working_dir),
        tty: body.tty,
        attach: Streams {
            stdin: body.attach_stdin,
            stdout: body.attach_stdout,
            stderr: body.attach_stderr,
        },
        privileged: body.privileged,
        detach_keys: body.detach_keys,
        console_size: size(&body.console_size),
    };
    let id = call.daemon.containers.exec_create(name, settings).await?;
    answer::json(StatusCode::CREATED, &json!({ "Id": id }))
}

/// Answers what begins with `/exec`.
pub(super) async fn answer(call: Call) -> Answered {
    let (method, path) = call.line();
    match (&method, &path[1..]) {
        (&Method::GET, [id, what]) if what == "json" => inspect(&call, id),
        (&Method::POST, [id, what]) if what == "start" => start(call, id).await,
        (&Method::POST, [id, what]) if what == "resize" => {
            let (height, width) = super::life::size(&call)?;
            call.daemon
                .containers
                .exec_resize(id, height, width)
                .await?;
            Ok(answer::empty(StatusCode::OK))
        }
        _ => Err(Failure::no_page()),
    }
}

async fn start(mut call: Call, id: &str) -> Answered {
    let body = call.json::<Value>().await?.unwrap_or_else(|| json!({}));
    let body: Start = body::read(body)?;
    let containers = call.daemon.containers.clone();
    let state = containers.exec_state(id)?;
    if body.detach {
        containers
            .exec_start(id, None, size(&body.console_size))
            .await?;
        return Ok(answer::empty(StatusCode::OK));
    }
    let Streams {
        stdin,
        stdout,
        stderr,
    } = state.settings.attach;
    let streams = Attach {
        stdin,
        stdout,
        stderr,
    };
    let keys = DetachKeys::parse(given(&state.settings.detach_keys).as_deref())?;
    let started = containers.exec_start(id, Some(streams), size(&body.console_size));
    let started = match started.await {
        // It is told to those who wait for its output: that is where clients look for it.
        Err(why @ (Error::Start(_) | Error::Spec(_))) => Err(why),
        Err(error) => return Err(error.into()),
        Ok(stream) => Ok(stream),
    };
    let terms = Terms {
        tty: body.tty,
        stdin,
        keys,
    };
    let content_type = stream_type(call.version, !terms.tty);
    // Clients look how it ended as soon as its output did.
    let id = id.to_owned();
    let ended = async move {
        let code = containers.exec_code(&id);
        drop(tokio::time::timeout(CODE_WAIT, code).await);
    };
    Ok(hijack(&mut call, content_type, move |client| async move {
        match started {
            Ok(Some(stream)) => pump(client, stream, terms, ended).await,
            Ok(None) => {}
            Err(why) => tell(client, &why, terms.tty).await,
        }
    }))
}

/// Tells a client that took the connection over that its command was not started, where its output would be.
async fn tell(client: Duplex, why: &Error, tty: bool) {
    let words = format!("{why}\r\n");
    let length = u32::try_from(words.len()).unwrap_or(u32::MAX);
    let mut output = client.output;
    let told = async {
        if !tty {
            output.write_all(&header(Stream::Stdout, length)).await?;
        }
        output.write_all(words.as_bytes()).await?;
        output.shutdown().await
    };
    // A client that went hears nothing.
    drop(told.await);
}

fn inspect(call: &Call, id: &str) -> Answered {
    let state = call.daemon.containers.exec_state(id)?;
    let settings = &state.settings;
    let (entrypoint, arguments) = match settings.arguments.split_first() {
        Some((entrypoint, arguments)) => (entrypoint.as_str(), arguments),
        None => ("", &[][..]),
    };
    let mut process = json!({
        "tty": settings.tty,
        "entrypoint": entrypoint,
        "arguments": arguments,
        "privileged": settings.privileged,
    });
    if let Some(user) = &settings.user {
        process["user"] = json!(user);
    }
    answer::ok(&json!({
        "ID": state.id,
        "Running": state.running,
        "ExitCode": state.code,
        "ProcessConfig": process,
        "OpenStdin": settings.attach.stdin,
        "OpenStderr": settings.attach.stderr,
        "OpenStdout": settings.attach.stdout,
        "CanRemove": state.code.is_some(),
        "ContainerID": state.container,
        "DetachKeys": settings.detach_keys,
        "Pid": state.pid.unwrap_or(0),
    }))
}

fn size(size: &[u16]) -> Option<(u16, u16)> {
    match *size {
        [height, width] if (height, width) != (0, 0) => Some((height, width)),
        _ => None,
    }
}
