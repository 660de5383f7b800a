//! Cutting a stream of bytes into lines, and long lines into pieces of at most 16 KiB, where Docker
//! cuts them.
//!
//! One thing is done better: a character that lies across the cut goes whole into the next piece.
//! Docker's JSON has two replacement characters in its place.

use crate::logs::entry::{Part, Piece};
use crate::time::Timestamp;
use crate::wire::Stream;

/// A piece has no more bytes.
pub(crate) const PIECE: usize = 16 << 10;

/// One stream's state.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: Stream,
    /// What has come of a line that has not ended.
    begun: Vec<u8>,
    /// The last piece of this line that was passed on.
    part: Option<Part>,
    /// When the first piece of this line came.
    time: Timestamp,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            begun: Vec::new(),
            part: None,
            time: Timestamp::from_nanoseconds(0),
        }
    }

    /// Passes on all lines and pieces that are complete with these bytes.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        now: &dyn Fn() -> Timestamp,
        emit: &mut dyn FnMut(&Piece<'_>),
    ) {
        while !bytes.is_empty() {
            let room = PIECE - self.begun.len();
            let near = bytes.get(..room).unwrap_or(bytes);
            if let Some(length) = near.iter().position(|byte| *byte == b'\n') {
                let (line, rest) = bytes.split_at(length);
                bytes = rest.get(1..).unwrap_or_default();
                self.end_line(line, now, emit);
            } else {
                self.begun.extend_from_slice(near);
                bytes = bytes.get(near.len()..).unwrap_or_default();
                if self.begun.len() == PIECE {
                    self.cut(PIECE - unfinished_character(&self.begun), now, emit);
                }
            }
        }
    }

    /// Passes on what is left when the stream has ended: a line without its end.
    pub(crate) fn finish(&mut self, now: &dyn Fn() -> Timestamp, emit: &mut dyn FnMut(&Piece<'_>)) {
        if !self.begun.is_empty() {
            self.cut(self.begun.len(), now, emit);
        }
        self.part = None;
    }

    fn end_line(
        &mut self,
        line: &[u8],
        now: &dyn Fn() -> Timestamp,
        emit: &mut dyn FnMut(&Piece<'_>),
    ) {
        let part = self.part.take().map(|part| Part {
            ordinal: part.ordinal.saturating_add(1),
            last: true,
            ..part
        });
        let time = if part.is_some() { self.time } else { now() };
        let text = if self.begun.is_empty() {
            line
        } else {
            self.begun.extend_from_slice(line);
            &self.begun
        };
        let stream = self.stream;
        emit(&Piece {
            stream,
            time,
            text,
            part,
        });
        self.begun.clear();
    }

    /// Passes on the first `length` bytes of a line that goes on.
    fn cut(
        &mut self,
        length: usize,
        now: &dyn Fn() -> Timestamp,
        emit: &mut dyn FnMut(&Piece<'_>),
    ) {
        let part = match self.part {
            Some(part) => Part {
                ordinal: part.ordinal.saturating_add(1),
                ..part
            },
            None => {
                self.time = now();
                Part {
                    id: self.time,
                    ordinal: 1,
                    last: false,
                }
            }
        };
        self.part = Some(part);
        emit(&Piece {
            stream: self.stream,
            time: self.time,
            text: self.begun.get(..length).unwrap_or(&self.begun),
            part: Some(part),
        });
        self.begun.drain(..length);
    }
}

/// How many bytes at the end begin a UTF-8 character that is not complete.
fn unfinished_character(bytes: &[u8]) -> usize {
    let last = bytes.iter().rev().take(3).enumerate();
    for (after, byte) in last {
        let length = match byte {
            0b1000_0000..=0b1011_1111 => continue,
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            _ => 1,
        };
        return if length > after + 1 { after + 1 } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The texts of all pieces, with `\n` where a line ends, and their ordinals.
    fn cut(chunks: &[&[u8]]) -> Vec<(Vec<u8>, u32)> {
        let mut pieces = Vec::new();
        let mut lines = Lines::new(Stream::Stdout);
        let now = || Timestamp::from_nanoseconds(1);
        let mut emit = |piece: &Piece<'_>| {
            let mut text = piece.text.to_vec();
            if piece.ends_line() {
                text.push(b'\n');
            }
            pieces.push((text, piece.part.map_or(0, |part| part.ordinal)));
        };
        for chunk in chunks {
            lines.feed(chunk, &now, &mut emit);
        }
        lines.finish(&now, &mut emit);
        pieces
    }

    #[test]
    fn lines_are_entries() {
        let expect = [
            (b"a\n".to_vec(), 0),
            (b"\n".to_vec(), 0),
            (b"bc".to_vec(), 1),
        ];
        assert_eq!(cut(&[b"a\n\nb", b"c"]), expect);
    }

    #[test]
    fn a_long_line_has_pieces_of_16_kib() {
        let mut line = vec![b'x'; 2 * PIECE];
        line.push(b'\n');
        let pieces = cut(&[&line]);
        let shape: Vec<_> = pieces
            .iter()
            .map(|(text, part)| (text.len(), *part))
            .collect();
        assert_eq!(shape, [(PIECE, 1), (PIECE, 2), (1, 3)]);
    }

    #[test]
    fn a_character_across_the_cut_stays_whole() {
        let mut line = vec![b'x'; PIECE - 1];
        line.extend("é!\n".as_bytes());
        let pieces = cut(&[&line]);
        assert_eq!(pieces[0].0.len(), PIECE - 1);
        assert_eq!(pieces[1].0, "é!\n".as_bytes());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_byte_is_lost_however_it_comes(
            parts in proptest::collection::vec(".{0,20}\n?|[xé]{5000}", 0..8),
            stray in any::<u8>(),
            at in 1_usize..5_000,
        ) {
            let text = parts.join("").into_bytes().into_iter().chain([stray]).collect::<Vec<_>>();
            let chunks: Vec<&[u8]> = text.chunks(at).collect();
            let pieces = cut(&chunks);
            prop_assert!(pieces.iter().all(|(piece, _)| piece.len() <= PIECE + 1));
            prop_assert_eq!(pieces.into_iter().flat_map(|(piece, _)| piece).collect::<Vec<_>>(), text);
        }
    }
}
