//! What is asked of Docker and not of us: answered at once, with words.

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;

/// What Docker says where there is no swarm.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// Answers for whatever no other group knows.
pub(crate) fn route(call: &Call) -> Answered {
    let path: Vec<_> = call.path.iter().map(String::as_str).collect();
    match (&call.method, &path[..]) {
        // Suites of clients begin by asking what there is to take away.
        (&Method::GET, ["plugins"]) => answer::ok(&json!([])),
        (&Method::GET, ["plugins", name @ .., "json"]) if !name.is_empty() => Err(
            Failure::not_found(format!("plugin {:?} not found", name.join("/"))),
        ),
        (_, ["plugins", ..]) => Err(no("plugins")),
        (&Method::POST, ["swarm", "init" | "join" | "unlock"]) => Err(no("swarm")),
        (
            _,
            [
                "swarm" | "services" | "nodes" | "tasks" | "secrets" | "configs",
                ..,
            ],
        ) => Err(Failure::unavailable(NO_SWARM)),
        (_, ["containers", _, "checkpoints", ..]) => Err(no("checkpoints")),
        (&Method::POST, ["build", "prune"]) => {
            answer::ok(&json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }))
        }
        (&Method::POST, ["build", "cancel"]) => Ok(answer::empty(StatusCode::OK)),
        (&Method::POST, ["build"]) => Err(no("build")),
        (_, ["session" | "grpc"]) => Err(no("BuildKit")),
        _ => Err(Failure::no_page()),
    }
}

fn no(what: &str) -> Failure {
    Failure::not_implemented(format!("Lapstrake has no {what}: see docs/docker.md"))
}
