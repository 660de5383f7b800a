//! The registry protocol as data: endpoints, challenges, tokens, ranges and error bodies, as in the
//! OCI distribution specification and its token authentication companion.
//!
//! No sockets here: these functions turn text into values and back, and never panic on any text.
#![forbid(unsafe_code)]

pub mod challenge;
pub mod endpoint;
pub mod errors;
pub mod range;
pub mod retry_after;
pub mod scope;
pub mod tags;
pub mod token;
