//! Making spans again from the blob, and putting them where they belong in `data`.
//!
//! Which spans `data` has is derivable from the layer's files alone: a span is there if skeleton and
//! `data` give tar bytes of its digest. Blocks that are not holes are no proof, since two spans may
//! share one, and a crash may leave zeros.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use lapstrake_oci::DiffId;
use lapstrake_tree::skeleton::{Map, Skeleton};
use lapstrake_tree::view::TarView;

use crate::decode::{self, Decoder, Limits, Restart, SpanPolicy};
use crate::source::{Source, SourceError};
use crate::spans::{SpanTable, Start};

/// Spans are held in memory while they are made; none that this program cuts is as long.
const SPAN_BYTES_MAX: u64 = 64 << 20;
/// How much of the blob is asked for at once.
const READ_BYTES: usize = 256 << 10;

/// Why a span cannot be made or placed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source gave nothing.
    #[error("span {span} cannot be fetched")]
    Source {
        /// Which span.
        span: usize,
        /// Why not.
        #[source]
        source: SourceError,
    },
    /// The source's bytes are not a blob of the format.
    #[error("the source's bytes for span {span} do not decode: use another source")]
    Decode {
        /// Which span.
        span: usize,
        /// What is wrong.
        #[source]
        source: decode::Error,
    },
    /// The source's bytes decode to something else.
    #[error("the source's bytes for span {span} have the wrong digest: use another source")]
    Digest {
        /// Which span.
        span: usize,
    },
    /// The source's blob ends too early.
    #[error("the source's blob ends before span {span}: use another source")]
    Short {
        /// Which span.
        span: usize,
    },
    /// The table is not one that can be used.
    #[error("span {span} of the table cannot be used ({what}): pull the layer again")]
    Table {
        /// Which span.
        span: usize,
        /// Why not.
        what: &'static str,
    },
    /// The skeleton and the table are of different layers.
    #[error("the skeleton is of a tar of {skeleton} bytes, the span table of one of {spans}")]
    Mismatch {
        /// Length by the skeleton.
        skeleton: u64,
        /// Length by the table.
        spans: u64,
    },
    /// The skeleton is damaged.
    #[error("the skeleton cannot be read")]
    Skeleton(#[from] lapstrake_tree::error::Error),
    /// `data` cannot be read or written.
    #[error("cannot {action} the layer's data")]
    Data {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Makes spans from the blob and hands each to `take`, with its digest checked. Those that have to
/// be decoded on the way to the first wanted one are checked and handed over as well: they are free.
pub fn make(
    table: &SpanTable,
    source: &dyn Source,
    wanted: Range<usize>,
    mut take: impl FnMut(usize, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let first = table.group(wanted.start).start;
    let mut stream = Stream::open(table, source, first)?;
    let mut span = Vec::new();
    for index in first..wanted.end {
        let Range { start, end } = table.range(index);
        let length = usize::try_from(end - start).unwrap_or(usize::MAX);
        if end - start > SPAN_BYTES_MAX {
            let what = "it is longer than 64 MiB";
            return Err(Error::Table { span: index, what });
        }
        span.resize(length, 0);
        stream.read_exact(index, &mut span)?;
        if blake3::hash(&span) != table.spans()[index].digest {
            return Err(Error::Digest { span: index });
        }
        take(index, &span)?;
    }
    Ok(())
}

/// The tar from the start of a span on, as the source has it.
struct Stream<'a> {
    source: &'a dyn Source,
    decoder: Decoder,
    offset: u64,
    buffer: Vec<u8>,
    unread: Range<usize>,
}

impl<'a> Stream<'a> {
    fn open(table: &SpanTable, source: &'a dyn Source, span: usize) -> Result<Self, Error> {
        let table_error = |what| Error::Table { span, what };
        let start = &table.spans()[span].start;
        let restart = match start {
            Start::At { byte } => Restart::At { byte: *byte },
            Start::Deflate { bit, window } => Restart::Deflate {
                bit: *bit,
                window: zstd::bulk::decompress(window, lapstrake_sys::inflate::WINDOW)
                    .map_err(|_| table_error("its window does not decompress"))?
                    .into(),
            },
            Start::Continue => return Err(table_error("nothing comes before it")),
        };
        let limits = Limits {
            tar_bytes: table.tar_bytes(),
        };
        let compression = table.blob().compression;
        let decoder = Decoder::resume(compression, &restart, SpanPolicy::MIB, limits)
            .ok_or_else(|| table_error("nothing comes before it"))?
            .map_err(|source| Error::Decode { span, source })?;
        Ok(Self {
            source,
            decoder,
            offset: restart.byte().unwrap_or(0),
            buffer: vec![0; READ_BYTES],
            unread: 0..0,
        })
    }

    fn read_exact(&mut self, span: usize, output: &mut [u8]) -> Result<(), Error> {
        let mut filled = 0;
        while filled < output.len() {
            let step = self
                .decoder
                .decode(&self.buffer[self.unread.clone()], &mut output[filled..])
                .map_err(|source| Error::Decode { span, source })?;
            self.unread.start += step.consumed;
            filled += step.produced;
            if step.produced == 0 && step.boundary.is_none() && self.unread.is_empty() {
                let got = self
                    .source
                    .read_at(self.offset, &mut self.buffer)
                    .map_err(|source| Error::Source { span, source })?;
                if got == 0 {
                    return Err(Error::Short { span });
                }
                self.offset += got as u64;
                self.unread = 0..got;
            }
        }
        Ok(())
    }
}

/// A layer whose `data` may have holes or damage, and what it takes to fill them.
pub struct Layer {
    table: SpanTable,
    map: Map,
    data: Arc<File>,
    view: TarView<Vec<u8>, Arc<File>>,
    source: Box<dyn Source>,
}

impl std::fmt::Debug for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layer")
            .field("blob", &self.table.blob().digest)
            .finish_non_exhaustive()
    }
}

