//! Answers that come bit by bit, and requests' bodies that are read so.

mod channel;
mod file;
mod hangup;
mod hijack;
mod messages;
mod said;

pub(crate) use channel::{Sink, channel};
pub(crate) use file::file;
pub(crate) use hijack::{Duplex, hijack, stream_type};
pub(crate) use messages::{Message, Messages, Progress, messages, only_messages};
pub(crate) use said::reader;
