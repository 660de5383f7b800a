//! Which bytes of the tar are which bytes of `data`, without the literal ones between them.

use std::ops::Range;

use super::{Op, Skeleton};
use crate::{error::Error, read_at::ReadAt};

/// A run of bytes that the tar and `data` share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where in the tar.
    pub tar_offset: u64,
    /// Where in `data`.
    pub data_offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// All runs that a layer's tar and its `data` share, in order of both. 24 bytes of memory for each
/// file with contents.
///
/// What of `data` is in no run is zeros that are not in the tar: the ends of files' last blocks, and
/// holes of sparse files. Nothing has to be fetched for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    pieces: Vec<Piece>,
    data_len: u64,
}

impl Map {
    /// Reads the map of a whole skeleton.
    pub fn read<S: ReadAt>(skeleton: &Skeleton<S>) -> Result<Self, Error> {
        let mut pieces: Vec<Piece> = Vec::new();
        for index in 0..skeleton.block_count() {
            for (tar_offset, op) in skeleton.block(index)?.ops() {
                if let Op::Content {
                    data_offset,
                    length,
                } = op
                {
                    pieces.push(Piece {
                        tar_offset: *tar_offset,
                        data_offset: *data_offset,
                        length: *length,
                    });
                }
            }
        }
        pieces.shrink_to_fit();
        Ok(Self {
            pieces,
            data_len: skeleton.summary().data_len,
        })
    }

    /// How long `data` is.
    pub fn data_len(&self) -> u64 {
        self.data_len
    }

    /// All runs.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The runs in a range of the tar, cut to it: where those of its bytes go that are contents.
    pub fn in_tar(&self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        self.within(range, |piece| piece.tar_offset)
    }

    /// The runs in a range of `data`, cut to it: where in the tar its bytes come from. Bytes of the
    /// range in no run are zeros.
    pub fn in_data(&self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        self.within(range, |piece| piece.data_offset)
    }

    fn within(&self, range: Range<u64>, place: fn(&Piece) -> u64) -> impl Iterator<Item = Piece> {
        let first = self
            .pieces
            .partition_point(|piece| place(piece) + piece.length <= range.start);
        let from = self.pieces[first..].iter();
        from.take_while(move |piece| place(piece) < range.end)
            .filter_map(move |piece| {
                let skipped = range.start.saturating_sub(place(piece));
                let length = piece
                    .length
                    .min(range.end - place(piece))
                    .checked_sub(skipped)?;
                (length > 0).then_some(Piece {
                    tar_offset: piece.tar_offset + skipped,
                    data_offset: piece.data_offset + skipped,
                    length,
                })
            })
    }
}
