//! What a container uses: read from its control groups, its network namespace and the process table.
//!
//! A container is known here by one of its processes. All of it can vanish at any time: then it is [`Error::Gone`].

pub mod cgroup;
pub mod network;
pub mod top;

mod parse;

use std::path::{Path, PathBuf};

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

/// Why it can't be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process has ended.
    #[error("process {0} has ended")]
    Gone(u32),
    /// A file that the kernel writes in a way that is not known.
    #[error("cannot make sense of {}: {text:?}", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// What is in it.
        text: String,
    },
    /// Arguments that `ps` is not run with.
    #[error("{0}")]
    Arguments(String),
    /// What `ps` said.
    #[error("ps: {0}")]
    Ps(String),
    /// There is no `ps`.
    #[error("cannot run ps: {0} (install procps on the host)")]
    NoPs(std::io::Error),
    /// The host refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Reads a small file of the kernel.
fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

/// Reads one that not every kernel or group has.
fn read_if_there(path: &Path) -> Result<Option<String>> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(Error::Io { source, .. }) if is_absent(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file that is not there; or one of a group that went while it was read.
fn is_absent(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error())
}
