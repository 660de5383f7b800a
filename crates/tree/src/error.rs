//! What can be wrong with a tar or a skeleton.

use std::io;

/// Why a tar was refused, or a skeleton could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tar ends in the middle of something.
    #[error("tar ends at byte {offset}, inside {entry}")]
    Truncated {
        /// The entry that is not whole.
        entry: String,
        /// Where the tar ends.
        offset: u64,
    },
    /// A header's checksum does not fit its bytes: a damaged tar, or not a tar.
    #[error("no valid tar header at byte {offset} (after {after})")]
    Checksum {
        /// Where the header should be.
        offset: u64,
        /// The entry before it.
        after: String,
    },
    /// A field or an extended header that cannot be read.
    #[error("tar entry {entry}: {what}")]
    Malformed {
        /// The entry.
        entry: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A number, length or count beyond what is accepted.
    #[error("tar entry {entry}: {what} exceeds the limit of {limit}")]
    Limit {
        /// The entry.
        entry: String,
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: u64,
    },
    /// A name that leaves the layer's root.
    #[error("tar entry {path} leaves the root of the layer")]
    Breakout {
        /// The name.
        path: String,
    },
    /// A name that no file can have.
    #[error("tar entry {path}: {why}")]
    Name {
        /// The name.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry below something that is not a directory.
    #[error("tar entry {path}: {parent} is not a directory in this layer")]
    ParentNotDirectory {
        /// The entry.
        path: String,
        /// What it lies in.
        parent: String,
    },
    /// A hard link to what the layer does not have before it.
    #[error(
        "hard link {path}: {target} {why}; a link can only name a file that came earlier in the same layer"
    )]
    HardLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
        /// Why it cannot.
        why: &'static str,
    },
    /// A skeleton whose format this version does not know.
    #[error("skeleton has format version {found}; this version reads {known}")]
    SkeletonVersion {
        /// What the file says.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// A skeleton whose bytes are damaged, or which disagrees with itself.
    #[error("skeleton is damaged at byte {offset}: {what}; fetch the layer again")]
    SkeletonDamaged {
        /// Where in the skeleton file.
        offset: u64,
        /// What was found.
        what: &'static str,
    },
    /// Reading or writing failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The tar itself is bad: no retry helps.
    Input,
    /// What is stored here is bad: fetch it again.
    Damaged,
    /// The system failed: free space, look at the disk, try again.
    System,
}

impl Error {
    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::SkeletonVersion { .. } | Self::SkeletonDamaged { .. } => Class::Damaged,
            Self::Io { .. } => Class::System,
            Self::Truncated { .. }
            | Self::Checksum { .. }
            | Self::Malformed { .. }
            | Self::Limit { .. }
            | Self::Breakout { .. }
            | Self::Name { .. }
            | Self::ParentNotDirectory { .. }
            | Self::HardLink { .. } => Class::Input,
        }
    }
}

/// What is wrong with an entry, before it is known which.
#[derive(Debug)]
pub(crate) enum Refusal {
    Malformed(&'static str),
    Limit { what: &'static str, limit: u64 },
}

impl From<&'static str> for Refusal {
    fn from(what: &'static str) -> Self {
        Self::Malformed(what)
    }
}

impl Refusal {
    /// The error for the entry of that name.
    pub(crate) fn of(self, entry: String) -> Error {
        match self {
            Self::Malformed(what) => Error::Malformed { entry, what },
            Self::Limit { what, limit } => Error::Limit { entry, what, limit },
        }
    }
}

/// A name from a tar, fit for a message: escaped, and cut when long.
pub(crate) fn show(name: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 200;
    let (shown, cut) = match name.get(..SHOWN_BYTES_MAX) {
        Some(start) => (start, "…"),
        None => (name, ""),
    };
    let mut text = String::from("\"");
    for chunk in shown.utf8_chunks() {
        text.extend(chunk.valid().chars().flat_map(char::escape_debug));
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text + cut + "\""
}
