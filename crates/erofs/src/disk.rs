//! The fixed-size records of EROFS, as bytes.
//!
//! Only what this crate writes is here; a field that is not named is zero. All numbers are
//! little-endian.

use lapstrake_tree::model::{BLOCK, Device, Timestamp};

/// [`BLOCK`] for in-memory lengths.
pub(crate) const BLOCK_LEN: usize = 4096;
/// log2 of [`BLOCK`].
pub(crate) const BLOCK_BITS: u8 = 12;
const _: () = assert!(1 << BLOCK_BITS == BLOCK && BLOCK_LEN == 1 << BLOCK_BITS);

/// Where the superblock is.
pub(crate) const SUPER_OFFSET: usize = 1024;
/// Where the device table is: the first 128-byte slot after the superblock.
pub(crate) const DEVICE_OFFSET: usize = SUPER_OFFSET + 128;
/// Length of a device slot.
pub(crate) const DEVICE_LEN: usize = 128;
/// Where inodes may begin.
pub(crate) const INODES_OFFSET: usize = DEVICE_OFFSET + DEVICE_LEN;
/// Inodes are at multiples of this; the quotient is the inode number.
pub(crate) const SLOT: u64 = 32;
/// Length of a compact inode.
pub(crate) const COMPACT_LEN: usize = 32;
/// Length of an extended inode.
pub(crate) const EXTENDED_LEN: usize = 64;
/// Length of a directory entry without its name.
pub(crate) const DIRENT_LEN: usize = 12;
/// Length of the header before an inode's attributes.
pub(crate) const XATTR_HEADER_LEN: usize = 12;
/// Length of one attribute without name and value.
pub(crate) const XATTR_ENTRY_LEN: usize = 4;
/// A chunk that is a hole.
pub(crate) const NULL_BLOCK: u32 = u32::MAX;
/// Longest symbolic link target the kernel follows.
pub(crate) const LINK_MAX: usize = 4095;
/// Longest file name.
pub(crate) const NAME_MAX: usize = 255;

const MAGIC: u32 = 0xE0F5_E1E2;
const COMPAT_CHECKSUM: u32 = 0x1;
const COMPAT_MTIME: u32 = 0x2;
const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
const INCOMPAT_DEVICE_TABLE: u32 = 0x8;

/// The superblock and, when there is data, the one slot of the device table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub(crate) root_nid: u16,
    pub(crate) inodes: u64,
    pub(crate) epoch: Timestamp,
    pub(crate) blocks: u32,
    pub(crate) xattr_block: u32,
    pub(crate) uuid: [u8; 16],
    /// Blocks of the data file; none means no device.
    pub(crate) data_blocks: u32,
    /// Whether any inode is chunk-based.
    pub(crate) chunked: bool,
}

