//! The split thread: hashes the tar, splits it into data and skeleton, records its spans, and
//! writes the index once the tree is known.

use std::io;

use lapstrake_fill::spans::{Blob, SpanRecorder};
use lapstrake_oci::{Algorithm, Compression, DiffId, Digest};
use lapstrake_store::{
    Durability, Error as StoreError, LayerFiles, LayerRecord, LayerStage, LayerState, StagedLayer,
    Store,
};
use lapstrake_tree::split::{DataSink, SplitLayer, Splitter};

use super::{Block, Blocks, Wanted};
use crate::error::Result;
use crate::index;
use crate::limits::Limits;

struct Sink(LayerStage);

impl DataSink for Sink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }
}

/// A layer that is written but not published.
pub(crate) struct Split {
    layer: SplitLayer,
    stage: LayerStage,
    recorder: SpanRecorder,
    digest: Digest,
}

pub(super) fn run(
    store: &Store,
    algorithm: Algorithm,
    limits: Limits,
    blocks: &Blocks,
) -> Result<Split> {
    let mut hasher = algorithm.hasher();
    let mut splitter = Splitter::new(limits.tree);
    let mut recorder = SpanRecorder::new()?;
    let mut sink = Sink(store.content.stage_layer()?);
    while let Ok(Block { bytes, boundary }) = blocks.full.recv() {
        hasher.update(&bytes);
        recorder.update(&bytes);
        splitter.feed(&bytes, &mut sink)?;
        if let Some(boundary) = boundary {
            recorder.cut(boundary)?;
        }
        // The decoder may be gone already, if this was the last block.
        drop(blocks.empty.send(bytes));
    }
    let layer = splitter.finish(&mut sink)?;
    Ok(Split {
        layer,
        stage: sink.0,
        recorder,
        digest: hasher.finish(),
    })
}

/// A layer that is written, and what its name says, but has no name yet.
pub(crate) struct Staged {
    staged: StagedLayer,
    layer: SplitLayer,
    id: DiffId,
}

impl Split {
    /// Ends the layer, which must have the name that is wanted.
    pub(super) fn stage(self, wanted: &Wanted, compression: Compression) -> Result<Staged> {
        let (want, got) = (&wanted.diff_id, &self.digest);
        if want.0 != *got {
            let (want, got) = (want.clone(), DiffId(got.clone()));
            return Err(StoreError::LayerMismatch { want, got }.into());
        }
        self.stage_as(Blob {
            digest: wanted.blob.digest.clone(),
            bytes: wanted.blob.size,
            compression,
        })
    }

    /// What its tar hashes to.
    pub(crate) fn id(&self) -> DiffId {
        DiffId(self.digest.clone())
    }

    /// Publishes a layer that only we have, under whatever its tar hashes to. It is on disk then.
    pub(crate) fn publish_own(self, store: &Store) -> Result<LayerRecord> {
        let blob = self.own_blob();
        self.stage_as(blob)?.publish(store, Durability::OnlyHere)
    }

    /// The tar, as if a registry had it uncompressed: so a push would send it.
    pub(super) fn own_blob(&self) -> Blob {
        Blob {
            digest: self.digest.clone(),
            bytes: self.layer.tar_len,
            compression: Compression::None,
        }
    }

    pub(super) fn stage_as(self, blob: Blob) -> Result<Staged> {
        let spans = self.recorder.finish(blob);
        let staged = self.stage.finish(&self.layer.skeleton, &spans.to_bytes())?;
        Ok(Staged {
            staged,
            layer: self.layer,
            id: DiffId(self.digest),
        })
    }
}

impl Staged {
    /// Its files, until it is published or dropped.
    pub(crate) fn files(&self) -> LayerFiles {
        self.staged.files()
    }

    /// Gives the layer its name and writes its index; returns its record, not yet in the state
    /// database.
    pub(crate) fn publish(self, store: &Store, durability: Durability) -> Result<LayerRecord> {
        let id = self.id;
        store.publish_layer(self.staged, &id, id.clone(), durability)?;
        let index = index::write(store, &id, &self.layer.tree, self.layer.data_len)?;
        Ok(LayerRecord {
            diff_id: id,
            tar_len: self.layer.tar_len,
            data_len: self.layer.data_len,
            index,
            state: LayerState::Present,
        })
    }
}
