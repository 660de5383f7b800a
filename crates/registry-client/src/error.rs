//! What can go wrong between us and a registry, by what a caller could do about it.

use std::path::PathBuf;
use std::time::Duration;

use lapstrake_oci::Digest;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry has no such thing.
    #[error("{registry} does not have {what}{}", said(message))]
    NotFound {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its own words.
        message: String,
    },
    /// The registry wants to know who asks, or does not let them.
    #[error(
        "{registry} refuses access to {what}{}: check the credentials for {registry} (docker login {registry}, or --authfile FILE), and that the image exists",
        said(message)
    )]
    Denied {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Its own words.
        message: String,
    },
    /// The registry asks for a kind of authentication that is not known here.
    #[error("{registry} asks for authentication in a way that is not supported: {challenge:?}")]
    Challenge {
        /// The registry.
        registry: String,
        /// What it sent.
        challenge: String,
    },
    /// The registry answered with another status.
    #[error(
        "{registry} answered {status} to the request for {what}{}{}",
        said(message),
        again(*retry_after)
    )]
    Status {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No trust: a certificate that is not accepted, by us or by them, or no TLS at all.
    #[error(
        "no trust between {registry} and this machine, asking for {what}: {reason}. If the registry has an authority of its own, put its certificate into certs.d/{registry}/ca.crt; if it speaks plain HTTP, allow that by name (--plain-http {registry})"
    )]
    Tls {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// No answer: no connection, or a broken one.
    #[error("cannot reach {registry} for {what}: {reason}")]
    Transport {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What the network says.
        reason: String,
    },
    /// The registry sends us somewhere that we don't go.
    #[error("{registry} redirects the request for {what} {reason}")]
    Redirect {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Where to, and why not.
        reason: String,
    },
    /// Nothing came for too long.
    #[error("{registry} sent nothing of {what} for {} s", waited.as_secs())]
    Stalled {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// For how long.
        waited: Duration,
    },
    /// More or fewer bytes than announced.
    #[error("{registry} sent {got} bytes of {what}, which has {want}")]
    Length {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// Bytes announced.
        want: u64,
        /// Bytes received.
        got: u64,
    },
    /// Bytes that are not what their name says.
    #[error(
        "{registry} sent {got} when asked for {want}: the bytes were damaged or replaced on the way"
    )]
    Mismatch {
        /// The registry.
        registry: String,
        /// The name.
        want: Digest,
        /// What the bytes hash to.
        got: Digest,
    },
    /// A manifest or index that cannot be used.
    #[error("{what} from {registry}: {source}")]
    Document {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        source: lapstrake_oci::Error,
    },
    /// An answer that cannot be used.
    #[error("{registry} answers with something that cannot be used for {what}: {reason}")]
    Answer {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Credentials can't be had.
    #[error("cannot get the credentials for {registry}: {reason}")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why not; no secret is in it.
        reason: String,
    },
    /// A file of settings, credentials or certificates that can't be used.
    #[error("cannot use {}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why not; no secret is in it.
        reason: String,
    },
    /// What was to be pushed cannot be read.
    #[error("cannot read {what}, which was to be pushed to {registry}: {source}")]
    Source {
        /// The registry.
        registry: String,
        /// What was to be pushed.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
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
    /// What was asked for, or the answer, cannot be used.
    Invalid,
}

impl Error {
    /// What kind of answer this is.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
            Self::Denied { .. } | Self::Challenge { .. } => Class::PermissionDenied,
            Self::Status {
                status: 408 | 425 | 429 | 500..,
                ..
            } => Class::Unavailable,
            Self::Transport { .. } | Self::Stalled { .. } => Class::Unavailable,
            Self::Length { .. } | Self::Mismatch { .. } => Class::DataLoss,
            Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Tls { .. }
            | Self::Credentials { .. }
            | Self::Config { .. }
            | Self::Source { .. }
            | Self::Document { .. }
            | Self::Answer { .. }
            | Self::Setup(_) => Class::Invalid,
        }
    }
}

fn said(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

fn again(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!("; it wants to be asked again in {} s", wait.as_secs())
    })
}
