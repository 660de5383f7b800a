//! Whether a store is what its names say, by reading it.
//!
//! ```text
//! quick    ── records, documents and files are compared; no layer is read
//! deep     ── every blob, layer and index is read: examine, for each layer
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
mod sweep;

use lapstrake_oci::DiffId;
use lapstrake_store::Store;

use crate::error::{Error, Result};

pub use deep::{CheckEvent, Checked, DeepOptions, deep};
pub use examine::{Damage, Examined, examine};
pub use pace::Pace;
pub use paths::{DamagedFiles, damaged_files};
pub use quick::quick;

/// Reads all of a published layer's tar back and compares it with its diff id. A layer that is not
/// what its name says is moved aside, and forgotten, before the error is returned.
///
/// # Errors
/// If the layer is damaged or can't be read.
pub fn check_layer(store: &Store, id: &DiffId) -> Result<()> {
    let examined = examine(store, id, &Pace::unlimited(), &|_bytes| {});
    let Some(why) = examined.why_not_served() else {
        return Ok(());
    };
    let moved = store.content.quarantine_layer(id)?;
    store.state().forget_layer(id)?;
    Err(Error::Damaged {
        id: id.clone(),
        why,
        moved,
    })
}

/// Settles a doubtful layer: reads it back, syncs it, and records it as proved.
///
/// # Errors
/// As [`check_layer`], or if it can't be synced.
pub fn settle_layer(store: &Store, id: &DiffId) -> Result<()> {
    check_layer(store, id)?;
    store.content.prove_layer(id)?;
    store.state().set_proved([id])?;
    Ok(())
}
