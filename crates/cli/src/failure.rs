//! Why a command failed, and with which code it exits.

use lapstrake_engine::{Class, Error, StoreError};

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The machine can't be asked.
    #[error(transparent)]
    Surroundings(#[from] std::io::Error),
    /// Results that could not be written.
    #[error("cannot write the results: {0}")]
    Output(std::io::Error),
    /// A filter with a time that is none.
    #[error(
        "until={0}: give a date (2026-11-24), a time (2026-11-24T07:00:00Z), seconds since 1970, or a duration (24h)"
    )]
    NoTime(String),
    /// More than one such filter.
    #[error("give until= only once")]
    SeveralTimes,
    /// A writable layer that is not there.
    #[error("there is no writable layer {0} (lapstrake containers lists them)")]
    NoWritable(String),
    /// Two wishes that can't both be met.
    #[error("{0} and {1} contradict each other: give one of them")]
    Contradiction(&'static str, &'static str),
    /// Bytes that are for no one's eyes.
    #[error(
        "this is no text for a terminal: give a file (-o FILE), or send it on (> FILE, | PROGRAM)"
    )]
    Terminal,
    /// A directory without a name.
    #[error("say where the directory is to be: -o DIRECTORY")]
    NoDirectory,
    /// Sockets of the daemon.
    #[error(transparent)]
    Serve(#[from] lapstrake_api::ServeError),
    /// An address that is none.
    #[error(transparent)]
    Host(lapstrake_api::AddressError),
    /// A port that anybody could use.
    #[error(
        "{0} needs TLS, for whoever gets in is root here: give --tlsverify with --tlscacert, --tlscert and --tlskey; on this machine's own addresses, --insecure-no-tls lets in anybody"
    )]
    NoTls(lapstrake_api::Address),
    /// TLS without what it needs.
    #[error("--tlsverify needs --tlscacert, --tlscert and --tlskey")]
    TlsFiles,
    /// The settings can't be used.
    #[error(transparent)]
    Settings(#[from] crate::settings::Error),
    /// Nothing to read.
    #[error("standard input is a terminal: give a file, or send an archive (< FILE, PROGRAM |)")]
    NoInput,
    /// A file that can't be read.
    #[error("cannot open {}: {source}", path.display())]
    Input {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A directory where a file should be.
    #[error("{} is a directory: give a tar of it (tar -C DIRECTORY -c . | lapstrake import -)", .0.display())]
    Directory(std::path::PathBuf),
    /// A file that is somewhere else.
    #[error("{0} is not fetched: send it (curl -fsSL {0} | lapstrake import -)")]
    Url(String),
    /// A file that the verb was to write.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    /// A tag, and all tags.
    #[error("{0} names one image: give the repository alone to pull all of its tags")]
    AllTagsOf(String),
    /// What was asked of the storage makes no sense.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// A level that there is not.
    #[error("--level: {0}")]
    Level(#[from] lapstrake_engine::LevelError),
    /// The engine says.
    #[error(transparent)]
    Engine(#[from] Error),
    /// Containers that can't be found at the daemon's start.
    #[error(transparent)]
    Containers(#[from] lapstrake_engine::containers::Error),
    /// Volumes can't be looked at.
    #[error(transparent)]
    Volumes(lapstrake_engine::VolumeError),
    /// A policy that is off.
    #[error(
        "no watermark is set: give keep-free in the table [watermark] of the configuration (lapstrake --config FILE tries one)"
    )]
    NoWatermark,
    /// A pruning of a store that a daemon owns.
    #[error(
        "{0}; if that is the daemon: docker system prune, or lapstrake prune --dry-run to look"
    )]
    PruneBesideOwner(Error),
    /// A signal ended it.
    #[error("interrupted: {0}")]
    Interrupted(&'static str),
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// As somebody who wants to prune should be told.
    pub(crate) fn of_prune(self) -> Self {
        match self {
            Self::Engine(error @ Error::Store(StoreError::InUse { .. })) => {
                Self::PruneBesideOwner(error)
            }
            other => other,
        }
    }

    /// A word for what kind of failure it is.
    pub(crate) fn class(&self) -> &'static str {
        match self.exit_code() {
            2 => "usage",
            3 => "not_found",
            4 => "permission_denied",
            5 => "unavailable",
            6 => "data_loss",
            7 => "resource_exhausted",
            130 => "interrupted",
            _ => match self {
                Self::Engine(error) if error.class() == Class::Invalid => "invalid",
                _ => "internal",
            },
        }
    }

    /// See the help text.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Surroundings(_)
            | Self::Output(_)
            | Self::Write { .. }
            | Self::Serve(_)
            | Self::Volumes(_)
            | Self::Containers(_) => 1,

            Self::Input { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => 3,
                std::io::ErrorKind::PermissionDenied => 4,
                _ => 1,
            },
            Self::AllTagsOf(_)
            | Self::NoTime(_)
            | Self::SeveralTimes
            | Self::Contradiction(..)
            | Self::Terminal
            | Self::NoDirectory
            | Self::Settings(_)
            | Self::Host(_)
            | Self::NoTls(_)
            | Self::TlsFiles
            | Self::NoInput
            | Self::Directory(_)
            | Self::Url(_)
            | Self::Level(_)
            | Self::NoWatermark
            | Self::Storage(_) => 2,
            Self::NoWritable(_) => 3,
            // As shells say it of Ctrl-C.
            Self::Interrupted(_) => 130,
            Self::Engine(error) | Self::PruneBesideOwner(error) => match error.class() {
                Class::Internal | Class::Invalid => 1,
                Class::NotFound => 3,
                Class::PermissionDenied => 4,
                Class::Unavailable => 5,
                Class::DataLoss => 6,
                Class::ResourceExhausted => 7,
            },
        }
    }
}
