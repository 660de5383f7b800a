//! One entry of a log, whatever its format.

use std::collections::BTreeMap;

use crate::time::Timestamp;
use crate::wire::Stream;

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it was written to.
    pub stream: Stream,
    /// When it was read from the process; pieces of one line have the time of the first.
    pub time: Timestamp,
    /// The line, with its line feed; a piece that is not a line's last has none.
    pub line: Vec<u8>,
    /// What the settings added.
    pub attributes: BTreeMap<String, String>,
}

/// What a writer is given: a line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) stream: Stream,
    pub(crate) time: Timestamp,
    /// Without the line feed.
    pub(crate) text: &'a [u8],
    /// Where in a long line; `None` for a line that is whole.
    pub(crate) part: Option<Part>,
}

/// Which piece of a long line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// The same for all pieces of a line, and for no others of the same second.
    pub(crate) id: Timestamp,
    /// Counted from 1.
    pub(crate) ordinal: u32,
    /// Whether a line feed follows.
    pub(crate) last: bool,
}

impl Piece<'_> {
    /// Whether the line ends with this piece.
    pub(crate) fn ends_line(&self) -> bool {
        self.part.is_none_or(|part| part.last)
    }
}

/// The streams' names in both formats.
pub(crate) fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdin => "stdin",
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

pub(crate) fn named(name: &[u8]) -> Option<Stream> {
    match name {
        b"stdout" => Some(Stream::Stdout),
        b"stderr" => Some(Stream::Stderr),
        _ => None,
    }
}
