//! Making the table from the tar as it goes by.

use super::{Blob, Span, SpanTable, Start};
use crate::decode::{Boundary, Restart};

/// Makes a span table from the tar as it goes by.
///
/// Feed every byte of the tar to [`Self::update`] and every boundary, at its place among them, to
/// [`Self::cut`]; then [`Self::finish`]. It costs a BLAKE3 of the tar and is best run beside the
/// thread that decodes.
pub struct SpanRecorder {
    hasher: blake3::Hasher,
    compressor: zstd::bulk::Compressor<'static>,
    start: Start,
    span_offset: u64,
    tar_offset: u64,
    spans: Vec<Span>,
}

impl std::fmt::Debug for SpanRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanRecorder")
            .field("spans", &self.spans.len())
            .finish_non_exhaustive()
    }
}

/// Windows are compressed at zstd's level 1: level 3 makes them 3 % smaller and takes twice as long.
const WINDOW_LEVEL: i32 = 1;

/// Why a span table cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No memory for the compressor.
    #[error("out of memory for compressing windows")]
    Memory,
    /// A boundary is not where the bytes fed so far end.
    #[error("a boundary at {boundary} came after {fed} bytes of tar")]
    Misplaced {
        /// Where the boundary says it is.
        boundary: u64,
        /// Bytes fed.
        fed: u64,
    },
}

impl SpanRecorder {
    /// Ready for the first byte of the tar.
    pub fn new() -> Result<Self, RecordError> {
        let compressor =
            zstd::bulk::Compressor::new(WINDOW_LEVEL).map_err(|_| RecordError::Memory)?;
        Ok(Self {
            hasher: blake3::Hasher::new(),
            compressor,
            start: Start::At { byte: 0 },
            span_offset: 0,
            tar_offset: 0,
            spans: Vec::new(),
        })
    }

    /// Takes in more bytes of the tar.
    pub fn update(&mut self, tar: &[u8]) {
        self.hasher.update(tar);
        self.tar_offset += tar.len() as u64;
    }

    /// The spans that have ended.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Ends the span here.
    pub fn cut(&mut self, boundary: Boundary) -> Result<(), RecordError> {
        if boundary.tar_offset != self.tar_offset {
            return Err(RecordError::Misplaced {
                boundary: boundary.tar_offset,
                fed: self.tar_offset,
            });
        }
        self.end_span();
        self.start = match boundary.restart {
            Restart::At { byte } => Start::At { byte },
            Restart::Continue => Start::Continue,
            Restart::Deflate { bit, window } => Start::Deflate {
                bit,
                window: self
                    .compressor
                    .compress(&window)
                    .map_err(|_| RecordError::Memory)?
                    .into(),
            },
        };
        Ok(())
    }

    fn end_span(&mut self) {
        if self.span_offset == self.tar_offset {
            return;
        }
        let start = std::mem::replace(&mut self.start, Start::Continue);
        self.spans.push(Span {
            tar_offset: self.span_offset,
            start,
            digest: self.hasher.finalize(),
        });
        self.hasher.reset();
        self.span_offset = self.tar_offset;
    }

    /// The table, once tar and blob are whole.
    pub fn finish(mut self, blob: Blob) -> SpanTable {
        self.end_span();
        SpanTable {
            blob,
            tar_bytes: self.tar_offset,
            spans: self.spans,
        }
    }
}
