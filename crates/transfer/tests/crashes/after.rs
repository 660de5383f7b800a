//! What must hold of a store after a cut.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use lapstrake_oci::{Config, DiffId, Digest, Parsed};
use lapstrake_store::{LayerRecord, LayerState, Store};
use lapstrake_transfer::{Error, index, settle_layer};
use lapstrake_tree::view::TarView;

use super::World;
use super::history::{Fate, History, Known};
use super::run::remove;

const MAX_BLOB: u64 = 1 << 20;

/// A store after a cut.
pub(crate) struct After<'a> {
    world: &'a World,
    history: &'a History,
    step: usize,
    /// Whether what an earlier look pulled again may be there.
    recovering: bool,
}

#[track_caller]
fn must<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

impl<'a> After<'a> {
    pub(crate) fn new(world: &'a World, history: &'a History, step: usize) -> Self {
        Self {
            world,
            history,
            step,
            recovering: false,
        }
    }

    /// A recovery came before this one, and was cut: what it was to pull again may be there.
    pub(crate) fn and_recovering(mut self) -> Self {
        self.recovering = true;
        self
    }

    fn fate(&self, image: &Known) -> Fate {
        match self.history.fate(&image.reference, self.step) {
            Fate::Gone if self.recovering && image.pulled.is_some() => Fate::Either,
            fate => fate,
        }
    }

    /// Looks at it as it is, puts right what can be, and then removes everything.
    pub(crate) fn look(&self, store: &Arc<Store>) {
        self.recover(store);
        must("the store is swept", store.sweep());
        let names = store.state().images();
        remove(store, &must("images are listed", names));
        must("the trash is emptied", store.empty_trash());
        for dir in ["blobs", "layers", "tmp", "trash"] {
            is_empty(&store.root().join("content").join(dir));
        }
        is_empty(&store.root().join("state/index"));
    }

    /// Looks at it as it is, and pulls again what can be.
    pub(crate) fn recover(&self, store: &Arc<Store>) {
        let images = self.history.images();
        for image in &images {
            match (self.fate(image), record(store, image)) {
                (Fate::There, _) => is_whole(store, image),
                (Fate::Gone, true) => panic!("a removed image is back"),
                // What it leads to is right or refused.
                (Fate::Either, true) => {
                    for id in layers(store, image).unwrap_or_default() {
                        drop(serve(store, &id));
                    }
                }
                (Fate::Gone | Fate::Either, false) => {}
            }
        }
        for image in &images {
            if let Some(added) = &image.pulled {
                must("an image is pulled again", self.world.pull(store, added));
                is_whole(store, image);
            }
        }
    }
}

fn record(store: &Store, image: &Known) -> bool {
    let record = store.state().image(&image.reference);
    let record = must("an image is looked up", record);
    if let Some(record) = &record {
        assert!(*record == image.record(), "a name leads to another image");
    }
    record.is_some()
}

/// The image is there, its layers are proved, and all its bytes are right.
fn is_whole(store: &Store, image: &Known) {
    assert!(record(store, image), "an image is lost");
    must("the manifest is there", blob(store, &image.manifest));
    let layers = layers(store, image);
    for id in layers.unwrap_or_else(|| panic!("a config is lost")) {
        let record = store.state().layer(&id);
        match record {
            Ok(Some(layer)) if layer.state == LayerState::Proved => {}
            other => panic!("a layer is not proved: {other:?}"),
        }
        must("a layer is served", serve(store, &id));
    }
}

fn blob(store: &Store, digest: &Digest) -> Result<Vec<u8>, lapstrake_store::Error> {
    store.content.read_blob(digest, MAX_BLOB)
}

fn layers(store: &Store, image: &Known) -> Option<Vec<DiffId>> {
    let raw = blob(store, &image.config).ok()?;
    let config = must("a config is one", Parsed::<Config>::config(raw));
    Some(config.value().rootfs.diff_ids.clone())
}

/// Does with a layer what is done before a mount. What is then served must be right.
fn serve(store: &Store, id: &DiffId) -> Result<(), Error> {
    let record = store.state().layer(id)?;
    let Some(record) = record else {
        return Ok(());
    };
    if record.state == LayerState::Doubtful {
        settle_layer(store, id)?;
    }
    index::ensure(store, &record)?;
    is_right(store, &record);
    Ok(())
}

fn is_right(store: &Store, record: &LayerRecord) {
    let id = &record.diff_id;
    let files = store.content.layer_files(id);
    let open = |path: &Path| must("a file of a layer opens", File::open(path));
    let length = open(&files.data).metadata().unwrap().len();
    assert!(
        length == record.data_len,
        "data of {length} bytes is served"
    );
    let view = TarView::new(open(&files.skeleton), open(&files.data));
    let mut tar = Vec::new();
    let read = must("a skeleton is one", view).read_to_end(&mut tar);
    must("a layer is read", read);
    let digest = id.0.algorithm().digest(&tar);
    assert!(digest == id.0, "a wrong layer is served");
    let stamped = store.indexes.is_intact(id, &record.index);
    assert!(
        must("an index is read", stamped),
        "an index is not its record's"
    );
}

/// No file is left below a directory.
fn is_empty(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        assert!(path.is_dir(), "{} is left", path.display());
        is_empty(&path);
    }
}
