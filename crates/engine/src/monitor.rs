//! Being a container's monitor: what this crate adds to [`lapstrake_monitor`] is the guard of limited layers.
//!
//! One of all monitors is on guard, the one that has the lock; a pass looks at all layers. When it ends,
//! another takes over.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Deserialize;

use lapstrake_monitor::process::{Guard, run};

use crate::writable::guard_rooms;

/// Who has it locked is on guard.
const LOCK: &str = "guard";

/// Between two passes.
const PASS: Duration = Duration::from_millis(500);

/// Between two looks whether nobody is on guard. There may be a thousand who look.
const LOOK: Duration = Duration::from_secs(2);

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
    let mut lock = None;
    Box::new(move || {
        let words = words.as_ref().map_err(ToString::to_string)?;
        if lock.is_none() {
            lock = try_lock(&words.run)?;
        }
        if lock.is_none() {
            return Ok(LOOK);
        }
        guard_rooms(&words.root, &words.run).map_err(|error| error.to_string())?;
        Ok(PASS)
    })
}

/// The lock, for as long as it is kept; `None` if somebody else has it.
fn try_lock(run: &Path) -> Result<Option<File>, String> {
    let path = run.join(LOCK);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(format!("cannot lock {}: {errno}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_on_guard_until_it_ends() {
        let run = tempfile::tempdir().unwrap();
        let first = try_lock(run.path()).unwrap();
        assert!(first.is_some());
        assert!(try_lock(run.path()).unwrap().is_none());
        drop(first);
        assert!(try_lock(run.path()).unwrap().is_some());
    }
}
