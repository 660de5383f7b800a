//! The split thread: hashes the tar, splits it into data and skeleton, records its spans, and
//! writes the index once the tree is known.

use std::io;

use lapstrake_fill::spans::{Blob, SpanRecorder};
use lapstrake_oci::{Compression, DiffId, Digest};
use lapstrake_store::{LayerRecord, LayerStage, LayerState, Store};
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
    wanted: &Wanted,
    limits: Limits,
    blocks: &Blocks,
) -> Result<Split> {
    let mut hasher = wanted.diff_id.0.algorithm().hasher();
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
        let want = &wanted.diff_id;
        let got = DiffId(self.digest);
        let spans = self.recorder.finish(Blob {
            digest: wanted.blob.digest.clone(),
            bytes: wanted.blob.size,
            compression,
        });
        let staged = self.stage.finish(&self.layer.skeleton, &spans.to_bytes())?;
        staged.publish(&store.content, want, got)?;
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
