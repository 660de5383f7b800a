//! What can go wrong in a pull, by what a caller could do about it.

use std::path::PathBuf;

use lapstrake_oci::{DiffId, Digest};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] lapstrake_registry_client::Error),
    /// The image's documents.
    #[error(transparent)]
    Image(#[from] lapstrake_oci::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] lapstrake_store::Error),
    /// The blob's compression.
    #[error(transparent)]
    Decode(#[from] lapstrake_fill::decode::Error),
    /// The span table.
    #[error(transparent)]
    Spans(#[from] lapstrake_fill::spans::RecordError),
    /// The layer's tar.
    #[error("the layer's tar: {source}")]
    Tar {
        /// What is wrong with it.
        #[from]
        source: lapstrake_tree::error::Error,
    },
    /// What a container changed cannot be told, or not be made a layer.
    #[error(transparent)]
    Changes(#[from] lapstrake_tree::changes::Error),
    /// The layer's index.
    #[error("cannot index layer {id}: {source}")]
    Index {
        /// The layer.
        id: DiffId,
        /// Why.
        source: lapstrake_erofs::Error,
    },
    /// A blob that is no layer that can be used.
    #[error("the layer in blob {blob} cannot be used: {source}")]
    Layer {
        /// The blob.
        blob: Digest,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// A blob that is not what its name says.
    #[error(
        "blob {want} of {size} bytes arrived as {received} bytes with digest {got}: it was damaged or replaced on the way"
    )]
    BlobMismatch {
        /// The name.
        want: Digest,
        /// The length that the manifest states.
        size: u64,
        /// What the bytes hash to.
        got: Digest,
        /// How many came.
        received: u64,
    },
    /// A layer in the store is not what its name says.
    #[error("layer {id} in the store is damaged ({why}); it was moved to {}: pull the image again", moved.display())]
    Damaged {
        /// The layer.
        id: DiffId,
        /// What was seen.
        why: String,
        /// Where its files are now.
        moved: PathBuf,
    },
    /// A layer's tar, while it was read to be saved, is not what its name says.
    #[error(
        "layer {id} in the store is damaged ({why}): nothing of it is to be trusted; repair it (lapstrake check --repair) or pull the image again"
    )]
    NotSound {
        /// The layer.
        id: DiffId,
        /// What was seen.
        why: String,
    },
    /// Layers whose exact blobs can't be had, though a push was to keep their digests.
    #[error("the digests can't be kept: {}", told(.0))]
    OtherDigests(Vec<NotHad>),
    /// A layer that can't be pushed, neither as it was nor compressed anew.
    #[error("layer can't be pushed: {0}")]
    NotHad(NotHad),
    /// A blob that was made again is not what it was to be.
    #[error("what was read as {want} has digest {got}")]
    OtherBlob {
        /// The name.
        want: Digest,
        /// What the bytes hash to.
        got: Digest,
    },
    /// What is written for others can't be written.
    #[error("cannot write the archive: {0}")]
    Output(std::io::Error),
    /// A file of the store cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the store cannot be repaired.
    #[error("cannot write {}: {source}{}", path.display(), hint(source))]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A span can't be made again.
    #[error(transparent)]
    Refill(#[from] lapstrake_fill::refill::Error),
    /// The system has no descriptor to give.
    #[error("cannot open a file once more: {0}")]
    Descriptor(std::io::Error),
    /// What is to be read stops giving.
    #[error("cannot read the input: {0}")]
    Input(std::io::Error),
    /// An archive of images that is no whole tar.
    #[error("the archive: {0}")]
    Archived(lapstrake_tree::error::Error),
    /// An archive whose images can't be loaded.
    #[error(transparent)]
    Archive(#[from] crate::archive::Problem),
    /// The pull was given up.
    #[error("the pull was cancelled")]
    Cancelled,
    /// The other side of a queue went away; its own error says why.
    #[error("a stage of the pull stopped early")]
    Abandoned,
    /// The system has no thread to give.
    #[error("cannot start a thread: {0}")]
    NoThread(std::io::Error),
    /// A defect in this program.
    #[error("internal error: the {0} thread panicked")]
    Panicked(&'static str),
    /// A defect in this program.
    #[error(transparent)]
    Worker(#[from] lapstrake_bridge::Panicked),
}

/// A blob that can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotHad {
    /// The blob that the manifest names.
    pub blob: Digest,
    /// Why not: a reason for each way to have it.
    pub why: Vec<String>,
}

impl std::fmt::Display for NotHad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.blob, self.why.join("; "))
    }
}

