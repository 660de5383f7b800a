//! What is made here and nowhere else: layers of containers' changes, and images with them.
//!
//! It has no source, so that all of it is on disk before it is acknowledged.

use lapstrake_oci::{DiffId, Digest};
use lapstrake_store::{Commit, Durability, ImageRecord, LayerRecord, LayerState, Lineage, Store};
use lapstrake_tree::changes::{Changes, View};

use crate::check::settle_layer;
use crate::error::Result;
use crate::layer;
use crate::limits::Limits;

/// Writes changes as a layer: data, skeleton and index in one pass over the changed files. The layer
/// is on disk when this returns.
///
/// # Errors
/// If a file can't be read or changes meanwhile, no layer can hold a change, or the disk refuses.
pub fn add_layer<U: View + Sync, L: View + Sync>(
    store: &Store,
    changes: &Changes,
    upper: &U,
    lower: &L,
    limits: Limits,
) -> Result<LayerRecord> {
    let layer = layer::make(store, changes, upper, lower, limits)?;
    let id = &layer.diff_id;
    let before = store.state().layer(id)?;
    if before.is_some_and(|before| before.state == LayerState::Doubtful) {
        // The same layer was here, and was kept; nobody knows yet whether a crash spared it.
        settle_layer(store, id)?;
    }
    store.state().add_layer(&layer, None)?;
    store.state().set_proved([id])?;
    Ok(LayerRecord {
        state: LayerState::Proved,
        ..layer
    })
}

/// Stores an image's documents and lets its name lead to it. All is on disk when this returns. Its
/// layers must be.
///
/// # Errors
/// If the disk or the database refuses.
pub fn add_image(
    store: &Store,
    image: &ImageRecord,
    layers: &[DiffId],
    documents: &[(&Digest, &[u8])],
) -> Result<()> {
    for (digest, bytes) in documents {
        store
            .content
            .put_blob(bytes, digest, Durability::OnlyHere)?;
    }
    let lineage = Lineage {
        index: None,
        layers,
    };
    store.state().set_image(image, &lineage, Commit::Synced)?;
    Ok(())
}
