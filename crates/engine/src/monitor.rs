//! Being a container's monitor: what this crate adds to [`lapstrake_monitor`] is the guard of limited layers.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use lapstrake_monitor::process::{Guard, run};

use crate::writable::guard_rooms;

/// What the orders of a container's monitor say of its guard.
#[derive(Debug, Deserialize)]
struct Words {
    root: PathBuf,
    run: PathBuf,
}

/// Is the monitor whose orders are in `dir`. Must be called before the process has threads, and returns in two
/// processes, which both have nothing left to do: see [`run`].
///
/// # Errors
/// What keeps the monitor from listening.
pub fn monitor(dir: &Path) -> Result<(), lapstrake_monitor::Error> {
    run(dir, guard)
}

/// Shares out anew, while the container lives, what is free for layers with a limit.
fn guard(words: &serde_json::Value) -> Guard {
    let words = Words::deserialize(words);
    Box::new(move || {
        let words = words.as_ref().map_err(ToString::to_string)?;
        guard_rooms(&words.root, &words.run).map_err(|error| error.to_string())
    })
}
