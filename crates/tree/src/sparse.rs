//! Where the runs of a sparse file go in `data`.
//!
//! The index maps a sparse file in chunks of one size, each with 8 bytes in the index, and either
//! wholly in `data` or not at all. Small chunks cost index, large ones zeros, so the size is the power
//! of two that makes their sum least.

use crate::{
    header::Segment,
    model::{BLOCK, Extent, FileData},
};

/// log2 of the smallest and the largest chunk that EROFS can say with 4 KiB blocks.
const CHUNK_BITS_MIN: u8 = 12;
const CHUNK_BITS_MAX: u8 = 43;
/// What a chunk costs in the index.
const CHUNK_INDEX_BYTES: u64 = 8;

/// A run of bytes of the tar, and the zeros that go to `data` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) zeros_before: u64,
    pub(crate) length: u64,
    /// Where in `data` the run's bytes are, after the zeros.
    pub(crate) data_offset: u64,
}

/// How a file lies in `data`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) data: FileData,
    pub(crate) runs: Vec<Run>,
    /// Zeros after the last run, up to the next block.
    pub(crate) zeros_after: u64,
    /// Where the next file begins.
    pub(crate) data_end: u64,
    /// Zeros in `data` and index entries, in bytes: what the file costs beyond its runs.
    pub(crate) overhead: u64,
}

/// Whether the runs ascend, keep apart and lie in the file, and are `stored` bytes together.
pub(crate) fn is_valid(segments: &[Segment], size: u64, stored: u64) -> bool {
    let (mut end, mut total) = (0, 0_u64);
    segments.iter().all(|segment| {
        let starts_after = segment.offset >= end;
        let ends = segment
            .offset
            .checked_add(segment.length)
            .filter(|end| *end <= size);
        end = ends.unwrap_or(size);
        total = total.saturating_add(segment.length);
        starts_after && ends.is_some()
    }) && total == stored
}

/// The chunk size, as log2, that costs least, and what it costs at most.
///
/// `segments` must be valid and none of them empty.
pub(crate) fn chunk_bits(size: u64, segments: &[Segment]) -> (u8, u64) {
    let cost = |bits: u8| {
        let index = size.div_ceil(1 << bits).saturating_mul(CHUNK_INDEX_BYTES);
        chunks_touched(segments, bits)
            .saturating_mul(1 << bits)
            .saturating_add(index)
    };
    (CHUNK_BITS_MIN..=CHUNK_BITS_MAX)
        .map(|bits| (bits, cost(bits)))
        .min_by_key(|(_, cost)| *cost)
        .expect("the range is not empty")
}

fn chunks_touched(segments: &[Segment], bits: u8) -> u64 {
    let mut next = 0; // the first chunk not counted yet
    let mut touched = 0;
    for segment in segments {
        let first = (segment.offset >> bits).max(next);
        let last = (segment.offset + segment.length - 1) >> bits;
        touched += (last + 1).saturating_sub(first);
        next = next.max(last + 1);
    }
    touched
}

/// Lays a sparse file into `data` from `data_start`, a multiple of [`BLOCK`], on.
///
/// `segments` must be valid and none of them empty; `data_start` plus the cost that [`chunk_bits`]
/// told must not overflow.
pub(crate) fn layout(size: u64, segments: &[Segment], bits: u8, data_start: u64) -> Layout {
    let chunk = 1 << bits;
    let mut runs = Vec::with_capacity(segments.len());
    let mut extents: Vec<Extent> = Vec::new();
    let mut cursor = data_start;
    // Where in the file `cursor` is, and where the chunks of the extent being written end.
    let (mut position, mut extent_end) = (0, 0);
    for segment in segments {
        let end = segment.offset + segment.length;
        let mut zeros_before = 0;
        if segment.offset >= extent_end {
            // Finish the extent before, then begin another one, or go on with it if they touch.
            zeros_before += extent_end - position;
            let start = segment.offset / chunk * chunk;
            if extents.is_empty() || start != extent_end {
                let data_offset = cursor + zeros_before;
                extents.push(Extent {
                    file_offset: start,
                    data_offset,
                    length: 0,
                });
            }
            position = start;
        }
        zeros_before += segment.offset - position;
        runs.push(Run {
            zeros_before,
            length: segment.length,
            data_offset: cursor + zeros_before,
        });
        cursor += zeros_before + segment.length;
        position = end;
        extent_end = end
            .checked_next_multiple_of(chunk)
            .map_or(size, |end| end.min(size));
        if let Some(extent) = extents.last_mut() {
            extent.length = extent_end - extent.file_offset;
        }
    }
    cursor += extent_end - position;
    let zeros_of_chunks = cursor - data_start - runs.iter().map(|run| run.length).sum::<u64>();
    let data_end = cursor.next_multiple_of(BLOCK);
    let zeros_after = extent_end - position + (data_end - cursor);
    let whole = matches!(&extents[..], [only] if only.file_offset == 0 && only.length == size);
    let (data, index) = if whole {
        (
            FileData::Contiguous {
                data_offset: data_start,
            },
            0,
        )
    } else {
        let index = size.div_ceil(chunk).saturating_mul(CHUNK_INDEX_BYTES);
        (
            FileData::Sparse {
                chunk_bits: bits,
                extents: extents.into(),
            },
            index,
        )
    };
    let overhead = zeros_of_chunks.saturating_add(index);
    Layout {
        data,
        runs,
        zeros_after,
        data_end,
        overhead,
    }
}
