//! What is read from an ext4 superblock: how much is free, and whether something went wrong.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::BLOCK;
use crate::room::error::io;
use crate::room::{Error, Result};

/// Inodes that ext4 keeps for itself, less the root directory, which is the room's.
pub(super) const RESERVED_INODES: u64 = 9;

/// An excerpt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Superblock {
    /// All blocks.
    pub(super) blocks: u64,
    /// Blocks that nothing uses.
    pub(super) free: u64,
    pub(super) inodes: u64,
    pub(super) inodes_free: u64,
    /// The kernel found an inconsistency, or could not write, since it was checked last.
    pub(super) has_errors: bool,
    pub(super) has_journal: bool,
}

const OFFSET: u64 = 1024;
const MAGIC: u16 = 0xEF53;
const STATE_ERRORS: u16 = 2;
const HAS_JOURNAL: u64 = 4;
/// A bitmap of one block tells which are free.
pub(super) const BLOCKS_PER_GROUP: u64 = 8 * BLOCK;
/// Inodes of 256 bytes.
pub(super) const INODES_PER_BLOCK: u64 = BLOCK / 256;

impl Superblock {
    pub(super) fn read(file: &File, path: &Path) -> Result<Self> {
        let mut bytes = [0; 1024];
        file.read_exact_at(&mut bytes, OFFSET)
            .map_err(io("read the superblock of", path))?;
        Self::decode(&bytes).ok_or_else(|| Error::Damaged {
            path: path.to_owned(),
            told: "it has no ext4 superblock".to_owned(),
        })
    }

    fn decode(bytes: &[u8; 1024]) -> Option<Self> {
        let half = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let word = |at: usize| u64::from(half(at)) | u64::from(half(at + 2)) << 16;
        let log_block_size = word(0x18);
        if half(0x38) != MAGIC || log_block_size != 2 {
            return None;
        }
        Some(Self {
            blocks: word(0x04) | word(0x150) << 32,
            free: word(0x0C) | word(0x158) << 32,
            inodes: word(0x00),
            inodes_free: word(0x10),
            has_errors: half(0x3A) & STATE_ERRORS != 0,
            has_journal: word(0x5C) & HAS_JOURNAL != 0,
        })
    }

    pub(super) fn inodes_used(&self) -> u64 {
        self.inodes.saturating_sub(self.inodes_free)
    }

    /// Inodes of one group of blocks.
    pub(super) fn inodes_per_group(&self) -> u64 {
        self.inodes / self.blocks.div_ceil(BLOCKS_PER_GROUP).max(1)
    }
}

/// Inodes of a file system with so many blocks.
pub(super) fn inodes_for(blocks: u64, per_group: u64) -> u64 {
    blocks.div_ceil(BLOCKS_PER_GROUP) * per_group
}

/// Blocks that the kernel keeps back, so that it can always finish what it promised.
pub(super) fn kept_back(blocks: u64) -> u64 {
    (blocks / 50).min(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_from_both_halves() {
        let mut bytes = [0; 1024];
        bytes[0x38..0x3A].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[0x18] = 2;
        bytes[0x04] = 7;
        bytes[0x150] = 1;
        bytes[0x0C] = 5;
        bytes[0x3A] = 3;
        let found = Superblock::decode(&bytes).unwrap();
        assert_eq!(found.blocks, (1 << 32) + 7);
        assert_eq!(found.free, 5);
        assert!(found.has_errors);
    }

    #[test]
    fn what_is_no_ext4_is_none() {
        assert_eq!(Superblock::decode(&[0; 1024]), None);
    }
}
