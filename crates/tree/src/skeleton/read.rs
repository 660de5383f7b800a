//! Opens a skeleton and reads its blocks.

use std::io;

use super::{
    BLOCK_HEADER_BYTES, Block, CHECKSUM_BYTES, HEADER_BYTES, MAGIC, Summary, VERSION,
    block::{BlockHeader, Problem},
};
use crate::{error::Error, read_at::ReadAt};

/// A skeleton file: where its blocks are is known, and they fit together; what is in them is checked
/// when they are read.
#[derive(Debug)]
pub struct Skeleton<S> {
    file: S,
    summary: Summary,
    blocks: Vec<(u64, BlockHeader)>,
}

impl<S: ReadAt> Skeleton<S> {
    /// Opens a skeleton. Reads all headers of blocks, 32 bytes each.
    pub fn open(file: S) -> Result<Self, Error> {
        let (summary, count) = read_header(&file)?;
        let end = summary.file_len - CHECKSUM_BYTES as u64;
        let mut blocks = Vec::new();
        let mut offset = HEADER_BYTES as u64;
        for _ in 0..count {
            let mut bytes = [0; BLOCK_HEADER_BYTES];
            file.read_exact_at(offset, &mut bytes)
                .map_err(cannot_read)?;
            let header = BlockHeader::parse(&bytes).map_err(|what| damaged(offset, what))?;
            check_order(&summary, blocks.last(), &header).map_err(|what| damaged(offset, what))?;
            blocks.push((offset, header));
            offset += BLOCK_HEADER_BYTES as u64 + u64::from(header.stored_len);
            if offset > end {
                return Err(damaged(offset, "a block goes beyond the end of the file"));
            }
        }
        if offset != end {
            return Err(damaged(offset, "the file goes on after its last block"));
        }
        Ok(Self {
            file,
            summary,
            blocks,
        })
    }

    /// What the skeleton says of its layer.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Checks the whole file against the checksum at its end. Reads all of it.
    pub fn check(&self) -> Result<(), Error> {
        const STEP: u64 = 256 << 10;
        let end = self.summary.file_len - CHECKSUM_BYTES as u64;
        let mut buffer = vec![0; usize::try_from(STEP).expect("a small constant")];
        let (mut offset, mut checksum) = (0, 0);
        while offset < end {
            let step = usize::try_from(STEP.min(end - offset)).expect("at most a small constant");
            self.file
                .read_exact_at(offset, &mut buffer[..step])
                .map_err(cannot_read)?;
            checksum = crc32c::crc32c_append(checksum, &buffer[..step]);
            offset += step as u64;
        }
        let mut stated = [0; CHECKSUM_BYTES];
        self.file
            .read_exact_at(end, &mut stated)
            .map_err(cannot_read)?;
        if u32::from_le_bytes(stated) == checksum {
            Ok(())
        } else {
            Err(damaged(end, "the checksum of the file is wrong"))
        }
    }

    /// How many blocks there are.
    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The block that has a byte of the tar.
    pub(crate) fn block_at(&self, tar_offset: u64) -> Option<usize> {
        self.blocks
            .partition_point(|(_, header)| header.tar_offset <= tar_offset)
            .checked_sub(1)
    }

    /// Reads and decodes a block.
    pub(crate) fn block(&self, index: usize) -> Result<Block, Error> {
        let (offset, header) = &self.blocks[index];
        let mut stored = vec![0; header.stored_len as usize];
        let payload = offset + BLOCK_HEADER_BYTES as u64;
        self.file
            .read_exact_at(payload, &mut stored)
            .map_err(cannot_read)?;
        let block = Block::decode(header, &stored).map_err(|what| damaged(*offset, what))?;
        let (tar_end, data_end) = match self.blocks.get(index + 1) {
            Some((_, next)) => (next.tar_offset, next.data_offset),
            None => (self.summary.tar_len, self.summary.data_len),
        };
        let last = index + 1 == self.blocks.len();
        let ends = block.tar_end == tar_end
            && (block.data_end == data_end || last && block.data_end <= data_end);
        if ends {
            Ok(block)
        } else {
            Err(damaged(*offset, "a block ends where none begins"))
        }
    }
}

fn read_header<S: ReadAt>(file: &S) -> Result<(Summary, u32), Error> {
    let mut bytes = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut bytes).map_err(cannot_read)?;
    let small =
        |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().expect("offsets are constants"));
    let large =
        |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("offsets are constants"));
    if bytes[..8] != MAGIC {
        return Err(damaged(0, "it does not begin as a skeleton"));
    }
    if small(8) != VERSION {
        return Err(Error::SkeletonVersion {
            found: small(8),
            known: VERSION,
        });
    }
    if crc32c::crc32c(&bytes[..52]) != small(52) {
        return Err(damaged(0, "the checksum of the header is wrong"));
    }
    let summary = Summary {
        file_len: large(16),
        tar_len: large(24),
        data_len: large(32),
        entries: large(40),
    };
    if summary.file_len < (HEADER_BYTES + CHECKSUM_BYTES) as u64 {
        return Err(damaged(0, "it is shorter than its header"));
    }
    Ok((summary, small(48)))
}

/// Blocks follow each other in the tar and in `data`, from the start of both.
fn check_order(
    summary: &Summary,
    before: Option<&(u64, BlockHeader)>,
    header: &BlockHeader,
) -> Result<(), Problem> {
    let in_order = match before {
        None => header.tar_offset == 0 && header.data_offset == 0,
        Some((_, before)) => {
            header.tar_offset > before.tar_offset && header.data_offset >= before.data_offset
        }
    };
    let inside = header.tar_offset < summary.tar_len && header.data_offset <= summary.data_len;
    if in_order && inside {
        Ok(())
    } else {
        Err("blocks are out of order")
    }
}

fn damaged(offset: u64, what: Problem) -> Error {
    Error::SkeletonDamaged { offset, what }
}

fn cannot_read(source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return damaged(0, "it is shorter than it says");
    }
    Error::Io {
        action: "read the skeleton",
        source,
    }
}
