//! What can go wrong, by what a caller could do about it.

use std::path::{Path, PathBuf};

use lapstrake_oci::Digest;

pub use lapstrake_transfer::Class;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such image here.
    #[error("no image {0} in the store: pull it first (lapstrake pull {0})")]
    NoImage(String),
    /// No such image here, but one that is called much the same.
    #[error(
        "no image {image} in the store: did you mean {nearest}? Else pull it (lapstrake pull {image})"
    )]
    Misspelt {
        /// What was asked for.
        image: String,
        /// The name that is most like it.
        nearest: String,
    },
    /// An image on which a writable layer lies.
    #[error("image {image} is used by the writable layer {}: remove that first", users.join(", "))]
    ImageUsed {
        /// The image, by one of its names.
        image: String,
        /// Its id.
        id: Digest,
        /// The writable layers.
        users: Vec<String>,
    },
    /// An image that was to be removed by its id, and has several names.
    #[error("image {image} has several names ({names}): remove those, or use --force")]
    SeveralNames {
        /// The image, as it was called.
        image: String,
        /// Its id.
        id: Digest,
        /// Its names.
        names: String,
    },
    /// The beginning of more than one id.
    #[error("several images have an id that begins with {id}: give more of it, as of {candidates}")]
    Ambiguous {
        /// The beginning.
        id: String,
        /// What it could be.
        candidates: String,
    },
    /// A new name with a digest, which is no one's to choose.
    #[error("cannot give an image the name {0}: a new name has a tag and no digest")]
    TagWithDigest(String),
    /// What can only be an id, where a name is needed.
    #[error(transparent)]
    Name(lapstrake_oci::ReferenceError),
    /// A layer that the image needs is not here.
    #[error("layer {layer} of {image} is not in the store: pull the image again")]
    NoLayer {
        /// The image.
        image: String,
        /// The layer.
        layer: lapstrake_oci::DiffId,
    },
    /// Neither the image nor the command line says what to run.
    #[error("{0} names no command to run: give one")]
    NoCommand(String),
    /// A container can't be as its settings say.
    #[error(transparent)]
    Container(#[from] lapstrake_container::spec::Error),
    /// No OCI runtime that works.
    #[error("cannot start the OCI runtime {runtime:?}: {source}")]
    Runtime {
        /// The program.
        runtime: String,
        /// Why.
        source: std::io::Error,
    },
    /// A writable layer that lies on another image than the one that was asked for.
    #[error("the writable layer {name} lies on {image}: mount that, or use another name")]
    OtherImage {
        /// The layer.
        name: String,
        /// Its image.
        image: String,
    },
    /// An instruction that does not change a config.
    #[error("cannot change the image's config by {instruction:?}: {why}")]
    Change {
        /// The instruction.
        instruction: String,
        /// What is wrong with it.
        why: String,
    },
    /// A writable layer's room.
    #[error(transparent)]
    Room(#[from] lapstrake_snapshot::room::Error),
    /// What a writable layer changed cannot be told.
    #[error(transparent)]
    Changes(#[from] lapstrake_tree::changes::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] lapstrake_store::Error),
    /// The pull.
    #[error(transparent)]
    Transfer(#[from] lapstrake_transfer::Error),
    /// The registry client.
    #[error(transparent)]
    Client(#[from] lapstrake_registry_client::Error),
    /// The image's documents.
    #[error(transparent)]
    Image(#[from] lapstrake_oci::Error),
    /// The storage driver.
    #[error(transparent)]
    Driver(#[from] lapstrake_drivers::choose::Error),
    /// The mount.
    #[error(transparent)]
    Mount(#[from] lapstrake_snapshot::Error),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// What kind of answer this is.
    pub fn class(&self) -> Class {
        use lapstrake_container::spec::Class as Container;
        use lapstrake_snapshot::Class as Mount;
        use lapstrake_snapshot::room::Class as Room;
        match self {
            Self::NoImage(_) | Self::Misspelt { .. } | Self::NoLayer { .. } => Class::NotFound,
            Self::ImageUsed { .. }
            | Self::SeveralNames { .. }
            | Self::Ambiguous { .. }
            | Self::OtherImage { .. }
            | Self::Change { .. }
            | Self::Name(_)
            | Self::TagWithDigest(_)
            | Self::NoCommand(_)
            | Self::Driver(_)
            | Self::Image(_) => Class::Invalid,
            Self::Store(error) => error.class().into(),
            Self::Transfer(error) => error.class(),
            Self::Mount(error) => match error.class() {
                Mount::FailedPrecondition | Mount::Unsupported => Class::Invalid,
                Mount::DataLoss => Class::DataLoss,
                Mount::ResourceExhausted => Class::ResourceExhausted,
                Mount::Internal => Class::Internal,
            },
            Self::Room(error) => match error.class() {
                Room::NotFound => Class::NotFound,
                Room::AlreadyExists | Room::FailedPrecondition | Room::Invalid => Class::Invalid,
                Room::DataLoss => Class::DataLoss,
                Room::ResourceExhausted => Class::ResourceExhausted,
                Room::Internal => Class::Internal,
            },
            Self::Changes(error) => error.into(),
            Self::Container(error) => match error.class() {
                Container::Invalid | Container::Conflict => Class::Invalid,
                Container::Host => Class::Internal,
            },
            Self::Client(_) | Self::Runtime { .. } | Self::Io { .. } => Class::Internal,
        }
    }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
