//! Reading a layer back against its name, through the tar view.

use std::fs::File;
use std::io::Read as _;

use lapstrake_oci::DiffId;
use lapstrake_store::Store;
use lapstrake_tree::view::TarView;

use crate::error::{Error, Result};

/// Reads all of a published layer's tar back and compares it with its diff id. A layer that is not
/// what its name says is moved aside, and forgotten, before the error is returned.
///
/// # Errors
/// If the layer is damaged or can't be read.
pub fn check_layer(store: &Store, id: &DiffId) -> Result<()> {
    let why = match digest(store, id) {
        Ok(got) if got == *id => return Ok(()),
        Ok(got) => format!("its tar hashes to {got}"),
        Err(why) => why,
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

fn digest(store: &Store, id: &DiffId) -> std::result::Result<DiffId, String> {
    let files = store.content.layer_files(id);
    let open = |path| File::open(path).map_err(|error| format!("{path:?}: {error}"));
    let (skeleton, data) = (open(&files.skeleton)?, open(&files.data)?);
    let mut view = TarView::new(skeleton, data).map_err(|error| error.to_string())?;
    let mut hasher = id.0.algorithm().hasher();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match view.read(&mut buffer) {
            Ok(0) => return Ok(DiffId(hasher.finish())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) => return Err(error.to_string()),
        }
    }
}
