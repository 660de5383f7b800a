//! Holes, spans and sources: how a missing range is made again.
//!
//! A layer arrives as a compressed blob. While it is decoded ([`decode`]) its tar is cut into *spans*
//! of about 1 MiB, and for each the place in the blob from which decoding can start again is kept,
//! with the span's digest ([`spans`]). With that, any span can be made again from the blob ([`refill`]),
//! wherever that is ([`source`]), and a layer with holes can be served ([`serve`]).
#![forbid(unsafe_code)]

pub mod decode;
pub mod refill;
pub mod serve;
pub mod source;
pub mod spans;
