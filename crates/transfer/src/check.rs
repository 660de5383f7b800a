//! Whether a store is what its names say, by reading it.
//!
//! ```text
//! quick    ── records, documents and files are compared; no layer is read
//! deep     ── every blob, layer and index is read: examine, for each layer
//! scrub    ── the same, one layer at a time, over days
//! examine  ── one pass over a layer: its diff id, its spans' digests, the zeros between its files
//! ```
//!
//! What it keeps true: a layer that is not what its name says is told from one that only can't be
//! made again; damage is told by range wherever the span table allows; reading keeps to a rate.

mod deep;
mod examine;
mod pace;
mod paths;
mod quick;
mod scrub;
mod sweep;

use lapstrake_oci::DiffId;
use lapstrake_store::check::FileFacts;
use lapstrake_store::{LayerRecord, Store};

use crate::error::{Error, Result};

pub use deep::{CheckEvent, Checked, DeepOptions, deep, examine_one};
pub use examine::{Damage, Examined, examine};
pub use pace::Pace;
pub use paths::{DamagedFiles, damaged_files};
pub use quick::{quick, wanted};
pub use scrub::{ScrubOptions, scrub_next};

/// Reads all of a published layer's tar back and compares it with its diff id. A layer that is not
/// what its name says is moved aside, and forgotten, before the error is returned.
///
/// # Errors
/// If the layer is damaged or can't be read.
pub fn check_layer(store: &Store, id: &DiffId) -> Result<()> {
    loop {
        let record = store.state().layer(id)?;
        let Some(why) = why_not_served(store, id) else {
            return Ok(());
        };
        if let Some(error) = quarantine(store, id, record.as_ref(), why)? {
            return Err(error);
        }
    }
}

fn why_not_served(store: &Store, id: &DiffId) -> Option<String> {
    examine(store, id, &Pace::unlimited(), &|_bytes| {}).why_not_served()
}

/// Moves a damaged layer aside and forgets it; returns what to tell. If its record is no longer the one
/// that it had before it was looked at, somebody else found the same, and what is there now may be
/// sound: then nothing is done.
fn quarantine(
    store: &Store,
    id: &DiffId,
    seen: Option<&LayerRecord>,
    why: String,
) -> Result<Option<Error>> {
    // Layers are replaced under this lock, too.
    let mut state = store.state();
    if state.layer(id)?.as_ref() != seen {
        return Ok(None);
    }
    let moved = store.content.quarantine_layer(id)?;
    state.forget_layer(id)?;
    Ok(Some(Error::Damaged {
        id: id.clone(),
        why,
        moved,
    }))
}

/// In what the files of a layer differ from its record, as far as can be told without reading.
fn disagreement(store: &Store, record: &LayerRecord) -> Option<String> {
    let files = store.content.layer_files(&record.diff_id);
    let wanted = [
        (&files.data, Some(record.data_len)),
        (&files.skeleton, None),
        (&files.spans, None),
    ];
    wanted.into_iter().find_map(|(path, wanted)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match FileFacts::of(path) {
            FileFacts::Missing => Some(format!("its {name} is missing")),
            FileFacts::Unreadable(why) => Some(format!("its {name}: {why}")),
            FileFacts::File { hole: Some(at), .. } => {
                Some(format!("its {name} has a hole at byte {at}"))
            }
            FileFacts::File { len, hole: None } if wanted.is_some_and(|wanted| wanted != len) => {
                Some(format!(
                    "its {name} has {len} bytes, not {}",
                    wanted.unwrap_or_default()
                ))
            }
            FileFacts::File { len: 0, .. } if wanted.is_none() => {
                Some(format!("its {name} is empty"))
            }
            FileFacts::File { .. } => None,
        }
    })
}

/// Settles a doubtful layer: compares its sizes and extents with its record, reads it back, syncs
/// it, and records it as proved. What a crash emptied, cut or left unwritten is told by the first
/// step, without reading.
///
/// # Errors
/// As [`check_layer`], or if it can't be synced.
pub fn settle_layer(store: &Store, id: &DiffId) -> Result<()> {
    loop {
        let record = store.state().layer(id)?;
        let disagreement = record
            .as_ref()
            .and_then(|record| disagreement(store, record));
        if let Some(why) = disagreement.or_else(|| why_not_served(store, id)) {
            if let Some(error) = quarantine(store, id, record.as_ref(), why)? {
                return Err(error);
            }
            continue;
        }
        store.content.prove_layer(id)?;
        let mut state = store.state();
        // If the layer was replaced meanwhile, it is another copy that was synced.
        if state.layer(id)? == record {
            state.set_proved([id])?;
            return Ok(());
        }
    }
}
