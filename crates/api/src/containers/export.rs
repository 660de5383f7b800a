//! `GET /containers/{id}/export`.

use std::fs::File;
use std::io::Read as _;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::stream::channel;

const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");
const PIECE: usize = 256 << 10;

/// Sends a container's root as a tar while it is read.
pub(super) async fn export(call: &Call, name: &str) -> Answered {
    let containers = call.daemon.containers.clone();
    let id = containers.record(name)?.id;
    let (from, to) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| Failure::internal(format!("cannot make a pipe: {error}")))?;
    let (sink, body) = channel(4);
    let pieces = sink.clone();
    let reader = lapstrake_bridge::worker("export", move || {
        let mut from = File::from(from);
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if pieces.blocking_send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    reader.map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
    tokio::spawn(async move {
        if let Err(error) = containers.export(&id, File::from(to)).await {
            sink.fail(error).await;
        }
    });
    Ok(answer::with_body(StatusCode::OK, TAR, body))
}
