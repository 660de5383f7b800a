//! Starting, stopping, removing and the like.

use hyper::StatusCode;
use lapstrake_engine::Doing;
use lapstrake_engine::containers::{HowToRemove, PruneContainers, Stop, Update};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::{self, ResourcesBody, RestartPolicyBody};
use super::document;
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::filters::{self, Filters};

fn done() -> Answered {
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn start(call: &Call, name: &str) -> Answered {
    call.daemon.containers.start(name).await?;
    done()
}

pub(super) async fn stop(call: &Call, name: &str) -> Answered {
    call.daemon.containers.stop(name, &how(call)?).await?;
    done()
}

pub(super) async fn restart(call: &Call, name: &str) -> Answered {
    call.daemon.containers.restart(name, &how(call)?).await?;
    done()
}

fn how(call: &Call) -> Result<Stop, Failure> {
    let signal = call
        .query
        .get("signal")
        .filter(|_| call.version.from(1, 42));
    Ok(Stop {
        signal: signal.map(str::to_owned),
        timeout: call.query.number("t")?,
    })
}

pub(super) async fn kill(call: &Call, name: &str) -> Answered {
    call.daemon
        .containers
        .kill(name, call.query.get("signal"))
        .await?;
    done()
}

pub(super) async fn pause(call: &Call, name: &str) -> Answered {
    call.daemon.containers.pause(name).await?;
    done()
}

pub(super) async fn unpause(call: &Call, name: &str) -> Answered {
    call.daemon.containers.unpause(name).await?;
    done()
}

pub(super) async fn rename(call: &Call, name: &str) -> Answered {
    let new = call.query.get("name").unwrap_or_default();
    call.daemon.containers.rename(name, new).await?;
    done()
}

pub(super) async fn remove(call: &Call, name: &str) -> Answered {
    if call.query.flag("link") {
        return Err(Failure::invalid("links are not supported"));
    }
    let how = HowToRemove {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
    };
    call.daemon.containers.remove(name, how).await?;
    done()
}

pub(super) async fn resize(call: &Call, name: &str) -> Answered {
    let (height, width) = size(call)?;
    call.daemon.containers.resize(name, height, width).await?;
    Ok(answer::empty(StatusCode::OK))
}

/// Rows and columns of a terminal.
pub(super) fn size(call: &Call) -> Result<(u16, u16), Failure> {
    let side = |name: &str| {
        let text = call.query.get(name).unwrap_or_default();
        text.parse::<u16>().map_err(|_| {
            Failure::invalid(format!(
                "strconv.ParseUint: parsing \"{text}\": invalid syntax"
            ))
        })
    };
    Ok((side("h")?, side("w")?))
}

/// Removes all that don't run.
pub(super) async fn prune(call: &Call) -> Answered {
    let filters = Filters::of(&call.query, &["label", "label!", "until"])?;
    let which = PruneContainers {
        labels: filters.labels("label"),
        not_labels: filters.labels("label!"),
        until: filters::until(&filters)?,
    };
    let pruned = call.daemon.containers.prune(&which, Doing::It).await?;
    let ids = (!pruned.ids.is_empty()).then_some(pruned.ids);
    answer::ok(&json!({ "ContainersDeleted": ids, "SpaceReclaimed": pruned.bytes }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateBody {
    #[serde(flatten)]
    resources: ResourcesBody,
    restart_policy: RestartPolicyBody,
}

/// Changes limits and the restart policy.
pub(super) async fn update(mut call: Call, name: &str) -> Answered {
    let raw: Map<String, Value> = call.needed_json().await?;
    let body: UpdateBody = body::read(Value::Object(raw.clone()))?;
    let restart = match body.restart_policy.is_empty() {
        true => None,
        false => Some(body.restart_policy.policy()?),
    };
    let update = Update {
        resources: body.resources.settings()?,
        restart,
    };
    let containers = &call.daemon.containers;
    let document = move |record: &_| document::updated(record, &raw);
    let warnings = containers.update(name, update, document).await?;
    let warnings = (!warnings.is_empty()).then_some(warnings);
    answer::ok(&json!({ "Warnings": warnings }))
}
