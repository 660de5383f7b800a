//! Whether a store is what its records say, without reading what is in it.
//!
//! ```text
//! foundations ── format files, the database: can the store be opened at all?
//! facts   ── records, and what lies on disk: names, lengths, the first hole of each `data`
//! plan        ── a pure comparison of the two: findings
//! ```
//!
//! What it keeps true: it changes nothing, and a finding names the one thing that is wrong. Bytes are
//! for those who know what they mean; their findings have the same form.

mod facts;
mod foundations;
mod plan;
mod salvage;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use lapstrake_oci::{DiffId, Digest};

pub use facts::{Facts, FileFacts, FoundLayer};
pub use foundations::{Mending, foundations, mend_foundations};
pub use plan::{Wanted, plan};

/// Something in a store that can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A file that says what a directory is.
    Format(PathBuf),
    /// The state database.
    Database(PathBuf),
    /// An image's name.
    Image(String),
    /// A writable layer, by its name.
    Writable(String),
    /// A document.
    Blob(Digest),
    /// All of a layer.
    Layer(DiffId),
    /// A layer's record.
    Record(DiffId),
    /// The contents of a layer's files.
    Data(DiffId),
    /// The rest of its tar.
    Skeleton(DiffId),
    /// How it is made again.
    Spans(DiffId),
    /// A layer's index.
    Index(DiffId),
    /// Something that has no place in a store.
    Stray(PathBuf),
}

impl Part {
    /// The layer that it is of.
    pub fn layer(&self) -> Option<&DiffId> {
        match self {
            Self::Layer(id)
            | Self::Record(id)
            | Self::Data(id)
            | Self::Skeleton(id)
            | Self::Spans(id)
            | Self::Index(id) => Some(id),
            Self::Format(_)
            | Self::Database(_)
            | Self::Image(_)
            | Self::Writable(_)
            | Self::Blob(_)
            | Self::Stray(_) => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(path) => write!(f, "format file {}", path.display()),
            Self::Database(path) => write!(f, "state database {}", path.display()),
            Self::Image(name) => write!(f, "image {name}"),
            Self::Writable(name) => write!(f, "writable layer {name}"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Layer(id) => write!(f, "layer {id}"),
            Self::Record(id) => write!(f, "record of layer {id}"),
            Self::Data(id) => write!(f, "data of layer {id}"),
            Self::Skeleton(id) => write!(f, "skeleton of layer {id}"),
            Self::Spans(id) => write!(f, "spans of layer {id}"),
            Self::Index(id) => write!(f, "index of layer {id}"),
            Self::Stray(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It refers to something that is not there.
    Dangling(String),
    /// It has another length than it should.
    Length {
        /// In bytes.
        want: u64,
        /// In bytes.
        got: u64,
    },
    /// The file system says that there are no bytes from here on, where there should be.
    Hole {
        /// In bytes.
        at: u64,
    },
    /// It can't be read.
    Unreadable(String),
    /// Its bytes are not what they should be.
    Damaged(String),
    /// A crash came before it was known to be on disk, and nobody has looked since.
    Doubtful,
    /// Nothing refers to it.
    Unclaimed,
}

impl Fault {
    /// Whether something is lost or may be; else there is only something to tidy or to look at.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Unclaimed | Self::Doubtful)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "is missing"),
            Self::Dangling(what) => write!(f, "refers to {what}, which is not here"),
            Self::Length { want, got } => write!(f, "has {got} bytes instead of {want}"),
            Self::Hole { at } => write!(f, "has a hole at byte {at}"),
            Self::Unreadable(why) => write!(f, "cannot be read: {why}"),
            Self::Damaged(why) => write!(f, "is damaged: {why}"),
            Self::Doubtful => write!(f, "was not known to be on disk before a crash"),
            Self::Unclaimed => write!(f, "is referred to by nothing"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// With what.
    pub part: Part,
    /// What.
    pub fault: Fault,
}

impl Finding {
    /// Says what is wrong with a part.
    pub fn new(part: Part, fault: Fault) -> Self {
        Self { part, fault }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.part, self.fault)
    }
}

/// Opens a file whose bytes are then read from the disk, as far as the kernel lets go of those that it
/// holds in memory: what is damaged on disk may look sound there, and the other way round.
///
/// # Errors
/// If it can't be opened.
pub fn open_past_cache(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    // Only a request: pages in use stay.
    let _asked = lapstrake_sys::file::drop_cache(file.as_fd());
    Ok(file)
}
