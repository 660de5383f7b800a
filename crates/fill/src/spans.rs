//! The span table: where each span of a layer's tar starts, how to make it again, and its digest.
//!
//! A [`SpanRecorder`] is fed the tar with the decoder's boundaries and makes the table. Windows are
//! kept compressed; they are by far the most of it. [`SpanTable::to_bytes`] and
//! [`SpanTable::from_bytes`] are the `spans` file.

mod file;
mod record;

#[cfg(test)]
mod tests;

use std::ops::Range;

use lapstrake_oci::{Compression, Digest};

pub use file::{FileError, VERSION};
pub use record::{RecordError, SpanRecorder};

/// A span's digest: BLAKE3 over its tar bytes.
pub type SpanDigest = blake3::Hash;

/// One span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Where it starts, in bytes of tar; it ends where the next one starts.
    pub tar_offset: u64,
    /// Where decoding can start.
    pub start: Start,
    /// BLAKE3 over its tar bytes.
    pub digest: SpanDigest,
}

/// How decoding can start at a span: a [`Restart`](crate::decode::Restart) as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// From this byte of the blob, with nothing known.
    At {
        /// In bytes.
        byte: u64,
    },
    /// From this bit of the blob, with the window before it.
    Deflate {
        /// In bits, lowest of a byte first.
        bit: u64,
        /// The window, compressed with zstd.
        window: Box<[u8]>,
    },
    /// Only from an earlier span.
    Continue,
}

impl Start {
    /// The first byte of the blob that is needed, if this is a place to start.
    pub fn byte(&self) -> Option<u64> {
        match self {
            Self::At { byte } => Some(*byte),
            Self::Deflate { bit, .. } => Some(bit / 8),
            Self::Continue => None,
        }
    }
}

/// The compressed blob that spans are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest, under which any source may have it.
    pub digest: Digest,
    /// How it is compressed.
    pub compression: Compression,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// A layer's spans.
///
/// From a recorder or a file it always fits together: the first span starts at 0 and at a place to
/// start, offsets grow, and every place is one that the blob's format has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanTable {
    pub(crate) blob: Blob,
    pub(crate) tar_bytes: u64,
    pub(crate) spans: Vec<Span>,
}

impl SpanTable {
    /// What the spans are made from.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// Bytes of the tar.
    pub fn tar_bytes(&self) -> u64 {
        self.tar_bytes
    }

    /// In order; the first starts at 0. Empty for an empty tar.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The bytes of tar that a span is.
    pub fn range(&self, index: usize) -> Range<u64> {
        let end = self.spans.get(index + 1);
        self.spans[index].tar_offset..end.map_or(self.tar_bytes, |next| next.tar_offset)
    }

    /// The spans that a range of the tar touches.
    pub fn touched(&self, tar: Range<u64>) -> Range<usize> {
        let first = self
            .spans
            .partition_point(|span| span.tar_offset <= tar.start);
        let end = self.spans.partition_point(|span| span.tar_offset < tar.end);
        first.saturating_sub(1)..end.max(first.saturating_sub(1))
    }

    /// The spans that have to be decoded to make this one, itself included: more than one only where
    /// the blob's format has no nearer place to start.
    pub fn group(&self, index: usize) -> Range<usize> {
        let restarts = |span: &Span| span.start != Start::Continue;
        let first = self.spans[..=index].iter().rposition(restarts).unwrap_or(0);
        first..index + 1
    }
}