impl Superblock {
    /// Writes superblock and device table into the first block, with a zero checksum.
    pub(crate) fn encode(&self, block: &mut [u8]) {
        let sb = &mut block[SUPER_OFFSET..DEVICE_OFFSET];
        put(sb, 0, &MAGIC.to_le_bytes());
        put(sb, 8, &(COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        put(sb, 12, &[BLOCK_BITS]);
        put(sb, 14, &self.root_nid.to_le_bytes());
        put(sb, 16, &self.inodes.to_le_bytes());
        put(sb, 24, &self.epoch.seconds.to_le_bytes());
        put(sb, 32, &self.epoch.nanoseconds.to_le_bytes());
        put(sb, 36, &self.blocks.to_le_bytes());
        put(sb, 44, &self.xattr_block.to_le_bytes());
        put(sb, 48, &self.uuid);
        put(sb, 80, &self.incompat().to_le_bytes());
        if self.data_blocks > 0 {
            put(sb, 86, &1_u16.to_le_bytes());
            put(sb, 88, &Self::TABLE_SLOT.to_le_bytes());
            let slot = &mut block[DEVICE_OFFSET..DEVICE_OFFSET + DEVICE_LEN];
            put(slot, 64, &self.data_blocks.to_le_bytes());
            // The data's blocks are addressed right after the index's own.
            put(slot, 68, &self.blocks.to_le_bytes());
        }
    }

    const TABLE_SLOT: u16 = 9;

    fn incompat(&self) -> u32 {
        let chunked = if self.chunked {
            INCOMPAT_CHUNKED_FILE
        } else {
            0
        };
        let device = if self.data_blocks > 0 {
            INCOMPAT_DEVICE_TABLE
        } else {
            0
        };
        chunked | device
    }

    /// Reads what [`Self::encode`] wrote, or says what is not as it writes it.
    pub(crate) fn decode(block: &[u8]) -> Result<Self, (&'static str, usize)> {
        let sb = &block[SUPER_OFFSET..DEVICE_OFFSET];
        if get_u32(sb, 0) != MAGIC {
            return Err(("no EROFS magic number", SUPER_OFFSET));
        }
        if get_u32(sb, 4) != checksum(block) {
            return Err(("the superblock's checksum does not match", SUPER_OFFSET + 4));
        }
        let incompat = get_u32(sb, 80);
        let has_device = incompat & INCOMPAT_DEVICE_TABLE != 0;
        let slot = &block[DEVICE_OFFSET..DEVICE_OFFSET + DEVICE_LEN];
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&sb[48..64]);
        let read = Self {
            root_nid: get_u16(sb, 14),
            inodes: get_u64(sb, 16),
            epoch: Timestamp {
                seconds: get_u64(sb, 24).cast_signed(),
                nanoseconds: get_u32(sb, 32),
            },
            blocks: get_u32(sb, 36),
            xattr_block: get_u32(sb, 44),
            uuid,
            data_blocks: if has_device { get_u32(slot, 64) } else { 0 },
            chunked: incompat & INCOMPAT_CHUNKED_FILE != 0,
        };
        // Whatever else the two records could say would be something this crate never says.
        let mut again = [0; INODES_OFFSET];
        read.encode(&mut again);
        put(&mut again, SUPER_OFFSET + 4, &sb[4..8]);
        let kept = if has_device {
            INODES_OFFSET
        } else {
            DEVICE_OFFSET
        };
        match again[..kept]
            .iter()
            .zip(block)
            .position(|(ours, theirs)| ours != theirs)
        {
            Some(at) => Err(("a field has a value that is never written", at)),
            None => Ok(read),
        }
    }
}

/// The checksum of the first block, whatever its checksum field holds now.
pub(crate) fn checksum(block: &[u8]) -> u32 {
    let covered = &block[SUPER_OFFSET..BLOCK_LEN];
    let magic = crc32c::crc32c(&covered[..4]);
    let zeroed = crc32c::crc32c_append(magic, &[0; 4]);
    // The kernel's crc32c leaves out the final inversion.
    !crc32c::crc32c_append(zeroed, &covered[8..])
}

/// Stores the checksum of the first block in it.
pub(crate) fn seal(block: &mut [u8]) {
    let sum = checksum(block);
    put(block, SUPER_OFFSET + 4, &sum.to_le_bytes());
}

/// How an inode's bytes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataLayout {
    /// Consecutive blocks.
    Plain,
    /// Consecutive blocks, but the last, partial one follows the inode.
    Inline,
    /// Block addresses by chunk follow the inode.
    Chunked,
}

impl DataLayout {
    fn code(self) -> u16 {
        match self {
            Self::Plain => 0,
            Self::Inline => 2,
            Self::Chunked => 4,
        }
    }

    fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Plain),
            2 => Some(Self::Inline),
            4 => Some(Self::Chunked),
            _ => None,
        }
    }
}

/// An inode of either size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inode {
    pub(crate) layout: DataLayout,
    pub(crate) xattr_count: u16,
    /// With the file type.
    pub(crate) mode: u16,
    pub(crate) links: u32,
    pub(crate) size: u64,
    /// First block, chunk format or device number, as type and layout say.
    pub(crate) place: u32,
    /// Only shown by 32-bit kernels.
    pub(crate) number: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
}

impl Inode {
    /// Whether 32 bytes say everything. A compact inode's time is the epoch: kernels before 6.15
    /// ignore its time field.
    pub(crate) fn is_compact(&self, epoch: Timestamp) -> bool {
        self.mtime == epoch
            && u16::try_from(self.uid).is_ok()
            && u16::try_from(self.gid).is_ok()
            && u16::try_from(self.links).is_ok()
            && u32::try_from(self.size).is_ok()
    }

    /// Length on disk.
    pub(crate) fn len(&self, epoch: Timestamp) -> usize {
        if self.is_compact(epoch) {
            COMPACT_LEN
        } else {
            EXTENDED_LEN
        }
    }

    /// Appends the inode.
    pub(crate) fn encode(&self, epoch: Timestamp, out: &mut Vec<u8>) {
        let start = out.len();
        let extended = u16::from(!self.is_compact(epoch));
        out.extend((extended | self.layout.code() << 1).to_le_bytes());
        out.extend(self.xattr_count.to_le_bytes());
        out.extend(self.mode.to_le_bytes());
        if extended == 0 {
            out.extend(&self.links.to_le_bytes()[..2]);
            out.extend(&self.size.to_le_bytes()[..4]);
            out.extend([0; 4]);
            out.extend(self.place.to_le_bytes());
            out.extend(self.number.to_le_bytes());
            out.extend(&self.uid.to_le_bytes()[..2]);
            out.extend(&self.gid.to_le_bytes()[..2]);
            out.extend([0; 4]);
            debug_assert_eq!(out.len() - start, COMPACT_LEN);
        } else {
            out.extend([0; 2]);
            out.extend(self.size.to_le_bytes());
            out.extend(self.place.to_le_bytes());
            out.extend(self.number.to_le_bytes());
            out.extend(self.uid.to_le_bytes());
            out.extend(self.gid.to_le_bytes());
            out.extend(self.mtime.seconds.to_le_bytes());
            out.extend(self.mtime.nanoseconds.to_le_bytes());
            out.extend(self.links.to_le_bytes());
            out.extend([0; 16]);
            debug_assert_eq!(out.len() - start, EXTENDED_LEN);
        }
    }