impl Layer {
    /// The layer of these files; `data` is open for reading and writing, and as long as it will be.
    pub fn new(
        table: SpanTable,
        skeleton: Vec<u8>,
        data: File,
        source: Box<dyn Source>,
    ) -> Result<Self, Error> {
        let map = Map::read(&Skeleton::open(&skeleton)?)?;
        let data = Arc::new(data);
        let view = TarView::new(skeleton, Arc::clone(&data))?;
        let tar_len = view.summary().tar_len;
        if tar_len != table.tar_bytes() {
            return Err(Error::Mismatch {
                skeleton: tar_len,
                spans: table.tar_bytes(),
            });
        }
        Ok(Self {
            table,
            map,
            data,
            view,
            source,
        })
    }

    /// How many spans it has.
    pub fn span_count(&self) -> usize {
        self.table.spans().len()
    }

    /// How long `data` is.
    pub fn data_len(&self) -> u64 {
        self.map.data_len()
    }

    /// The spans that bytes of `data` come from, in order.
    pub fn spans_of(&self, data: Range<u64>) -> Vec<usize> {
        let mut spans = Vec::new();
        for piece in self.map.in_data(data) {
            let tar = piece.tar_offset..piece.tar_offset + piece.length;
            spans.extend(self.table.touched(tar));
        }
        spans.sort_unstable();
        spans.dedup();
        spans
    }

    /// Whether `data` has a span, by its digest.
    pub fn is_present(&self, span: usize) -> Result<bool, Error> {
        let Range { start, end } = self.table.range(span);
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        let mut at = start;
        while at < end {
            let step = usize::try_from(end - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
            let got = self.view.read_at(at, &mut buffer[..step]);
            let got = got.map_err(data_error("read"))?;
            if got == 0 {
                return Ok(false);
            }
            hasher.update(&buffer[..got]);
            at += got as u64;
        }
        Ok(hasher.finalize() == self.table.spans()[span].digest)
    }

    /// Makes a span again and writes it in place: into a hole, or over what is damaged. The spans
    /// that come for free on the way are written as well; all that were, are given.
    pub fn fill(&self, span: usize) -> Result<Range<usize>, Error> {
        self.fill_all(span..span + 1)?;
        Ok(self.table.group(span))
    }

    /// As [`Self::fill`], for spans that follow each other: the source is read once.
    pub fn fill_all(&self, spans: Range<usize>) -> Result<(), Error> {
        make(&self.table, &*self.source, spans, |index, tar| {
            self.place(index, tar)
        })
    }

    fn place(&self, span: usize, tar: &[u8]) -> Result<(), Error> {
        let range = self.table.range(span);
        for piece in self.map.in_tar(range.clone()) {
            let start = usize::try_from(piece.tar_offset - range.start);
            let (Ok(start), Ok(length)) = (start, usize::try_from(piece.length)) else {
                let what = "it is longer than memory";
                return Err(Error::Table { span, what });
            };
            self.data
                .write_all_at(&tar[start..start + length], piece.data_offset)
                .map_err(data_error("write"))?;
        }
        Ok(())
    }

    /// Reads bytes of `data` that are there.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let read = self.data.read_exact_at(buffer, offset);
        read.map_err(data_error("read"))
    }

    /// Checks the whole layer against its diff id, once nothing is missing.
    pub fn is_whole(&self, diff_id: &DiffId) -> Result<bool, Error> {
        let mut hasher = diff_id.0.algorithm().hasher();
        let mut buffer = vec![0; READ_BYTES];
        let mut at = 0;
        loop {
            let got = self.view.read_at(at, &mut buffer);
            match got.map_err(data_error("read"))? {
                0 => return Ok(hasher.finish() == diff_id.0),
                got => {
                    hasher.update(&buffer[..got]);
                    at += got as u64;
                }
            }
        }
    }
}

fn data_error(action: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Data { action, source }
}
