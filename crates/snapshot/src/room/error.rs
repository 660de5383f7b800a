//! Why a room cannot be made, used or changed.

use std::io;
use std::path::PathBuf;

use lapstrake_sys::{loopdev, mount};
use rustix::io::Errno;

use super::{Limit, RoomId};

/// A variant for each thing a caller could do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot name a room.
    #[error(
        "{0:?} cannot name a writable layer: use at most 255 letters, digits, '-', '_' and '.', and begin with a letter or digit"
    )]
    Name(String),
    /// A size that is none.
    #[error("{0:?} is no size: write bytes, or a number with k, m, g, t or p (powers of 1024)")]
    Size(String),
    /// A storage option that nobody knows.
    #[error("unknown storage option {0:?}: a writable layer knows size=SIZE and inodes=NUMBER")]
    Option(String),
    /// The name is taken.
    #[error("there is a writable layer {0} already")]
    Exists(RoomId),
    /// No such room.
    #[error("there is no writable layer {0}")]
    Missing(RoomId),
    /// What was asked cannot be done while something uses the room.
    #[error("cannot {action} writable layer {id} while it is in use: stop its container first")]
    InUse {
        /// The room.
        id: RoomId,
        /// What was asked.
        action: &'static str,
    },
    /// Nothing here can hold a room to this limit.
    #[error("cannot limit a writable layer to {limit} here: {}", reasons.join("; "))]
    Unlimitable {
        /// The limit.
        limit: Limit,
        /// Why not, one for each way to do it.
        reasons: Vec<String>,
    },
    /// The kind of room that was asked for cannot be made here.
    #[error("cannot make a writable layer by {by} here: {reason}")]
    Unsuitable {
        /// The kind.
        by: &'static str,
        /// Why not.
        reason: String,
    },
    /// The limit is smaller than what a file system of its own needs.
    #[error("{bytes} bytes are too few for a writable layer in an image file: at least {min}")]
    TooSmall {
        /// What was asked for.
        bytes: u64,
        /// The least.
        min: u64,
    },
    /// More is used than the new limit allows.
    #[error("writable layer {id} uses {used} bytes, more than {limit}: remove files in it first")]
    UsesMore {
        /// The room.
        id: RoomId,
        /// What it uses.
        used: u64,
        /// What it was to be limited to.
        limit: u64,
    },
    /// In an image file, inodes come with bytes.
    #[error(
        "the inodes of writable layer {id} come with its size: for {bytes} bytes they are {inodes}"
    )]
    InodesFixed {
        /// The room.
        id: RoomId,
        /// The new size.
        bytes: u64,
        /// The limit on inodes that goes with it.
        inodes: u64,
    },
    /// A room that has no limit cannot get this one.
    #[error(
        "writable layer {id} was made as {kind}, which cannot be limited to {limit}: make a new one with a limit"
    )]
    Fixed {
        /// The room.
        id: RoomId,
        /// What it is.
        kind: &'static str,
        /// What it was to be limited to.
        limit: Limit,
    },
    /// The image of a room is damaged.
    #[error("the image {} of a writable layer is damaged ({told}): run e2fsck on it", path.display())]
    Damaged {
        /// The image.
        path: PathBuf,
        /// What was found.
        told: String,
    },
    /// A program is not installed.
    #[error("{program} is not installed: it is in the package e2fsprogs")]
    NoProgram {
        /// The program.
        program: &'static str,
    },
    /// A program failed.
    #[error("{program} failed on {}: {told}", path.display())]
    Program {
        /// The program.
        program: &'static str,
        /// On what.
        path: PathBuf,
        /// What it wrote.
        told: String,
    },
    /// A mount step failed.
    #[error("writable layer at {}", path.display())]
    Mount {
        /// What was being mounted.
        path: PathBuf,
        /// Why not.
        #[source]
        source: mount::Error,
    },
    /// A loop device failed.
    #[error("cannot use {} as a block device", path.display())]
    Loop {
        /// The image.
        path: PathBuf,
        /// Why not.
        #[source]
        source: loopdev::Error,
    },
    /// A file or directory could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What kind of answer an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The object is not there.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// Not now, or not here.
    FailedPrecondition,
    /// What was asked for is nonsense.
    Invalid,
    /// Bytes are wrong.
    DataLoss,
    /// No space or quota left.
    ResourceExhausted,
    /// The machine, or this program, failed.
    Internal,
}

impl Error {
    /// What kind of answer this is.
    pub fn class(&self) -> Class {
        match self {
            Self::Name(_) | Self::Size(_) | Self::Option(_) | Self::TooSmall { .. } => {
                Class::Invalid
            }
            Self::Exists(_) => Class::AlreadyExists,
            Self::Missing(_) => Class::NotFound,
            Self::InUse { .. }
            | Self::Unlimitable { .. }
            | Self::Unsuitable { .. }
            | Self::UsesMore { .. }
            | Self::InodesFixed { .. }
            | Self::Fixed { .. }
            | Self::NoProgram { .. } => Class::FailedPrecondition,
            Self::Damaged { .. } => Class::DataLoss,
            Self::Io { source, .. } => match Errno::from_io_error(source) {
                Some(Errno::NOSPC | Errno::DQUOT) => Class::ResourceExhausted,
                _ => Class::Internal,
            },
            Self::Program { .. } | Self::Mount { .. } | Self::Loop { .. } => Class::Internal,
        }
    }
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the action and the object of a failed call.
pub(super) fn io<E: Into<io::Error>>(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(E) -> Error {
    let path = path.into();
    move |source| Error::Io {
        action,
        path,
        source: source.into(),
    }
}
