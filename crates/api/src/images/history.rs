//! How an image was built.

use std::time::UNIX_EPOCH;

use lapstrake_bridge::blocking;
use lapstrake_engine::{Step, parse_rfc3339};
use serde_json::{Value, json};

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::images::inspect;
use crate::images::name;

/// `GET /images/NAME/history`.
pub(super) async fn history(call: Call, wanted: String) -> Answered {
    let engine = call.daemon.engine.clone();
    let found = move || {
        let details = inspect::find(&engine, &wanted)?;
        let name = name::here(&details.id.to_string())?;
        Ok::<_, Failure>((engine.history(name)?, details.tags))
    };
    let (history, tags) = blocking(found).await??;
    let id = history.id.to_string();
    let steps = history.steps.iter().enumerate().map(|(number, step)| {
        let (id, tags) = match number {
            0 => (id.as_str(), Some(&tags)),
            // Images below it have no ids of their own.
            _ => ("<missing>", None),
        };
        document(step, id, tags)
    });
    answer::ok(&steps.collect::<Vec<_>>())
}

fn document(step: &Step, id: &str, tags: Option<&Vec<String>>) -> Value {
    let created = step.created.as_deref().and_then(parse_rfc3339);
    let created = created.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    json!({
        "Comment": step.comment,
        "Created": created.unwrap_or_default().as_secs(),
        "CreatedBy": step.created_by,
        "Id": id,
        "Size": step.bytes,
        "Tags": tags.filter(|tags| !tags.is_empty()),
    })
}
