//! The skeleton file: every byte of a layer's tar that is not a file's content, and where in `data`
//! the others are.
//!
//! ```text
//! header    magic "LPSKEL\r\n" · version u32 · reserved u32 · file length u64 · tar length u64
//!           · data length u64 · entries u64 · blocks u32 · crc32c u32 of all before it
//! block …   stored length u32 · literal length u32 · piece length u32 · crc32c u32 of the payload
//!           · tar offset u64 · data offset u64 · payload: one zstd frame
//! checksum  crc32c u32 of all before it
//! ```
//!
//! Numbers are little-endian. A payload is the block's literal bytes, then its pieces: `literals
//! varint · contents varint · (if any) move zigzag varint`. A piece says: take so many literal bytes,
//! then so many bytes of `data` from where the last piece ended, rounded up to 4096, plus the move,
//! which is zero but in sparse files. Blocks are small and stand alone, so that a reader needs little
//! memory and can begin at any of them: each says where in the tar and in `data` it begins.
//!
//! `docs/format-skeleton.md` says the same at length. A reader believes no length before it has the
//! bytes, and refuses what does not fit together.

mod block;
mod map;
mod read;
mod write;

pub use map::{Map, Piece};
pub use read::Skeleton;

pub(crate) use block::{Block, Op};
pub(crate) use write::Writer;

/// The version written, and the only one read.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LPSKEL\r\n";
const HEADER_BYTES: usize = 56;
const BLOCK_HEADER_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// Literal bytes of a block, at most.
const LITERAL_BYTES_MAX: usize = 256 << 10;
/// Bytes of pieces after which a block is closed; one more piece may follow.
const PIECE_BYTES_FULL: usize = 64 << 10;
/// Bytes of pieces of a block, at most: three varints beyond that.
const PIECE_BYTES_MAX: usize = PIECE_BYTES_FULL + 30;
/// zstd's level. Measured on tars of /usr and of 50,000 small files: see `docs/format-skeleton.md`.
const LEVEL: i32 = 1;

/// What a skeleton says of its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Length of the skeleton file, in bytes.
    pub file_len: u64,
    /// Length of the tar, in bytes.
    pub tar_len: u64,
    /// Length of `data`, in bytes; a multiple of 4096.
    pub data_len: u64,
    /// Entries of the tar, extended headers not counted.
    pub entries: u64,
}
