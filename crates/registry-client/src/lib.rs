//! Resolves and streams images from OCI registries.
//!
//! ```text
//! Client::resolve ── manifest or index ── Client::manifest, Client::small_blob, Client::blob
//! ```
//!
//! What it keeps true: bytes of manifests and small blobs were checked against their digest before a
//! caller sees them; a blob's stream yields exactly as many bytes as its descriptor says or an
//! error, and the caller checks its digest; credentials go only to the registry that they are for
//! and to the token server that it names; plain HTTP is spoken only to this machine or to hosts
//! that were named.
//!
//! Left out: stores, files and the environment. Credentials and options are arguments.
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod client;
mod error;
mod http;
mod options;
mod retry;

pub use blob::BlobStream;
pub use client::{Client, Resolved};
pub use error::{Class, Error};
pub use options::{Credential, Options, PlainHttp};