fn told(layers: &[NotHad]) -> String {
    let layers: Vec<_> = layers.iter().map(ToString::to_string).collect();
    layers.join(", ")
}

/// What kind of answer an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The object is not there.
    NotFound,
    /// Not allowed.
    PermissionDenied,
    /// Worth another try.
    Unavailable,
    /// Bytes are wrong.
    DataLoss,
    /// No space or quota left.
    ResourceExhausted,
    /// What was asked for cannot be done, or the image cannot be used.
    Invalid,
    /// The machine, or this program, failed.
    Internal,
}

impl From<lapstrake_store::Class> for Class {
    fn from(class: lapstrake_store::Class) -> Self {
        use lapstrake_store::Class as Store;
        match class {
            Store::NotFound => Self::NotFound,
            Store::DataLoss => Self::DataLoss,
            Store::FailedPrecondition => Self::Invalid,
            Store::ResourceExhausted => Self::ResourceExhausted,
            Store::Internal => Self::Internal,
        }
    }
}

impl From<&lapstrake_tree::changes::Error> for Class {
    fn from(error: &lapstrake_tree::changes::Error) -> Self {
        use lapstrake_tree::changes::Error as Changes;
        match error {
            Changes::Unsteady { .. } => Self::Unavailable,
            Changes::Unrepresentable { .. } => Self::Invalid,
            Changes::Damaged { .. } => Self::DataLoss,
            Changes::Io { .. } | Changes::Output(_) => Self::Internal,
        }
    }
}

impl Error {
    /// What kind of answer this is.
    pub fn class(&self) -> Class {
        use lapstrake_registry_client::Class as Client;
        match self {
            Self::Layer { source, .. } => source.class(),
            Self::Registry(error) => match error.class() {
                Client::NotFound => Class::NotFound,
                Client::PermissionDenied => Class::PermissionDenied,
                Client::Unavailable => Class::Unavailable,
                Client::DataLoss => Class::DataLoss,
                Client::Invalid => Class::Invalid,
            },
            Self::Store(error) => error.class().into(),
            Self::Tar {
                source: lapstrake_tree::error::Error::Io { source, .. },
            } if is_full(source) => Class::ResourceExhausted,
            Self::Tar { source } if source.class() == lapstrake_tree::error::Class::System => {
                Class::Internal
            }
            Self::Image(_) | Self::Decode(_) | Self::Tar { .. } | Self::Index { .. } => {
                Class::Invalid
            }
            Self::Archive(problem) if problem.is_damage() => Class::DataLoss,
            Self::Archive(_) | Self::Archived(_) => Class::Invalid,
            Self::Input(error) => match error.kind() {
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => {
                    Class::Invalid
                }
                _ => Class::Internal,
            },
            Self::Changes(error) => error.into(),
            Self::OtherDigests(_) | Self::NotHad(_) => Class::Invalid,
            Self::OtherBlob { .. }
            | Self::BlobMismatch { .. }
            | Self::Damaged { .. }
            | Self::NotSound { .. } => Class::DataLoss,
            Self::Cancelled | Self::Refill(_) => Class::Unavailable,
            Self::Unwritable { source, .. } | Self::Output(source) if is_full(source) => {
                Class::ResourceExhausted
            }
            Self::Spans(_)
            | Self::Unwritable { .. }
            | Self::Output(_)
            | Self::Descriptor(_)
            | Self::Unreadable { .. }
            | Self::Abandoned
            | Self::NoThread(_)
            | Self::Panicked(_)
            | Self::Worker(_) => Class::Internal,
        }
    }
}

/// Whether there is no room left, or no more is allowed.
fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}

fn hint(error: &std::io::Error) -> &'static str {
    if is_full(error) {
        ": make room, as lapstrake prune does, and try again"
    } else {
        ""
    }
}
