//! Why a document from outside is not accepted.

use crate::{Digest, Platform};

/// Why a manifest, an index or a config is not accepted. `what` names the kind of document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Beyond [`crate::bounds`] in bytes.
    #[error("the {what} has {size} bytes, more than the {limit} accepted")]
    TooLarge {
        /// Kind of document.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// Beyond [`crate::bounds`] in the number of something.
    #[error("the {what} has {count} {things}, more than the {limit} accepted")]
    TooMany {
        /// Kind of document.
        what: &'static str,
        /// What is counted.
        things: &'static str,
        /// How many there are.
        count: usize,
        /// The bound.
        limit: usize,
    },
    /// Not JSON, or a field has the wrong type or is missing.
    #[error("the {what} is malformed: {source}")]
    Json {
        /// Kind of document.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The manifest form of before 2016, which names no config and cannot be verified layer by layer.
    #[error(
        "the image has a Docker schema 1 manifest, a form that registries dropped years ago and that \
         is not supported: push the image again with a current Docker, or convert it with \
         `skopeo copy --format v2s2`"
    )]
    Schema1,
    /// A type that is neither manifest nor index.
    #[error("{0:?} is not the media type of an image manifest or an index")]
    MediaType(String),
    /// The document says it is one thing and looks like another. Readers would disagree about it.
    #[error("the document claims to be {claimed} but has the fields of {found}")]
    Ambiguous {
        /// What its media type says.
        claimed: &'static str,
        /// What its fields say.
        found: &'static str,
    },
    /// A manifest whose config is not an image's.
    #[error("this is an artifact of type {0:?}, not a container image: it cannot be run")]
    Artifact(String),
    /// A layer of a type that cannot be unpacked.
    #[error(
        "layer {digest} has the type {media_type:?}, which is not supported{}",
        hint(media_type)
    )]
    LayerType {
        /// The layer's blob.
        digest: Digest,
        /// Its media type.
        media_type: String,
    },
    /// Nothing in the index is for the platform.
    #[error("no image for {wanted}: there are images for {}", list(offered))]
    Platform {
        /// What was asked for.
        wanted: Box<Platform>,
        /// What the index has.
        offered: Vec<Platform>,
    },
    /// Config and manifest disagree.
    #[error("the manifest has {layers} layers but the config names {diff_ids}")]
    LayerCount {
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the config.
        diff_ids: usize,
    },
    /// The bytes are not the ones a descriptor names.
    #[error("expected {want} with {want_size} bytes, got {got} with {got_size} bytes")]
    Mismatch {
        /// The digest that the descriptor gives.
        want: Digest,
        /// The size that the descriptor gives.
        want_size: u64,
        /// The digest of the bytes.
        got: Digest,
        /// Their number.
        got_size: u64,
    },
}

/// What a caller can do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The document breaks its specification or our bounds: nothing to do but to repair the image.
    Malformed,
    /// The document may be right, but we do not support what it asks for.
    Unsupported,
    /// There is no such thing in the document: ask for another.
    NotFound,
    /// The bytes were damaged on the way, or at rest: fetch them again.
    Corrupt,
}

impl Error {
    /// What a caller can do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::Json { .. }
            | Self::Ambiguous { .. }
            | Self::LayerCount { .. } => Class::Malformed,
            Self::Schema1 | Self::MediaType(_) | Self::Artifact(_) | Self::LayerType { .. } => {
                Class::Unsupported
            }
            Self::Platform { .. } => Class::NotFound,
            Self::Mismatch { .. } => Class::Corrupt,
        }
    }
}

fn hint(media_type: &str) -> &'static str {
    if media_type.ends_with("+encrypted") {
        ": decrypt the image first"
    } else {
        ""
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "no platform".to_owned();
    }
    platforms
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
