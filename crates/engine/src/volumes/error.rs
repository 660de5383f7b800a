//! What can go wrong with volumes. Clients look at the words of most: they are Docker's.

use std::io;
use std::path::{Path, PathBuf};

use lapstrake_snapshot::room;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why something can't be done with a volume.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No volume has this name.
    #[error("get {0}: no such volume")]
    Missing(String),
    /// A name of one letter.
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    ShortName(String),
    /// A name that can't name a directory.
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    /// A driver that is not here.
    #[error("create {name}: error looking up volume plugin {driver}: plugin {driver:?} not found")]
    Driver {
        /// The volume.
        name: String,
        /// The driver.
        driver: String,
    },
    /// Options that mean nothing, or not together.
    #[error("create {name}: {why}")]
    Options {
        /// The volume.
        name: String,
        /// What is wrong.
        why: OptionFault,
    },
    /// Somebody uses it.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Ids of containers.
        users: Vec<String>,
    },
    /// Somebody mounted something in it.
    #[error("remove {name}: {} is mounted in it: unmount that first", target.display())]
    MountedIn {
        /// The volume.
        name: String,
        /// What is mounted.
        target: PathBuf,
    },
    /// A prune is running.
    #[error("a prune operation is already running")]
    Pruning,
    /// Its file system can't be mounted.
    #[error("error while mounting volume '{}': failed to mount local volume: {why}", target.display())]
    Mount {
        /// Where.
        target: PathBuf,
        /// Why, without passwords.
        why: String,
    },
    /// The address of its server can't be found.
    #[error("error resolving passed in network volume address: {0}")]
    Address(String),
    /// A directory in it that is not there, or lies outside.
    #[error("cannot use {subpath:?} in {of}: {why}")]
    Subpath {
        /// The volume or image.
        of: String,
        /// The path.
        subpath: String,
        /// Why.
        why: &'static str,
    },
    /// What the image has can't be copied into it.
    #[error("failed to populate volume: {0}")]
    Fill(#[from] lapstrake_container::copy_up::Error),
    /// A room.
    #[error("volume: {}", told(.0))]
    Room(#[from] room::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] lapstrake_store::Error),
    /// An image.
    #[error(transparent)]
    Engine(Box<crate::Error>),
    /// A record that another version wrote, or nobody.
    #[error("the record of volume {name} can't be read: {why}")]
    Record {
        /// The volume.
        name: String,
        /// Why.
        why: String,
    },
    /// A mount step.
    #[error("volume: {}", told(.0))]
    Kernel(#[from] lapstrake_sys::mount::Error),
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
}

/// What is wrong with options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionFault {
    /// An option that no local volume has.
    #[error("invalid option: {0:?}")]
    Unknown(String),
    /// An option that another one needs.
    #[error("missing required option: {0:?}")]
    Missing(&'static str),
    /// A size that is none.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// A size for what is not kept here.
    #[error("size can't be combined with type, device and o: limit the file system that they name")]
    SizeElsewhere,
    /// A port where CIFS has none.
    #[error("port not allowed in CIFS device URL, include 'port' in 'o='")]
    CifsPort,
}

/// What kind of answer an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It is not there.
    NotFound,
    /// It is used.
    Conflict,
    /// The request makes no sense.
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
            Self::Missing(_) | Self::Driver { .. } => Class::NotFound,
            Self::InUse { .. } | Self::MountedIn { .. } | Self::Pruning => Class::Conflict,
            Self::ShortName(_) | Self::Name(_) | Self::Options { .. } | Self::Subpath { .. } => {
                Class::Invalid
            }
            Self::Room(error) => match error.class() {
                room::Class::NotFound => Class::NotFound,
                room::Class::Invalid | room::Class::FailedPrecondition => Class::Invalid,
                room::Class::AlreadyExists => Class::Conflict,
                room::Class::ResourceExhausted => Class::ResourceExhausted,
                room::Class::DataLoss | room::Class::Internal => Class::Internal,
            },
            Self::Store(error) => match error.class() {
                lapstrake_store::Class::ResourceExhausted => Class::ResourceExhausted,
                lapstrake_store::Class::NotFound
                | lapstrake_store::Class::DataLoss
                | lapstrake_store::Class::FailedPrecondition
                | lapstrake_store::Class::Internal => Class::Internal,
            },
            Self::Engine(error) => match error.class() {
                crate::Class::NotFound => Class::NotFound,
                crate::Class::Invalid => Class::Invalid,
                crate::Class::ResourceExhausted => Class::ResourceExhausted,
                crate::Class::PermissionDenied
                | crate::Class::Unavailable
                | crate::Class::DataLoss
                | crate::Class::Internal => Class::Internal,
            },
            Self::Io { source, .. }
            | Self::Fill(lapstrake_container::copy_up::Error::Io { source, .. }) => {
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        Class::ResourceExhausted
                    }
                    _ => Class::Internal,
                }
            }
            Self::Fill(lapstrake_container::copy_up::Error::Root(_)) => Class::Internal,
            Self::Mount { .. } | Self::Address(_) | Self::Record { .. } | Self::Kernel(_) => {
                Class::Internal
            }
        }
    }
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Engine(Box::new(error))
    }
}

/// An error with what is behind it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

pub(super) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
