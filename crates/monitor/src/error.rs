//! What can go wrong with monitors and logs, by what a caller could do about it.

use std::io;
use std::path::{Path, PathBuf};

/// This crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a monitor or a log did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A monitor's orders are not what this version writes.
    #[error("{} holds no orders for a monitor", path.display())]
    Orders {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record of an exit is not what this version writes.
    #[error("{} is no record of an exit", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A monitor could not be started.
    #[error("the monitor in {} did not start: {reason}", dir.display())]
    NotStarted {
        /// The monitor's directory.
        dir: PathBuf,
        /// What it said.
        reason: String,
    },
    /// There is no monitor (any more): its exit record tells the rest.
    #[error("there is no monitor in {}", .0.display())]
    Gone(PathBuf),
    /// The runtime did not start the process. The text is the runtime's own.
    #[error("{message}")]
    Runtime {
        /// What the runtime said.
        message: String,
    },
    /// The monitor can't do that in its state.
    #[error("{reason}")]
    Refused {
        /// Why not.
        reason: String,
    },
    /// The monitor answered something else than what was asked for, or nothing in time.
    #[error("the monitor in {} does not answer as it should: {answer}", dir.display())]
    Answer {
        /// The monitor's directory.
        dir: PathBuf,
        /// What came.
        answer: String,
    },
}

impl Error {
    /// An I/O error with what was tried on which file.
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        }
    }
}
