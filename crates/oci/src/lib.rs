//! Digests, references, descriptors, manifests and configs: the vocabulary, without I/O.
//!
//! What comes from outside is parsed once, within the bounds of [`bounds`], and its bytes are kept
//! beside the parsed view in [`Parsed`]: a digest is over bytes, and a field that is not known here is
//! not lost. What is written by us is serialised from the same types.
#![forbid(unsafe_code)]

pub mod bounds;
pub mod chain;
pub mod config;
pub mod descriptor;
pub mod digest;
pub mod document;
mod error;
pub mod image;
pub mod index;
mod json;
pub mod layer;
pub mod manifest;
pub mod media_type;
mod parsed;
pub mod platform;
pub mod reference;

pub use chain::{ChainId, chain_ids};
pub use config::{Config, Execution, History};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, DiffId, Digest, DigestError, Hasher};
pub use document::Document;
pub use error::{Class, Error};
pub use image::{Image, ImageLayer};
pub use index::Index;
pub use layer::{Compression, Distribution, LayerType};
pub use manifest::Manifest;
pub use parsed::Parsed;
pub use platform::Platform;
pub use reference::{Reference, ReferenceError, Repo, Tag};
