//! `POST /containers/{id}/wait`.

use hyper::StatusCode;
use lapstrake_engine::containers::Until;
use serde_json::json;

use crate::answer::{self, Answered, JSON};
use crate::call::Call;
use crate::error::Failure;
use crate::stream::channel;

/// Answers at once, and says how the container ended when it did.
pub(super) fn wait(call: &Call, name: &str) -> Answered {
    let until = match call.query.get("condition") {
        None | Some("not-running") => Until::NotRunning,
        Some("next-exit") => Until::NextExit,
        Some("removed") => Until::Removed,
        Some(other) => {
            return Err(Failure::invalid(format!("invalid condition: \"{other}\"")));
        }
    };
    let wait = call.daemon.containers.wait(name, until)?;
    let (sink, body) = channel(1);
    let stopping = call.daemon.stopping();
    tokio::spawn(async move {
        let told = tokio::select! {
            ended = wait.ended() => match ended {
                Ok(seen) => json!({ "StatusCode": seen.code }),
                Err(error) => json!({ "StatusCode": -1, "Error": { "Message": error.to_string() } }),
            },
            () = sink.gone() => return,
            () = stopping => json!({ "StatusCode": -1, "Error": { "Message": "the daemon stops" } }),
        };
        // The client may have gone.
        let _gone = sink.send(format!("{told}\n")).await;
    });
    Ok(answer::with_body(StatusCode::OK, JSON, body))
}
