//! What can go wrong in a project command, said so that the next step is clear.

use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A project command's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot start `{program}`; is its Debian package installed?")]
    Start {
        /// The program's name.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// A program ran and failed.
    #[error("`{line}` ended with {status}{tail}")]
    Failed {
        /// The command line.
        line: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed, or nothing.
        tail: String,
    },
    /// JSON that we wrote, or a program printed, does not read back.
    #[error("{what} is not the JSON expected here")]
    Json {
        /// Which document.
        what: String,
        /// The parser's word.
        source: serde_json::Error,
    },
    /// No image has this name.
    #[error("there is no image `{name}`; known are: {known}")]
    UnknownImage {
        /// The name asked for.
        name: String,
        /// Every name.
        known: String,
    },
    /// No benchmark has this name.
    #[error("there is no measure `{name}`; known are: {known}")]
    UnknownMeasure {
        /// The name asked for.
        name: String,
        /// Every name.
        known: String,
    },
    /// Neither a `--cache` nor a home directory says where to keep images.
    #[error("no place for the image cache: set LAPSTRAKE_IMAGE_CACHE or HOME, or pass --cache")]
    NoCache,
    /// apt's sources name no Debian mirror.
    #[error("no `deb` entry with component main in {}: images are built from those", path.display())]
    NoMirror {
        /// Where entries were looked for.
        path: PathBuf,
    },
    /// A server we started did not answer in time.
    #[error("{what} did not answer within {seconds} s; its log is {}", log.display())]
    NotUp {
        /// Which server.
        what: String,
        /// How long we waited.
        seconds: u64,
        /// What it printed.
        log: PathBuf,
    },
    /// A program printed something that this command cannot use.
    #[error("{what}: {why}")]
    Unexpected {
        /// The thing looked at.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Steps of `check` that failed.
    #[error("{} failed: {}", if steps.len() == 1 { "a step" } else { "steps" }, steps.join(", "))]
    Check {
        /// Their names.
        steps: Vec<String>,
    },
}

/// Names the object of an I/O error.
pub trait IoContext<T> {
    /// `action` is a verb: "read", "create".
    fn io(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn io(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io {
            action,
            path: path.to_owned(),
            source: source.into(),
        })
    }
}

/// The error and its causes on one line.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line
}
