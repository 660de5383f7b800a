//! Scrubbing: everything is read again from time to time, one layer at a time, by whoever has time.
//!
//! When each layer was last read is recorded, so that it can stop after any of them and go on later,
//! with the one that has waited longest.

use std::time::SystemTime;

use lapstrake_store::{Object, Store};

use super::deep::{CheckEvent, examine_one};
use super::examine::Examined;
use super::pace::Pace;
use crate::error::Result;

/// What a scrub is told.
#[derive(Debug)]
pub struct ScrubOptions {
    /// Layers that were read since then can wait.
    pub due: SystemTime,
    /// The time of this reading.
    pub now: SystemTime,
    /// How fast to read.
    pub pace: Pace,
}

/// Reads the layer that was not read for the longest time; `None` if none is due.
///
/// # Errors
/// If the database refuses.
pub fn scrub_next(
    store: &Store,
    options: &ScrubOptions,
    tell: &dyn Fn(CheckEvent),
) -> Result<Option<Examined>> {
    let Some(id) = store.state().next_to_check(options.due)? else {
        return Ok(None);
    };
    let _claim = store.claim([Object::Layer(id.clone())]);
    let record = store.state().layer(&id)?;
    let examined = examine_one(store, &id, record.as_ref(), &options.pace, tell);
    store.state().set_checked(&id, options.now)?;
    Ok(Some(examined))
}
