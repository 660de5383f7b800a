//! One block of a skeleton, decoded: what the tar has where.

use super::{BLOCK_HEADER_BYTES, LITERAL_BYTES_MAX, PIECE_BYTES_MAX};
use crate::model::BLOCK;

/// What is wrong with a block.
pub(crate) type Problem = &'static str;

/// The header of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockHeader {
    pub(crate) stored_len: u32,
    pub(crate) literal_len: u32,
    pub(crate) piece_len: u32,
    pub(crate) checksum: u32,
    pub(crate) tar_offset: u64,
    pub(crate) data_offset: u64,
}

/// What the tar has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// These literal bytes of the block.
    Literal { start: usize, length: usize },
    /// These bytes of `data`.
    Content { data_offset: u64, length: u64 },
}

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    payload: Vec<u8>,
    /// Where in the tar each begins, ascending.
    ops: Vec<(u64, Op)>,
    /// Where the block ends.
    pub(crate) tar_end: u64,
    pub(crate) data_end: u64,
}

impl BlockHeader {
    pub(crate) fn parse(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<Self, Problem> {
        let small = |at: usize| {
            u32::from_le_bytes(*bytes[at..].first_chunk().expect("offsets are constants"))
        };
        let large = |at: usize| {
            u64::from_le_bytes(*bytes[at..].first_chunk().expect("offsets are constants"))
        };
        let header = Self {
            stored_len: small(0),
            literal_len: small(4),
            piece_len: small(8),
            checksum: small(12),
            tar_offset: large(16),
            data_offset: large(24),
        };
        // What is compressed has no reason to be longer than zstd's bound for it.
        let stored_max = 2 * (LITERAL_BYTES_MAX + PIECE_BYTES_MAX);
        let fits = header.stored_len as usize <= stored_max
            && header.literal_len as usize <= LITERAL_BYTES_MAX
            && header.piece_len as usize <= PIECE_BYTES_MAX;
        if fits {
            Ok(header)
        } else {
            Err("a block is too large")
        }
    }
}

impl Block {
    /// Decodes a block's payload.
    pub(crate) fn decode(header: &BlockHeader, stored: &[u8]) -> Result<Self, Problem> {
        if crc32c::crc32c(stored) != header.checksum {
            return Err("a block's checksum is wrong");
        }
        let literal_len = header.literal_len as usize;
        let length = literal_len + header.piece_len as usize;
        let payload =
            zstd::bulk::decompress(stored, length).map_err(|_| "a block cannot be decompressed")?;
        if payload.len() != length {
            return Err("a block is shorter than it says");
        }
        let mut block = Self {
            ops: Vec::new(),
            payload,
            tar_end: header.tar_offset,
            data_end: header.data_offset,
        };
        block.read_pieces(literal_len)?;
        Ok(block)
    }

    fn read_pieces(&mut self, literal_len: usize) -> Result<(), Problem> {
        let payload = std::mem::take(&mut self.payload);
        let (_, mut pieces) = payload.split_at(literal_len);
        let mut literal = 0_usize;
        while !pieces.is_empty() {
            let start = literal;
            let length = usize::try_from(varint(&mut pieces)?).ok();
            literal = length
                .and_then(|length| start.checked_add(length))
                .filter(|end| *end <= literal_len)
                .ok_or("a piece has more literal bytes than its block")?;
            self.push(Op::Literal {
                start,
                length: literal - start,
            })?;
            let length = varint(&mut pieces)?;
            if length > 0 {
                let data_offset = self.next_data(varint(&mut pieces)?)?;
                self.push(Op::Content {
                    data_offset,
                    length,
                })?;
            }
        }
        self.payload = payload;
        if literal == literal_len {
            Ok(())
        } else {
            Err("a block has literal bytes of no piece")
        }
    }

    /// Where the next contents are in `data`.
    fn next_data(&self, moved: u64) -> Result<u64, Problem> {
        let moved = (moved >> 1).cast_signed() ^ -(moved & 1).cast_signed();
        self.data_end
            .checked_next_multiple_of(BLOCK)
            .and_then(|expected| expected.checked_add_signed(moved))
            .filter(|offset| *offset >= self.data_end)
            .ok_or("a piece goes back in data")
    }

    fn push(&mut self, op: Op) -> Result<(), Problem> {
        const PROBLEM: Problem = "a piece is too long";
        let length = match op {
            Op::Literal { length, .. } => length as u64,
            Op::Content {
                data_offset,
                length,
            } => {
                self.data_end = data_offset.checked_add(length).ok_or(PROBLEM)?;
                length
            }
        };
        if length > 0 {
            self.ops.push((self.tar_end, op));
            self.tar_end = self.tar_end.checked_add(length).ok_or(PROBLEM)?;
        }
        Ok(())
    }

    /// What the tar has from where on, in order.
    pub(crate) fn ops(&self) -> &[(u64, Op)] {
        &self.ops
    }

    /// The literal bytes of an op of this block.
    pub(crate) fn literal(&self, start: usize, length: usize) -> &[u8] {
        &self.payload[start..start + length]
    }
}

fn varint(from: &mut &[u8]) -> Result<u64, Problem> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first().ok_or("a piece is cut short")?;
        *from = rest;
        let bits = u64::from(first & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        value |= bits << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a piece has a number beyond 64 bits")
}
