//! Digests, references, descriptors, manifests and configs: the vocabulary, without I/O.
#![forbid(unsafe_code)]

pub mod digest;

pub use digest::{Algorithm, Digest, DiffId};
