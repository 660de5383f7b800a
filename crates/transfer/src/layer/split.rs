//! The split thread: hashes the tar, splits it into data and skeleton, records its spans, and
//! writes the index once the tree is known.

use std::io;

use lapstrake_fill::decode::Boundary;
use lapstrake_fill::spans::{Blob, SpanRecorder};
use lapstrake_oci::digest::Hasher;
use lapstrake_oci::{Algorithm, Compression, DiffId, Digest};
use lapstrake_store::{
    Durability, Error as StoreError, LayerFiles, LayerRecord, LayerStage, LayerState, StagedLayer,
    Store,
};
use lapstrake_tree::split::{DataSink, SplitLayer, Splitter};

use super::partial::{Keeper, Place, restart_text};
use super::{Block, Blocks, Wanted};
use crate::error::{Error, Result};
use crate::index;
use crate::limits::Limits;

/// Where the data go.
pub(super) struct Sink {
    stage: LayerStage,
    /// Bytes that were there, and those of them that still come again.
    was_there: u64,
    there: u64,
}

impl Sink {
    /// For a layer that begins, or one of which all that is there comes again.
    pub(super) fn behind(stage: LayerStage) -> Self {
        let there = stage.data_len();
        Self {
            stage,
            was_there: there,
            there,
        }
    }
}

impl Sink {
    /// An error of the splitter; one of writing with the file's name.
    fn named(&self, error: lapstrake_tree::error::Error) -> Error {
        match error {
            lapstrake_tree::error::Error::Io { source, .. } => Error::Unwritable {
                path: self.stage.data().to_owned(),
                source,
            },
            other => other.into(),
        }
    }
}

impl DataSink for Sink {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let passed = self.there.min(bytes.len() as u64);
        self.there -= passed;
        let passed = usize::try_from(passed).expect("at most the bytes at hand");
        self.stage.append(&bytes[passed..])
    }
}

/// A layer being split.
pub(super) struct Splitting {
    hasher: Hasher,
    splitter: Splitter,
    recorder: SpanRecorder,
    sink: Sink,
    keeper: Option<Keeper>,
}

impl Splitting {
    pub(super) fn new(sink: Sink, algorithm: Algorithm, limits: Limits) -> Result<Self> {
        Ok(Self {
            hasher: algorithm.hasher(),
            splitter: Splitter::new(limits.tree),
            recorder: SpanRecorder::new()?,
            sink,
            keeper: None,
        })
    }

    /// Notes from here on how far the layer is.
    pub(super) fn keep(&mut self, keeper: Keeper) {
        self.keeper = Some(keeper);
    }

    /// Takes the next bytes of the tar.
    pub(super) fn feed(&mut self, tar: &[u8]) -> Result<()> {
        self.hasher.update(tar);
        self.recorder.update(tar);
        let fed = self.splitter.feed(tar, &mut self.sink);
        fed.map_err(|error| self.sink.named(error))
    }

    /// Ends a span.
    pub(super) fn cut(&mut self, boundary: Boundary) -> Result<()> {
        Ok(self.recorder.cut(boundary)?)
    }

    /// Whether no more and no less data came again than were there.
    pub(super) fn is_behind_what_was_there(&self) -> bool {
        self.sink.there == 0 && self.sink.stage.data_len() == self.sink.was_there
    }

    /// Takes all blocks.
    pub(super) fn run(&mut self, blocks: &Blocks) -> Result<()> {
        while let Ok(block) = blocks.full.recv() {
            let Block {
                bytes,
                boundary,
                place,
            } = block;
            self.feed(&bytes)?;
            if let Some(boundary) = boundary {
                let next = (boundary.tar_offset, restart_text(&boundary.restart));
                self.cut(boundary)?;
                if let ((tar, Some(next)), Some(place)) = (next, place) {
                    self.note((tar, &next), &place)?;
                }
            }
            // The decoder may be gone already, if this was the last block.
            drop(blocks.empty.send(bytes));
        }
        Ok(())
    }

    fn note(&mut self, next: (u64, &str), place: &Place) -> Result<()> {
        let Some(keeper) = self.keeper.as_mut().filter(|keeper| keeper.is_due(next.0)) else {
            return Ok(());
        };
        let skeleton = self.splitter.so_far()?;
        let note = keeper.note(self.recorder.spans(), next, place, &skeleton);
        Ok(self.sink.stage.note(&note)?)
    }

    /// Leaves what came for another pull that goes on with it.
    pub(super) fn leave(self) {
        self.sink.stage.leave();
    }

    /// Ends the tar.
    pub(super) fn finish(mut self) -> Result<Split> {
        let layer = self.splitter.finish(&mut self.sink);
        let layer = layer.map_err(|error| self.sink.named(error))?;
        Ok(Split {
            layer,
            stage: self.sink.stage,
            recorder: self.recorder,
            digest: self.hasher.finish(),
        })
    }
}

/// A layer that is written but not published.
pub(crate) struct Split {
    layer: SplitLayer,
    stage: LayerStage,
    recorder: SpanRecorder,
    digest: Digest,
}

/// Splits a tar of which nobody knows yet what it is.
pub(super) fn run(
    store: &Store,
    algorithm: Algorithm,
    limits: Limits,
    blocks: &Blocks,
) -> Result<Split> {
    let sink = Sink::behind(store.content.stage_layer()?);
    let mut splitting = Splitting::new(sink, algorithm, limits)?;
    splitting.run(blocks)?;
    splitting.finish()
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

    /// How long that is.
    pub(super) fn tar_len(&self) -> u64 {
        self.layer.tar_len
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

    /// Waits until its files are on disk, so that publishing it need not wait.
    pub(crate) fn sync(&self, store: &Store) -> Result<()> {
        Ok(store.sync_staged(&self.staged)?)
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