    /// Reads an inode and its length. Nothing if the bytes end early or name an unknown format.
    pub(crate) fn decode(bytes: &[u8], epoch: Timestamp) -> Option<(Self, usize)> {
        let compact = bytes.get(..COMPACT_LEN)?;
        let format = get_u16(compact, 0);
        if format > 0b1111 {
            return None;
        }
        let common = Self {
            layout: DataLayout::from_code(format >> 1)?,
            xattr_count: get_u16(compact, 2),
            mode: get_u16(compact, 4),
            links: u32::from(get_u16(compact, 6)),
            size: u64::from(get_u32(compact, 8)),
            place: get_u32(compact, 16),
            number: get_u32(compact, 20),
            uid: u32::from(get_u16(compact, 24)),
            gid: u32::from(get_u16(compact, 26)),
            mtime: epoch,
        };
        if format & 1 == 0 {
            return Some((common, COMPACT_LEN));
        }
        let extended = bytes.get(..EXTENDED_LEN)?;
        let inode = Self {
            links: get_u32(extended, 44),
            size: get_u64(extended, 8),
            uid: get_u32(extended, 24),
            gid: get_u32(extended, 28),
            mtime: Timestamp {
                seconds: get_u64(extended, 32).cast_signed(),
                nanoseconds: get_u32(extended, 40),
            },
            ..common
        };
        Some((inode, EXTENDED_LEN))
    }
}

/// What an inode is, in both of EROFS' encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileType {
    Regular,
    Directory,
    CharDevice,
    BlockDevice,
    Fifo,
    Symlink,
}

impl FileType {
    /// In a directory entry.
    pub(crate) fn entry_code(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Directory => 2,
            Self::CharDevice => 3,
            Self::BlockDevice => 4,
            Self::Fifo => 5,
            Self::Symlink => 7,
        }
    }

    /// In an inode's mode.
    pub(crate) fn mode_bits(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::CharDevice => 0o020_000,
            Self::Directory => 0o040_000,
            Self::BlockDevice => 0o060_000,
            Self::Regular => 0o100_000,
            Self::Symlink => 0o120_000,
        }
    }

    /// From an inode's mode.
    pub(crate) fn from_mode(mode: u16) -> Option<Self> {
        [
            Self::Regular,
            Self::Directory,
            Self::CharDevice,
            Self::BlockDevice,
            Self::Fifo,
            Self::Symlink,
        ]
        .into_iter()
        .find(|kind| kind.mode_bits() == mode & 0o170_000)
    }
}

/// The kernel's 32-bit form of a device number: 12 bits of major, 20 of minor, minor's low byte
/// first. Nothing for numbers beyond that.
pub(crate) fn encode_device(device: Device) -> Option<u32> {
    let Device { major, minor } = device;
    (major <= 0xfff && minor <= 0xf_ffff)
        .then_some((minor & 0xff) | (major << 8) | ((minor & 0xf_ff00) << 12))
}

/// Reverses [`encode_device`].
pub(crate) fn decode_device(code: u32) -> Device {
    Device {
        major: (code >> 8) & 0xfff,
        minor: (code & 0xff) | ((code >> 12) & 0xf_ff00),
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// # Panics
/// If the bytes end early, as the two below: callers check lengths of whole records first.
pub(crate) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get_u16(bytes, at)) | u32::from(get_u16(bytes, at + 2)) << 16
}

pub(crate) fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from(get_u32(bytes, at)) | u64::from(get_u32(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_the_kernels() {
        let check = |major, minor, want| {
            let device = Device { major, minor };
            assert_eq!(encode_device(device), Some(want));
            assert_eq!(decode_device(want), device);
        };
        check(0, 0, 0);
        check(1, 3, 0x103);
        check(8, 257, 0x10_0801);
        check(4095, 1_048_575, u32::MAX);
        assert_eq!(
            encode_device(Device {
                major: 4096,
                minor: 0
            }),
            None
        );
        assert_eq!(
            encode_device(Device {
                major: 0,
                minor: 1 << 20
            }),
            None
        );
    }
}
