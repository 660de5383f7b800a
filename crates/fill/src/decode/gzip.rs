//! gzip: members one after another, each a header, a deflate stream and a trailer.
//!
//! Decoding stops at block boundaries only once a span is long enough, so the fast path is that of a
//! plain inflate. After the last member, zeros up to the end of the blob are accepted as padding
//! (as `gzip` and `unpigz` do, which Docker and containerd prefer to Go's reader); anything else is not.

use lapstrake_sys::inflate::{At, RawInflate, Stop};
use zlib_rs::crc32::crc32;

use super::header::Header;
use lapstrake_oci::Compression;

use super::{Cutter, Error, Moved, Restart, at_most};

/// Output per call of the inflater: small enough that the checksum reads it back from the cache.
const CHUNK: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Gzip {
    inflate: RawInflate,
    part: Part,
    /// Whether the current member was seen from its start, so that its trailer can be checked.
    whole: bool,
    crc: u32,
    length: u32,
    members: u64,
}

#[derive(Debug)]
enum Part {
    /// Before a member, or at the end.
    Between,
    /// Before a block in the middle of a member, whose first `bits` bits end the byte that comes next.
    Resume {
        bits: u8,
        window: Box<[u8]>,
    },
    Header(Header),
    Body,
    Trailer {
        bytes: [u8; 8],
        have: usize,
    },
    Padding,
}

impl Gzip {
    pub(super) fn new() -> Result<Self, Error> {
        let inflate = RawInflate::new().map_err(|error| Error::from_inflate(error, 0))?;
        Ok(Self {
            inflate,
            part: Part::Between,
            whole: true,
            crc: 0,
            length: 0,
            members: 0,
        })
    }

    /// For the block that starts at this bit, with these bytes before it.
    pub(super) fn resume(bit: u64, window: Box<[u8]>) -> Result<Self, Error> {
        let offset = u8::try_from(bit % 8).expect("below 8");
        let bits = if offset == 0 { 0 } else { 8 - offset };
        Ok(Self {
            part: Part::Resume { bits, window },
            whole: false,
            members: 1,
            ..Self::new()?
        })
    }

    pub(super) fn may_end(&self) -> bool {
        match self.part {
            Part::Between => self.members > 0,
            Part::Padding => true,
            Part::Resume { .. } | Part::Header(_) | Part::Body | Part::Trailer { .. } => false,
        }
    }

    pub(super) fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        at: u64,
        cutter: &mut Cutter,
    ) -> Result<Moved, Error> {
        match &mut self.part {
            Part::Between => self.between(input, output, at, cutter),
            Part::Resume { bits, window } => {
                let first = if *bits > 0 {
                    input.first().copied()
                } else {
                    Some(0)
                };
                let Some(first) = first else {
                    return Ok(Moved::by(0, 0));
                };
                self.inflate
                    .restart(window, first, *bits)
                    .map_err(|error| Error::from_inflate(error, at))?;
                let used = usize::from(*bits > 0);
                self.part = Part::Body;
                let rest = self.step(&input[used..], output, at + used as u64, cutter)?;
                Ok(Moved {
                    consumed: used + rest.consumed,
                    ..rest
                })
            }
            Part::Header(header) => {
                let (used, complete) = header.read(input).map_err(|what| corrupt(at, what))?;
                if complete {
                    self.inflate.reset();
                    (self.crc, self.length, self.whole) = (0, 0, true);
                    self.part = Part::Body;
                }
                Ok(Moved::by(used, 0))
            }
            Part::Body => self.body(input, output, at, cutter),
            Part::Trailer { bytes, have } => {
                let count = input.len().min(bytes.len() - *have);
                bytes[*have..*have + count].copy_from_slice(&input[..count]);
                *have += count;
                if *have == bytes.len() {
                    self.check(at)?;
                }
                Ok(Moved::by(count, 0))
            }
            Part::Padding => match input.iter().position(|byte| *byte != 0) {
                None => Ok(Moved::by(input.len(), 0)),
                Some(index) => Err(corrupt(
                    at + index as u64,
                    "bytes follow the padding after the last member",
                )),
            },
        }
    }

    fn between(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        at: u64,
        cutter: &mut Cutter,
    ) -> Result<Moved, Error> {
        let Some(first) = input.first() else {
            return Ok(Moved::by(0, 0));
        };
        if *first == 0 && self.members > 0 {
            self.part = Part::Padding;
        } else if cutter.takes_free_restart() {
            return Ok(Moved {
                consumed: 0,
                produced: 0,
                boundary: cutter.cut(Restart::At { byte: at }),
            });
        } else {
            self.members += 1;
            self.part = Part::Header(Header::new());
        }
        self.step(input, output, at, cutter)
    }

    fn body(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        at: u64,
        cutter: &mut Cutter,
    ) -> Result<Moved, Error> {
        let (stop, limit) = match cutter.until_target() {
            Some(left) => (Stop::Never, left),
            None => (Stop::AtBlock, cutter.until_forced()),
        };
        if limit == 0 {
            return Ok(Moved {
                consumed: 0,
                produced: 0,
                boundary: cutter.cut(Restart::Continue),
            });
        }
        let room = at_most(limit, output.len().min(CHUNK));
        let mut run = || {
            let done = self.inflate.run(input, &mut output[..room], stop);
            done.map_err(|error| Error::from_inflate(error, at))
        };
        let mut done = run()?;
        if (done.consumed, done.produced, done.at) == (0, 0, At::Inside) {
            // The end of a block may have been in the bits that were taken before: it got on, by no byte.
            done = run()?;
        }
        self.crc = crc32(self.crc, &output[..done.produced]);
        // The trailer holds the length modulo 2^32; a call produces at most CHUNK.
        self.length = self
            .length
            .wrapping_add(u32::try_from(done.produced).expect("at most CHUNK"));
        cutter.advance(done.produced);
        let mut moved = Moved::by(done.consumed, done.produced);
        match done.at {
            At::Inside => {}
            At::End => {
                self.part = Part::Trailer {
                    bytes: [0; 8],
                    have: 0,
                };
                if (done.consumed, done.produced) == (0, 0) {
                    return self.step(input, output, at, cutter);
                }
            }
            At::Block { unused_bits } => {
                let bit = (at + done.consumed as u64) * 8 - u64::from(unused_bits);
                let window = self.inflate.window().into_boxed_slice();
                moved.boundary = cutter.cut(Restart::Deflate { bit, window });
            }
        }
        Ok(moved)
    }

    fn check(&mut self, at: u64) -> Result<(), Error> {
        let Part::Trailer { bytes, .. } = &self.part else {
            return Ok(());
        };
        if !self.whole {
            self.part = Part::Between;
            return Ok(());
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3] = *bytes;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc {
            return Err(corrupt(at, "the checksum of a gzip member is wrong"));
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != self.length {
            return Err(corrupt(at, "the length of a gzip member is wrong"));
        }
        self.part = Part::Between;
        Ok(())
    }
}

fn corrupt(at: u64, what: &'static str) -> Error {
    Error::Corrupt {
        compression: Compression::Gzip,
        at,
        what,
    }
}
