//! A layer of the store, opened to have its tar read.

use std::fs::File;
use std::path::Path;

use lapstrake_oci::DiffId;
use lapstrake_store::{LayerFiles, Store};
use lapstrake_tree::view::TarView;

use crate::error::{Error, Result};

/// The files of a layer, and its tar. Whoever reads that compares it with the layer's name.
pub(crate) fn open(store: &Store, id: &DiffId) -> Result<(LayerFiles, TarView<File, File>)> {
    let files = store
        .find_layer(id)
        .unwrap_or_else(|| store.content.layer_files(id));
    let open = |path: &Path| {
        File::open(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })
    };
    let view = TarView::new(open(&files.skeleton)?, open(&files.data)?);
    let view = view.map_err(|error| not_sound(id, &error))?;
    Ok((files, view))
}

/// That a layer is not what its name says.
pub(crate) fn not_sound(id: &DiffId, why: &dyn std::fmt::Display) -> Error {
    Error::NotSound {
        id: id.clone(),
        why: why.to_string(),
    }
}
