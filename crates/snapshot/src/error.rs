//! Why a layer cannot be realised, or a root not mounted or unmounted.

use std::io as stdio;
use std::path::{Path, PathBuf};

use lapstrake_oci::DiffId;
use lapstrake_sys::{loopdev, mount};

use crate::Place;

/// A variant for each thing a caller could do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Overlay takes no more.
    #[error(
        "the image has {layers} layers, and overlay stacks at most {max}: rebuild it with fewer"
    )]
    TooManyLayers {
        /// How many there are.
        layers: usize,
        /// How many are possible.
        max: usize,
    },
    /// The same layer stands twice in the stack with different files.
    #[error("layer {id} stands twice in the stack with different files")]
    Ambiguous {
        /// The layer.
        id: DiffId,
    },
    /// A file is not as long as the record says; EROFS would read zeros past its end.
    #[error(
        "{} has {found} bytes where the record says {recorded}: the layer is damaged, pull it again",
        path.display()
    )]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// What the record says.
        recorded: u64,
        /// What the file has.
        found: u64,
    },
    /// An index is not there or not what the record says. It can be made again from its layer.
    #[error("{} {why}: the index must be made again", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file is something else.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A loop device would not show the end of the file.
    #[error(
        "{} needs a loop device here, and its {length} bytes are no multiple of {sector}",
        path.display()
    )]
    Unaligned {
        /// The file.
        path: PathBuf,
        /// Its length.
        length: u64,
        /// What it must be a multiple of.
        sector: u32,
    },
    /// A layer's files do not say what they should.
    #[error("layer {id} is damaged, pull it again: {what}")]
    Damaged {
        /// The layer.
        id: DiffId,
        /// What was found.
        what: String,
    },
    /// A mount needs what was not realised.
    #[error("layer {id} is not realised by {driver}: realise the stack first")]
    NotRealised {
        /// The layer.
        id: DiffId,
        /// The driver.
        driver: &'static str,
    },
    /// A mounted root uses the layer.
    #[error("layer {id} is in use by a mounted root: unmount it first (lapstrake umount)")]
    LayerInUse {
        /// The layer.
        id: DiffId,
    },
    /// The writable layer is kept in a way that this driver does not read.
    #[error(
        "the writable layer at {} is kept as {found}, which this storage driver cannot mount: use the driver that made it ({drivers})",
        place.display()
    )]
    WrongPlace {
        /// Where it is.
        place: PathBuf,
        /// What it is kept as.
        found: &'static str,
        /// Which drivers can.
        drivers: &'static str,
    },
    /// The writable layer was written by a version that knows more.
    #[error(
        "the writable layer at {} is of the unknown kind {kind:?}: use the version of lapstrake that made it",
        place.display()
    )]
    UnknownPlace {
        /// Where it is.
        place: PathBuf,
        /// What it calls itself.
        kind: String,
    },
    /// There is no writable layer.
    #[error("there is no writable layer at {}: create it first", place.display())]
    NoPlace {
        /// Where it should be.
        place: PathBuf,
    },
    /// The file system cannot hold what the layer has.
    #[error("{} cannot be kept on this file system: {why}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is missing, and what to do instead.
        why: &'static str,
    },
    /// A name under which nothing can be held.
    #[error("{key:?} cannot name what is held: use letters, digits, '-', '_' and '.', at most 128")]
    BadKey {
        /// The name.
        key: String,
    },
    /// A path that cannot be written in mount options.
    #[error(
        "{} has a comma, a colon, a quote or a backslash, and cannot be written in mount options: keep the store under a plain name",
        path.display()
    )]
    Unwritable {
        /// The path.
        path: PathBuf,
    },
    /// There is a mount at the target already.
    #[error("{} is a mount point already: unmount it first", target.display())]
    TargetTaken {
        /// The target.
        target: PathBuf,
    },
    /// No stack of this run directory is mounted there.
    #[error("no root of ours is mounted at {}", target.display())]
    NotMounted {
        /// The target.
        target: PathBuf,
    },
    /// Something still uses the root.
    #[error("{} is in use: stop what runs in it (fuser -m shows it) and try again", target.display())]
    Busy {
        /// The target.
        target: PathBuf,
    },
    /// A mount step failed.
    #[error("layer or root {object}")]
    Mount {
        /// What was being mounted.
        object: String,
        /// Why not.
        #[source]
        source: mount::Error,
    },
    /// A loop device could not be made.
    #[error("cannot make {} a block device", path.display())]
    Loop {
        /// The file.
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
        source: stdio::Error,
    },
}

/// Result of this crate and of drivers.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not as things are now: something is in use, or in the way, or not made yet.
    FailedPrecondition,
    /// What is stored is bad: fetch it again.
    DataLoss,
    /// No space, inodes or quota left.
    ResourceExhausted,
    /// This kernel or file system cannot do it.
    Unsupported,
    /// The machine, or this program, failed.
    Internal,
}

impl Error {
    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::WrongSize { .. }
            | Self::Index { .. }
            | Self::NotAFile { .. }
            | Self::Damaged { .. } => Class::DataLoss,
            Self::NotRealised { .. }
            | Self::LayerInUse { .. }
            | Self::WrongPlace { .. }
            | Self::UnknownPlace { .. }
            | Self::NoPlace { .. }
            | Self::TargetTaken { .. }
            | Self::NotMounted { .. }
            | Self::Busy { .. } => Class::FailedPrecondition,
            Self::TooManyLayers { .. }
            | Self::Unaligned { .. }
            | Self::Unsupported { .. }
            | Self::BadKey { .. }
            | Self::Unwritable { .. } => Class::Unsupported,
            Self::Io { source, .. } if is_full(source) => Class::ResourceExhausted,
            Self::Ambiguous { .. } | Self::Mount { .. } | Self::Loop { .. } | Self::Io { .. } => {
                Class::Internal
            }
        }
    }

    pub(crate) fn wrong_place(place: &Path, found: Place) -> Self {
        let (found, drivers) = match found {
            Place::Upper(_) => ("changes for overlay", "erofs or overlay2"),
            Place::Whole => ("a whole root", "vfs"),
        };
        Self::WrongPlace {
            place: place.to_owned(),
            found,
            drivers,
        }
    }

    pub(crate) fn no_place(place: &Path) -> Self {
        Self::NoPlace {
            place: place.to_owned(),
        }
    }
}

fn is_full(error: &stdio::Error) -> bool {
    matches!(
        error.kind(),
        stdio::ErrorKind::StorageFull | stdio::ErrorKind::QuotaExceeded
    )
}

/// Names the action and the object of a failed system call.
pub fn io(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(rustix::io::Errno) -> Error {
    let path = path.into();
    move |errno| Error::Io {
        action,
        path,
        source: errno.into(),
    }
}

/// The same for the standard library's errors.
pub fn std_io(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(stdio::Error) -> Error {
    let path = path.into();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
