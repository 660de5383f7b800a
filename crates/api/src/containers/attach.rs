//! `POST /containers/{id}/attach`.

use lapstrake_engine::containers::Attach;

use super::detach::DetachKeys;
use super::pump::{Terms, pump};
use crate::answer::Answered;
use crate::call::Call;
use crate::stream::{hijack, stream_type};

/// Connects a client to a container's streams, now or when it is started.
pub(super) async fn attach(mut call: Call, name: &str) -> Answered {
    let containers = call.daemon.containers.clone();
    let record = containers.record(name)?;
    let keys = DetachKeys::parse(call.query.get("detachKeys"))?;
    let stream = call.query.flag("stream");
    let streams = Attach {
        stdin: stream && call.query.flag("stdin"),
        stdout: stream && call.query.flag("stdout"),
        stderr: stream && call.query.flag("stderr"),
    };
    let before = call
        .query
        .flag("logs")
        .then(|| super::logs::all_of(&call))
        .transpose()?;
    let attachment = match stream {
        true => Some(containers.attach(&record.id, streams).await?),
        false => None,
    };
    let terms = Terms {
        tty: record.settings.tty,
        stdin: streams.stdin,
        keys,
    };
    let content_type = stream_type(call.version, !terms.tty);
    let answer = hijack(&mut call, content_type, move |mut client| async move {
        if let Some(query) = before {
            super::logs::replay(&containers, &record.id, query, &mut client.output).await;
        }
        let Some(attachment) = attachment else { return };
        let monitor = tokio::select! {
            monitor = attachment.stream() => monitor,
            // Who waits for a start that may never come is let go when it goes.
            () = &mut client.gone => return,
        };
        // One that could not be started says so to whoever started it.
        if let Ok(Some(monitor)) = monitor {
            pump(client, monitor, terms, std::future::ready(())).await;
        }
    });
    Ok(answer)
}
