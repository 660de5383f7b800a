//! What can go wrong in the store, by what a caller could do about it.

use std::io;
use std::path::{Path, PathBuf};

use lapstrake_oci::{DiffId, Digest};

use crate::owner::Holder;

/// The store's results.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The blob was never stored, or was removed.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// Bytes are not what their name says.
    #[error("blob {want} arrived as {got}: the bytes were damaged or replaced on the way")]
    Mismatch {
        /// The name.
        want: Digest,
        /// What the bytes hash to.
        got: Digest,
    },
    /// A layer's tar is not what the image's config says.
    #[error(
        "layer {want} arrived as {got}: the blob does not hold the layer that the config names"
    )]
    LayerMismatch {
        /// The diff id in the config.
        want: DiffId,
        /// What the tar hashes to.
        got: DiffId,
    },
    /// A blob on disk no longer hashes to its name.
    #[error("blob {0} is damaged on disk: pull its image again")]
    Damaged(Digest),
    /// The state database is not what it was when the store was closed, and nobody wrote to it.
    #[error("{} is damaged on disk: lapstrake check --repair", .0.display())]
    DamagedDatabase(PathBuf),
    /// Another process owns the store.
    #[error(
        "the store at {} is in use by {}: only commands that read can run beside it",
        root.display(),
        holder.as_ref().map_or("another process".to_owned(), Holder::to_string)
    )]
    InUse {
        /// The store.
        root: PathBuf,
        /// Which process, if it has said so.
        holder: Option<Holder>,
    },
    /// There is no store to read.
    #[error("there is no store at {}: pull an image first", .0.display())]
    NoStore(PathBuf),
    /// An image whose edges an older version did not write down.
    #[error("what image {0} refers to is not written down yet, so nothing can be removed")]
    Unlinked(String),
    /// What a crash left could not be swept, so that nothing new can be told from it.
    #[error("cannot sweep what an earlier process left in the store: {0}")]
    NotSwept(String),
    /// The store was closed before an answer came.
    #[error("the store was closed meanwhile")]
    Closed,
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    NoThread(io::Error),
    /// A store made by a newer version, or not a store at all.
    #[error("{} cannot be used: {why}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        why: String,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state database refused.
    #[error("state database: cannot {action}: {source}")]
    Database {
        /// The verb.
        action: &'static str,
        /// Why.
        source: rusqlite::Error,
    },
}

/// What kind of answer an error is, for exit codes and wire formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The object is not there.
    NotFound,
    /// Bytes are wrong.
    DataLoss,
    /// The store is not in a state to do this: in use, or of another version.
    FailedPrecondition,
    /// No space or quota left.
    ResourceExhausted,
    /// The machine failed.
    Internal,
}

impl Error {
    /// What kind of answer this is.
    pub fn class(&self) -> Class {
        match self {
            Self::Missing(_) | Self::NoStore(_) => Class::NotFound,
            Self::Mismatch { .. }
            | Self::LayerMismatch { .. }
            | Self::Damaged(_)
            | Self::DamagedDatabase(_) => Class::DataLoss,
            Self::Format { .. } | Self::InUse { .. } | Self::Unlinked(_) => {
                Class::FailedPrecondition
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    Class::ResourceExhausted
                }
                _ => Class::Internal,
            },
            Self::Database { .. } | Self::Closed | Self::NotSwept(_) | Self::NoThread(_) => {
                Class::Internal
            }
        }
    }
}

/// Names what was being done to what when an I/O error came.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
