//! The split thread: hashes the tar, splits it into data and skeleton, records its spans, and
//! writes the index once the tree is known.

use std::io;

use lapstrake_fill::spans::{Blob, SpanRecorder};
use lapstrake_oci::{Algorithm, Compression, DiffId, Digest};
use lapstrake_store::{Durability, LayerRecord, LayerStage, LayerState, Store};
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
pub(super) struct Split {
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

impl Split {
    pub(super) fn publish(
        self,
        store: &Store,
        wanted: &Wanted,
        compression: Compression,
    ) -> Result<LayerRecord> {
        let blob = Blob {
            digest: wanted.blob.digest.clone(),
            bytes: wanted.blob.size,
            compression,
        };
        self.publish_as(store, &wanted.diff_id, blob, Durability::HasSource)
    }

    /// Publishes a layer that only we have, under whatever its tar hashes to. It is on disk then.
    pub(super) fn publish_own(self, store: &Store) -> Result<LayerRecord> {
        let id = DiffId(self.digest.clone());
        // As if the registry had it uncompressed: so a push would send it.
        let blob = Blob {
            digest: self.digest.clone(),
            bytes: self.layer.tar_len,
            compression: Compression::None,
        };
        self.publish_as(store, &id, blob, Durability::OnlyHere)
    }

    fn publish_as(
        self,
        store: &Store,
        want: &DiffId,
        blob: Blob,
        durability: Durability,
    ) -> Result<LayerRecord> {
        let spans = self.recorder.finish(blob);
        let staged = self.stage.finish(&self.layer.skeleton, &spans.to_bytes())?;
        staged.publish(&store.content, want, DiffId(self.digest), durability)?;
        let index = index::write(store, want, &self.layer.tree, self.layer.data_len)?;
        Ok(LayerRecord {
            diff_id: want.clone(),
            tar_len: self.layer.tar_len,
            data_len: self.layer.data_len,
            index,
            state: LayerState::Present,
        })
    }
}
