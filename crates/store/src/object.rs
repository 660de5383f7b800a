//! What content consists of: blobs and layers, by name.

use std::fmt;
use std::str::FromStr;

use lapstrake_oci::{DiffId, Digest, DigestError};

/// A blob or a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A blob: an index, a manifest, a config.
    Blob(Digest),
    /// A layer.
    Layer(DiffId),
}

impl Object {
    /// The digest that names it.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Blob(digest) | Self::Layer(DiffId(digest)) => digest,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Layer(id) => write!(f, "layer {id}"),
        }
    }
}

/// A text that names no object.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It does not say what it names.
    #[error("{0:?} names neither a blob nor a layer")]
    Kind(String),
    /// It says so, and what follows is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl FromStr for Object {
    type Err = ObjectError;

    fn from_str(text: &str) -> Result<Self, ObjectError> {
        match text.split_once(' ') {
            Some(("blob", digest)) => Ok(Self::Blob(digest.parse()?)),
            Some(("layer", digest)) => Ok(Self::Layer(DiffId(digest.parse()?))),
            _ => Err(ObjectError::Kind(text.to_owned())),
        }
    }
}
