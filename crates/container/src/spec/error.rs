//! What is wrong with what a container is to be, in the words that Docker's clients know.

use std::path::PathBuf;

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a container can't be as its settings say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No capability is called this.
    #[error("invalid {list}: unknown capability: \"{name}\"")]
    UnknownCapability {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// As it was given.
        name: String,
    },
    /// The kernel or the daemon does not have it.
    #[error(
        "invalid {list}: capability not supported by your kernel or not available in the current environment: \"{name}\""
    )]
    CapabilityNotHeld {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// Its full name.
        name: String,
    },
    /// There is nothing to run.
    #[error("no command specified")]
    NoCommand,
    /// A working directory that is not absolute.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    RelativeDirectory(String),
    /// No such user in the root.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such group in the root.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// No such group in the root, of those beside the user's own.
    #[error("Unable to find group {0}: no matching entries in group file")]
    NoFurtherGroup(String),
    /// A user or group number that Linux does not have.
    #[error("uids and gids must be in range 0-2147483647")]
    UserRange(String),
    /// A value that a setting can't have.
    #[error("invalid {what}: {text}")]
    Malformed {
        /// The setting.
        what: &'static str,
        /// The value.
        text: String,
    },
    /// A value outside its range, or two that contradict each other.
    #[error("{0}")]
    Limit(#[from] super::limits::LimitError),
    /// Settings that exclude each other.
    #[error("conflicting options: {one} and {other}")]
    Conflict {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A security option that says nothing.
    #[error("invalid --security-opt 1: {0:?}")]
    SecurityOption(String),
    /// A security option that there is not, or a value that it can't have.
    #[error("invalid --security-opt 2: {0:?}")]
    SecurityValue(String),
    /// A seccomp profile that can't be used.
    #[error("Decoding seccomp profile failed: {0}")]
    Seccomp(String),
    /// What this host does not have.
    #[error("{what} is not available on this host: {remedy}")]
    NotHere {
        /// What was asked for.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A namespace of another container that nobody gave: it is not running.
    #[error("cannot join the {kind} namespace of container {container}: it is not running")]
    NotJoined {
        /// Which namespace.
        kind: &'static str,
        /// Whose.
        container: String,
    },
    /// A device that is not there, or is none.
    #[error(
        "error gathering device information while adding custom device \"{}\": {problem}",
        path.display()
    )]
    Device {
        /// As it was given.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A block device with a rate that is not there, or is none.
    #[error("stat {}: {problem}", path.display())]
    BlockDevice {
        /// As it was given.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A kernel setting that would change the host, or other containers.
    #[error("sysctl '{0}' is not in a separate kernel namespace")]
    Sysctl(String),
    /// A mount whose propagation its source does not allow.
    #[error("path {} is mounted on {} but it is not a {wanted} mount", path.display(), at.display())]
    Propagation {
        /// The source.
        path: PathBuf,
        /// Where what it is on is mounted.
        at: PathBuf,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// The host refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Ask for something else.
    Invalid,
    /// Start the container that is joined.
    Conflict,
    /// Look after the host.
    Host,
}

impl Error {
    /// What a caller can do about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Io { .. } => Class::Host,
            Self::NotJoined { .. } => Class::Conflict,
            Self::UnknownCapability { .. }
            | Self::CapabilityNotHeld { .. }
            | Self::NoCommand
            | Self::RelativeDirectory(_)
            | Self::NoUser(_)
            | Self::NoGroup(_)
            | Self::NoFurtherGroup(_)
            | Self::UserRange(_)
            | Self::Malformed { .. }
            | Self::Limit(_)
            | Self::Conflict { .. }
            | Self::SecurityOption(_)
            | Self::SecurityValue(_)
            | Self::Seccomp(_)
            | Self::NotHere { .. }
            | Self::Device { .. }
            | Self::BlockDevice { .. }
            | Self::Sysctl(_)
            | Self::Propagation { .. } => Class::Invalid,
        }
    }
}

/// Wraps an error of the file system.
pub(super) fn io_error(
    action: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.into();
    move |source| Error::Io {
        action,
        path,
        source,
    }
}
