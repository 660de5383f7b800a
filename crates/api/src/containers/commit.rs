//! What containers changed, and images of them.

use hyper::StatusCode;
use lapstrake_engine::containers::CommitContainer;
use lapstrake_engine::settings::Execution;
use lapstrake_engine::{ChangeKind, Reference};
use serde_json::{Value, json};

use super::body;
use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;

/// `GET /containers/{id}/changes`.
pub(super) async fn changes(call: &Call, name: &str) -> Answered {
    let changes = call.daemon.containers.changes(name).await?;
    let listed = changes.list.iter().map(|change| {
        let kind = match change.kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        };
        json!({ "Path": format!("/{}", String::from_utf8_lossy(&change.path)), "Kind": kind })
    });
    let listed: Vec<_> = listed.collect();
    // Go's empty list is none.
    answer::ok(&(!listed.is_empty()).then_some(listed))
}

/// `POST /commit`.
pub(super) async fn commit(mut call: Call) -> Answered {
    let raw: Option<Value> = call.json().await?;
    let execution = raw.map(body::read::<Execution>).transpose()?;
    let query = &call.query;
    let name = query.get("container").unwrap_or_default().to_owned();
    let reference = match query.get("repo") {
        None => None,
        Some(repo) => Some(reference(repo, query.get("tag"))?),
    };
    let how = CommitContainer {
        reference,
        pause: query.flag_or("pause", true),
        changes: query.all("changes").map(str::to_owned).collect(),
        execution,
        author: query.get("author").map(str::to_owned),
        message: query.get("comment").map(str::to_owned),
    };
    let id = call.daemon.containers.commit(&name, how).await?;
    answer::json(StatusCode::CREATED, &json!({ "Id": id }))
}

fn reference(repo: &str, tag: Option<&str>) -> Result<Reference, Failure> {
    let text = match tag {
        None => repo.to_owned(),
        Some(tag) => format!("{repo}:{tag}"),
    };
    text.parse()
        .map_err(|error| Failure::invalid(format!("invalid reference format: {error}")))
}
