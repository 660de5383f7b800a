//! Resolves, streams and pushes images from and to OCI registries.
//!
//! ```text
//! Client::resolve ── manifest or index ── Client::manifest, Client::small_blob, Client::blob
//! Client::push_blob, Client::push_manifest ───────────┤
//!                                                     │
//!        Net ── mirrors, then the registry ── Auth ── one request, its redirects, other tries
//! ```
//!
//! What it keeps true: bytes of manifests and small blobs were checked against their digest before a
//! caller sees them; a blob's stream yields exactly as many bytes as its descriptor says or an
//! error, and the caller checks its digest; credentials go only to the registry or mirror that they are
//! for and to the token server that it names, and are in no message; plain HTTP is spoken only to this
//! machine or to hosts that were named; what will not change, such as a bad certificate, is not tried again.
//!
//! Left out: stores and the environment. Where files of credentials and certificates are is told; HTTP/2,
//! which for few large bodies adds a copy and flow control to what a connection each does better.
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod certificates;
mod client;
mod credentials;
mod endpoint;
mod error;
mod http;
mod login;
mod net;
mod options;
mod push;
mod request;
mod retry;
mod tags;

pub use blob::{BlobStream, OnRetry};
pub use certificates::Certificates;
pub use client::{Client, Resolved};
pub use credentials::{AuthFile, Credential, Credentials, Helper, HelperError};
pub use error::{Class, Error};
pub use options::{Fetching, Mirror, Options, PlainHttp, Proxies, Pushing};
pub use push::{ByteStream, Copied, FromRead, Pushed, Source, Way};
