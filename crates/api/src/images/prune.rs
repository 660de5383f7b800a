//! Removing what nobody needs.

use std::time::SystemTime;

use lapstrake_bridge::blocking;
use lapstrake_engine::{Doing, Prune, Which};
use serde_json::json;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;
use crate::filters::Filters;
use crate::images::delete;

/// `POST /images/prune`.
pub(super) async fn prune(call: Call) -> Answered {
    let filters = Filters::of(&call.query, &["dangling", "label", "label!", "until"])?;
    let now = SystemTime::now();
    let until = match filters.single("until")? {
        None => None,
        Some(text) => {
            let until = lapstrake_engine::until(text, now);
            Some(until.ok_or_else(|| filters.wrong("until"))?)
        }
    };
    let prune = Prune {
        which: match filters.flag("dangling")? {
            Some(false) => Which::Unused,
            Some(true) | None => Which::Dangling,
        },
        labels: filters.labels("label"),
        not_labels: filters.labels("label!"),
        until,
    };
    let Ok(_alone) = call.daemon.pruning_images.try_lock() else {
        return Err(Failure::conflict("a prune operation is already running"));
    };
    let engine = call.daemon.engine.clone();
    let pruning = move || {
        let removed = engine.prune(&prune, Doing::It, now)?;
        // What is said to be free is.
        engine.empty_trash()?;
        Ok::<_, Failure>(removed)
    };
    let removed = blocking(pruning).await??;
    let told = delete::told(&removed);
    answer::ok(&json!({
        "ImagesDeleted": Some(told).filter(|told| !told.is_empty()),
        "SpaceReclaimed": removed.bytes,
    }))
}
