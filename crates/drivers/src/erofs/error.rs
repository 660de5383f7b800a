//! Why a stack cannot be mounted or unmounted.

use std::io;
use std::path::PathBuf;

use lapstrake_sys::{loopdev, mount};

/// A variant for each thing a caller could do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer's id is not hex.
    #[error("layer id {id:?} is not lower-case hex of at least 32 digits")]
    BadId {
        /// The id.
        id: String,
    },
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
        /// The id.
        id: String,
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
        source: io::Error,
    },
}

/// Result of this driver.
pub type Result<T> = std::result::Result<T, Error>;

/// Names the action and the object of a failed system call.
pub(super) fn io(
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
pub(super) fn std_io(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
