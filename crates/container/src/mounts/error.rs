//! Which rule was broken. Clients and their tests look at the words: they are Docker's.
//!
//! All of them are the request's fault, also when it names a container or an image that is not there: Docker's
//! command takes "not found" for the image that the container is to be made of.

use std::io;
use std::path::PathBuf;

use crate::settings::{MountKind, Propagation};

/// Why something can't be mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A `--mount` that contradicts itself.
    #[error("invalid mount config for type {:?}: {why}", .kind.name())]
    Config {
        /// What it was to be.
        kind: MountKind,
        /// What is wrong.
        why: Fault,
    },
    /// A `-v` that can't be read, or that contradicts itself.
    #[error("invalid volume specification: '{text}'{}", because(.why.as_deref()))]
    Specification {
        /// The request.
        text: String,
        /// The contradiction.
        why: Option<Box<Self>>,
    },
    /// Options that don't exist, or not together.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// `--volumes-from` without a container.
    #[error("volumes-from specification cannot be an empty string")]
    FromNothing,
    /// `--volumes-from` a container that is not there.
    #[error("No such container: {0}")]
    NoContainer(String),
    /// A `--mount` of an image that is not there.
    #[error("{0}")]
    NoImage(String),
    /// Two explicit requests for one place.
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    /// A `--tmpfs` or a new volume that can't be so, or not there.
    #[error("{0}")]
    Place(Fault),
    /// A new volume at a place where the image has a file.
    #[error("cannot mount volume over existing file, file exists {}", .0.display())]
    OverFile(PathBuf),
    /// A mount of the daemon's own directory.
    #[error(
        "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount \
         source is within the daemon root, daemon root: {:?}, bind mount source: {:?}, propagation: {:?}",
        .root.display().to_string(), .shown.display().to_string(), .propagation.name()
    )]
    ShowsRoot {
        /// The daemon's directory.
        root: PathBuf,
        /// What was to be mounted.
        shown: PathBuf,
        /// How.
        propagation: Propagation,
    },
}

/// What is wrong with a mount.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A field that is needed.
    #[error("field {0} must not be empty")]
    Missing(&'static str),
    /// A field that means nothing here.
    #[error("field {0} must not be specified")]
    Extra(&'static str),
    /// The container's root can't be replaced.
    #[error("invalid specification: destination can't be '/'")]
    Root,
    /// A path that depends on where one is.
    #[error("invalid mount path: '{0}' mount path must be absolute")]
    Relative(String),
    /// A bind of nothing.
    #[error("bind source path does not exist: {0}")]
    NoSource(String),
    /// A bind of something that can't be looked at.
    #[error("stat {path}: {source}")]
    Source {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A new volume has no directories yet.
    #[error("must not set Subpath when using anonymous volumes")]
    AnonymousSubpath,
    /// A new volume that nobody could fill.
    #[error("must not set ReadOnly mode when using anonymous volumes")]
    AnonymousReadOnly,
    /// A directory in a volume that may lie outside.
    #[error("subpath must be a relative path within the volume")]
    Subpath,
    /// An option that no tmpfs has.
    #[error("invalid option: {0}")]
    Option(String),
    /// An option that no `--tmpfs` has.
    #[error("invalid tmpfs option [{0}]")]
    TmpfsOption(String),
    /// Options that exclude each other.
    #[error("mount options conflict: {0}")]
    Conflict(&'static str),
}

fn because(why: Option<&Error>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}
