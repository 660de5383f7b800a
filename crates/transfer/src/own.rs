//! What is made here and nowhere else: layers of containers' changes or of tars, and images with them.
//!
//! It has no source, so that all of it is on disk before it is acknowledged.

use std::io::Read;
use std::time::SystemTime;

use lapstrake_oci::{DiffId, Digest, Reference, Repo};
use lapstrake_store::{
    Commit, Durability, ImageRecord, LayerRecord, LayerState, Lease, Lineage, Object, Store,
};
use lapstrake_tree::changes::{Changes, View};

use crate::error::{Error, Result};
use crate::layer::{self, Split};
use crate::lease::TERM;
use crate::limits::Limits;
use crate::unpack::Unpacked;

/// Where images are that have no name. There is no such registry.
const UNNAMED: &str = "localhost/unnamed";

/// A layer that was made here, and what keeps it until an image does.
#[derive(Debug)]
pub struct OwnLayer {
    /// The layer.
    pub record: LayerRecord,
    _lease: Lease,
}

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
) -> Result<OwnLayer> {
    publish(store, layer::make(store, changes, upper, lower, limits)?)
}

/// Writes a tar as a layer: one that is compressed by gzip, bzip2, xz or zstd, or not. The layer is on
/// disk when this returns.
///
/// # Errors
/// If the input stops giving, is no tar or not what its compression says, or the disk refuses.
pub fn add_tar(store: &Store, input: impl Read, limits: Limits) -> Result<OwnLayer> {
    let mut tar = Unpacked::new(input).map_err(Error::Input)?;
    let received = layer::receive_tar(store, &mut tar, limits)?;
    publish(store, received.into_split())
}

/// What an image is called that has no name.
pub fn unnamed(manifest: Digest) -> Reference {
    let repo: Repo = UNNAMED.parse().expect("it is a repository's name");
    Reference::pinned(repo, manifest)
}

/// Whether this is what [`unnamed`] calls one.
pub fn is_unnamed(reference: &str) -> bool {
    let rest = reference.strip_prefix(UNNAMED);
    rest.is_some_and(|rest| rest.starts_with('@'))
}

fn publish(store: &Store, made: Split) -> Result<OwnLayer> {
    // Before the layer is looked for: what is there may be another's to remove.
    let lease = store.lease(&[Object::Layer(made.id())], SystemTime::now() + TERM)?;
    let record = made.publish_own(store)?;
    store.state().add_layer(&record, None)?;
    store.state().set_proved([&record.diff_id])?;
    Ok(OwnLayer {
        record: LayerRecord {
            state: LayerState::Proved,
            ..record
        },
        _lease: lease,
    })
}

/// Stores an image's documents and lets its name lead to it. All is on disk when this returns. `layer`
/// is the one that was made for it; the others must be claimed or held by something else.
///
/// # Errors
/// If the disk or the database refuses.
pub fn add_image(
    store: &Store,
    image: &ImageRecord,
    layers: &[DiffId],
    documents: &[(&Digest, &[u8])],
    layer: Option<OwnLayer>,
) -> Result<()> {
    let names = documents
        .iter()
        .map(|(digest, _)| Object::Blob((*digest).clone()));
    let names: Vec<_> = names.collect();
    let lease = store.lease(&names, SystemTime::now() + TERM)?;
    for (digest, bytes) in documents {
        store
            .content
            .put_blob(bytes, digest, Durability::OnlyHere)?;
    }
    let lineage = Lineage {
        index: None,
        layers,
    };
    store
        .state()
        .set_image(image, &lineage, SystemTime::now(), Commit::Synced)?;
    // The name keeps all of it from here on.
    drop((lease, layer));
    Ok(())
}
