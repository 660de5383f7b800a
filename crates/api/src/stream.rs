//! Answers that come bit by bit.

mod channel;
mod hijack;

pub(crate) use channel::{Sink, channel};
#[allow(
    unused_imports,
    reason = "containers attach through it, which come next"
)]
pub(crate) use hijack::{Duplex, hijack, stream_type};
