//! What can go wrong, and what to do about it.

use std::io;

/// Why an index could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tree says something that EROFS has no form for.
    #[error("{path}: {what}; this layer cannot be mounted with the erofs driver")]
    Unrepresentable {
        /// The entry, from the root of the layer.
        path: String,
        /// What about it.
        what: Unrepresentable,
    },
    /// Index and data together have more blocks than a block address can say.
    #[error(
        "index ({index_blocks} blocks) and data ({data_blocks} blocks) exceed the 16 TiB that EROFS \
         block addresses reach; this layer cannot be mounted with the erofs driver"
    )]
    TooLarge {
        /// 4 KiB blocks of the index.
        index_blocks: u64,
        /// 4 KiB blocks of the data file.
        data_blocks: u64,
    },
    /// The bytes are not an index as this crate writes it.
    #[error("index is damaged at byte {at}: {what}; rebuild it from the layer's skeleton")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// Where, in bytes from the start.
        at: u64,
    },
    /// The output refused bytes.
    #[error("cannot write the index")]
    Output(#[source] io::Error),
}

/// What about an entry EROFS cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrepresentable {
    /// A name is empty, `.`, `..`, longer than 255 bytes, or holds `/` or NUL.
    #[error("a name in this directory is not a file name")]
    Name,
    /// A directory has two names, or holds itself.
    #[error("a directory is linked twice")]
    DirectoryLinkedTwice,
    /// More links than 32 bits count.
    #[error("it has too many links")]
    Links,
    /// A symbolic link is empty or longer than 4,095 bytes.
    #[error("a symbolic link's target must have 1 to 4095 bytes, this has {0}")]
    LinkTarget(usize),
    /// A device number is beyond the kernel's 12 + 20 bits.
    #[error("device number {major}:{minor} is beyond 4095:1048575")]
    DeviceNumber {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Permission bits beyond `0o7777`.
    #[error("mode {0:o} has bits beyond 7777")]
    Mode(u16),
    /// Nanoseconds of a billion or more.
    #[error("its time has {0} nanoseconds")]
    Nanoseconds(u32),
    /// An attribute's value is longer than the 65,535 bytes that its length field can say.
    #[error("an extended attribute of {0} bytes is longer than 65535 bytes")]
    AttributeValue(usize),
    /// An attribute's name is longer than the kernel's 255 bytes.
    #[error("an extended attribute's name of {0} bytes is longer than 255 bytes")]
    AttributeName(usize),
    /// All attributes together exceed what one inode can hold.
    #[error("its extended attributes need {0} bytes, an inode holds 262144")]
    Attributes(u64),
    /// Contents are not at a block boundary, overlap, or are outside the data file.
    #[error("its contents are not blocks of the data file")]
    DataRange,
    /// A sparse file needs more chunks than is reasonable to list.
    #[error("a sparse file of {0} chunks has more than 67108864")]
    Chunks(u64),
    /// A size beyond what a file offset can say.
    #[error("a size of {0} bytes is beyond the kernel's largest file")]
    Size(u64),
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The layer needs another driver.
    Unsupported,
    /// The index must be rebuilt.
    Damaged,
    /// The environment failed; trying again may help.
    Io,
}

impl Error {
    /// What a caller can do about this.
    pub fn class(&self) -> Class {
        match self {
            Self::Unrepresentable { .. } | Self::TooLarge { .. } => Class::Unsupported,
            Self::Damaged { .. } => Class::Damaged,
            Self::Output(_) => Class::Io,
        }
    }
}
