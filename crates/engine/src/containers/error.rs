//! What can go wrong with a container, by what a client could do about it.
//!
//! Clients look at some of the texts: those are Docker's.

/// Why something was not done to a container.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No container has this name, or an id that begins so.
    #[error("No such container: {0}")]
    NoContainer(String),
    /// Several containers have an id that begins so.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// There is nothing of this id that was run in a container.
    #[error("No such exec instance: {0}")]
    NoExec(String),
    /// A name that somebody has.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{by}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// The container that has it.
        by: String,
    },
    /// It is that already.
    #[error("container {id} is {what}")]
    NotModified {
        /// The container.
        id: String,
        /// What it is already.
        what: &'static str,
    },
    /// Not while it is as it is.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The OCI runtime refused to start it; the words are the runtime's, for clients look at them.
    #[error("{0}")]
    Start(String),
    /// What it needs is not there.
    #[error("{0}")]
    NotFound(String),
    /// It can't be done, here or at all.
    #[error("{0}")]
    Unsupported(String),
    /// Something failed here.
    #[error("{0}")]
    Internal(String),
    /// Images, layers and mounts.
    #[error(transparent)]
    Engine(#[from] crate::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] lapstrake_store::Error),
    /// What a runtime is told.
    #[error(transparent)]
    Spec(#[from] lapstrake_container::spec::Error),
    /// What is mounted in it.
    #[error(transparent)]
    Mounts(#[from] lapstrake_container::mounts::Error),
    /// Files in or out.
    #[error(transparent)]
    Files(#[from] lapstrake_container::archive::Error),
    /// What it uses.
    #[error(transparent)]
    Usage(#[from] lapstrake_container::usage::Error),
    /// Its volumes.
    #[error(transparent)]
    Volumes(#[from] crate::VolumeError),
    /// Its monitor.
    #[error(transparent)]
    Monitor(#[from] lapstrake_monitor::Error),
    /// A worker died.
    #[error(transparent)]
    Panicked(#[from] lapstrake_bridge::Panicked),
}

/// What kind of answer an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The object is not there.
    NotFound,
    /// Not while things are as they are.
    Conflict,
    /// Nothing was to do.
    NotModified,
    /// The request is wrong.
    Invalid,
    /// It can't be done.
    Unsupported,
    /// It failed here.
    Internal,
}

impl Error {
    /// What kind of answer this is.
    pub fn kind(&self) -> Kind {
        use crate::Class;
        match self {
            Self::NoContainer(_) | Self::NoExec(_) | Self::NotFound(_) => Kind::NotFound,
            Self::NameTaken { .. } | Self::Conflict(_) => Kind::Conflict,
            Self::Spec(error) => match error.class() {
                lapstrake_container::spec::Class::Invalid => Kind::Invalid,
                lapstrake_container::spec::Class::Conflict => Kind::Conflict,
                lapstrake_container::spec::Class::Host => Kind::Internal,
            },
            Self::Mounts(_) => Kind::Invalid,
            Self::Files(error) => match error.class() {
                lapstrake_container::archive::Class::NotFound => Kind::NotFound,
                lapstrake_container::archive::Class::Invalid => Kind::Invalid,
                lapstrake_container::archive::Class::ResourceExhausted
                | lapstrake_container::archive::Class::Internal => Kind::Internal,
            },
            Self::Usage(error) => match error {
                lapstrake_container::usage::Error::Gone(_) => Kind::Conflict,
                lapstrake_container::usage::Error::Arguments(_)
                | lapstrake_container::usage::Error::Ps(_) => Kind::Invalid,
                lapstrake_container::usage::Error::Strange { .. }
                | lapstrake_container::usage::Error::NoPs(_)
                | lapstrake_container::usage::Error::Io { .. } => Kind::Internal,
            },
            Self::Volumes(error) => match error.class() {
                crate::VolumeErrorClass::NotFound => Kind::NotFound,
                crate::VolumeErrorClass::Conflict => Kind::Conflict,
                crate::VolumeErrorClass::Invalid => Kind::Invalid,
                crate::VolumeErrorClass::ResourceExhausted | crate::VolumeErrorClass::Internal => {
                    Kind::Internal
                }
            },
            Self::NotModified { .. } => Kind::NotModified,
            Self::Ambiguous(_) | Self::Invalid(_) | Self::Start(_) => Kind::Invalid,
            Self::Engine(error) => match error.class() {
                Class::NotFound => Kind::NotFound,
                Class::Invalid => Kind::Invalid,
                Class::PermissionDenied
                | Class::Unavailable
                | Class::DataLoss
                | Class::ResourceExhausted
                | Class::Internal => Kind::Internal,
            },
            Self::Unsupported(_) => Kind::Unsupported,
            Self::Monitor(_) | Self::Store(_) | Self::Panicked(_) | Self::Internal(_) => {
                Kind::Internal
            }
        }
    }
}

/// The result of what is done to containers.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the file system, for [`Error::Engine`].
pub(crate) fn io_error(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> Error {
    let make = crate::error::io_error(action, path);
    move |source| Error::Engine(make(source))
}
