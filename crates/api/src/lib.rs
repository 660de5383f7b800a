//! The Docker Engine API over Lapstrake's engine: versions, field names, streams, errors.
//!
//! ```text
//! server ── a socket, TLS ── router ── version, headers ── a group: system, images, networks
//!                                                          asks the engine, answers in Docker's JSON
//! ```
//!
//! What it keeps true: every answer has the headers, the status and the words that Docker's has; a request that
//! only reads is given up when its client goes away, one that changes something is finished; work that blocks is done where it holds up no other request. A route
//! is a line in its group's `match`, so that a group reads like the table of the API.
//!
//! Left out: how anything is stored, which the engine knows.
#![forbid(unsafe_code)]

mod answer;
mod call;
mod containers;
mod daemon;
mod error;
mod filters;
mod images;
mod networks;
mod query;
mod router;
mod server;
mod stream;
mod system;
mod time;
mod unsupported;
mod version;
mod volumes;

#[cfg(test)]
mod asking;

pub use daemon::{Daemon, Log, Settings};
pub use server::{Address, AddressError, Listener, ServeError, TlsFiles, serve};
