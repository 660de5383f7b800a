//! What can go wrong with files in and out. Clients look at the words of some: they are Docker's.

use std::io;

use rustix::io::Errno;

use super::walk::shown;

pub(super) type Result<T> = std::result::Result<T, Error>;

/// Why files don't come in or out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing at the path.
    #[error("Could not find the file {0} in the container")]
    NotFound(String),
    /// A path that goes on behind something that is no directory.
    #[error("{0}: not a directory")]
    NotADirectory(String),
    /// More links than any sane path has.
    #[error("{0}: too many levels of symbolic links")]
    Loop(String),
    /// Deeper than a process may hold open.
    #[error("{0}: directories are nested too deeply")]
    TooDeep(String),
    /// Files are put into directories.
    #[error("extraction point is not a directory")]
    NoDirectory,
    /// The container may not write there either.
    #[error("container rootfs is marked read-only")]
    ReadOnlyRoot,
    /// The container may not write there either.
    #[error("mounted volume is marked read-only")]
    ReadOnlyVolume,
    /// A directory is not replaced by something else.
    #[error("cannot overwrite directory {path:?} with non-directory {directory:?}")]
    DirectoryThere {
        /// Where.
        path: String,
        /// The directory that the tar is put in.
        directory: String,
    },
    /// Something else is not replaced by a directory.
    #[error("cannot overwrite non-directory {path:?} with directory {directory:?}")]
    NoDirectoryThere {
        /// Where.
        path: String,
        /// The directory that the tar is put in.
        directory: String,
    },
    /// An entry whose name leaves the directory that it is put in.
    #[error("{name:?} is outside of {directory:?}")]
    Outside {
        /// The name.
        name: String,
        /// The directory.
        directory: String,
    },
    /// A hard link to something outside of the directory that it is put in.
    #[error("invalid hardlink {name:?} -> {target:?}")]
    LinkOutside {
        /// The name.
        name: String,
        /// What it was to be another name of.
        target: String,
    },
    /// A symbolic link that leads out of the directory that it is put in. It would do no harm, but Docker has
    /// none of it either.
    #[error("invalid symlink {name:?} -> {target:?}")]
    SymlinkOutside {
        /// The link.
        name: String,
        /// Where it leads.
        target: String,
    },
    /// Something is mounted there.
    #[error("{0}: device or resource busy")]
    Busy(String),
    /// The tar is none, or not sound.
    #[error(transparent)]
    Tar(#[from] lapstrake_tree::error::Error),
    /// The reader of the tar went away, or the disk is full, or the like.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// The verb.
        action: &'static str,
        /// On what, as the container names it.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// What kind of answer an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is not there.
    NotFound,
    /// It can't be so.
    Invalid,
    /// No space or quota left.
    ResourceExhausted,
    /// The machine failed.
    Internal,
}

impl Error {
    /// What kind of answer this is.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound(_) => Class::NotFound,
            Self::NoDirectory
            | Self::ReadOnlyRoot
            | Self::ReadOnlyVolume
            | Self::DirectoryThere { .. }
            | Self::NoDirectoryThere { .. }
            | Self::NotADirectory(_)
            | Self::Outside { .. }
            | Self::LinkOutside { .. }
            | Self::SymlinkOutside { .. } => Class::Invalid,
            Self::Tar(error) => match error {
                lapstrake_tree::error::Error::Io { .. } => Class::Internal,
                _ => Class::Invalid,
            },
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Class::ResourceExhausted
                }
                _ => Class::Internal,
            },
            Self::Loop(_) | Self::TooDeep(_) | Self::Busy(_) => Class::Internal,
        }
    }
}

/// Says what was done to which path when the kernel refused.
pub(super) fn refused(action: &'static str, path: &[Box<[u8]>]) -> impl FnOnce(Errno) -> Error {
    let path = shown(path);
    move |errno| match errno {
        Errno::NOENT => Error::NotFound(path),
        Errno::NOTDIR => Error::NotADirectory(path),
        errno => Error::Io {
            action,
            path,
            source: errno.into(),
        },
    }
}
