//! Decoding a layer's blob as it arrives, and cutting its tar into spans on the way.
//!
//! [`Decoder::decode`] turns bytes of the blob into bytes of the tar. About every
//! [`SpanPolicy::bytes`] of tar it stops at a [`Boundary`]: the next byte starts a new span, and the
//! boundary says how decoding can start again there. The caller carries the boundary along with the
//! bytes to whoever hashes the tar (usually another thread's [`SpanRecorder`](crate::spans::SpanRecorder)).
//!
//! What the three formats offer as places to start again:
//! - gzip: any boundary between two deflate blocks, at the price of the 32 KiB window before it; the
//!   start of a member, for nothing.
//! - zstd: the start of a frame. Most layers are one frame, and then all their spans form one group
//!   that can only be decoded from its start ([`Restart::Continue`]).
//! - plain: anywhere.
//!
//! Nothing the blob says is trusted: memory is bounded by the formats' windows (32 KiB; 128 MiB for
//! zstd, frames that ask for more are refused), output by the caller's limit, checksums are checked.

mod gzip;
mod header;
mod plain;
mod zstd;

#[cfg(test)]
mod tests;

use std::num::NonZeroU32;

use lapstrake_oci::Compression;
use lapstrake_sys::inflate::InflateError;

/// How long spans are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanPolicy {
    /// A span ends at the first possible place after this many bytes of tar; a span with no such
    /// place is cut at twice this. A new member or frame may end a span from half of this on.
    pub bytes: NonZeroU32,
}

impl SpanPolicy {
    /// Spans of about 1 MiB: windows cost about 1 % of the tar, and a miss reads about 3 times what
    /// it needs.
    pub const MIB: Self = Self {
        bytes: NonZeroU32::new(1 << 20).expect("not zero"),
    };

    fn target(self) -> u64 {
        u64::from(self.bytes.get())
    }
}

/// What a blob may make of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of tar; a blob that decodes to more is refused as soon as it does.
    pub tar_bytes: u64,
}

/// How decoding can start at the beginning of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restart {
    /// From this byte of the blob: the start of a gzip member or zstd frame, or any byte of a plain blob.
    At {
        /// In bytes from the start of the blob.
        byte: u64,
    },
    /// From this bit of the blob, between two deflate blocks.
    Deflate {
        /// In bits from the start of the blob, counted as deflate does: the lowest of a byte first.
        bit: u64,
        /// The tar bytes before, at most 32 KiB.
        window: Box<[u8]>,
    },
    /// Only from an earlier span.
    Continue,
}

impl Restart {
    /// The first byte of the blob that is needed, if this is a place to start.
    pub fn byte(&self) -> Option<u64> {
        match self {
            Self::At { byte } => Some(*byte),
            Self::Deflate { bit, .. } => Some(bit / 8),
            Self::Continue => None,
        }
    }
}

/// The end of one span and the start of the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary {
    /// Where the new span starts, in bytes of tar. Twice the same: the later restart counts.
    pub tar_offset: u64,
    /// How decoding can start there.
    pub restart: Restart,
}

/// What one call of [`Decoder::decode`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of input used up.
    pub consumed: usize,
    /// Bytes of output written.
    pub produced: usize,
    /// A new span starts right after the bytes produced.
    pub boundary: Option<Boundary>,
}

/// What was decoded in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of the blob.
    pub blob_bytes: u64,
    /// Bytes of the tar.
    pub tar_bytes: u64,
}

/// Why a blob cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It breaks its format's rules, or a checksum.
    #[error("the {} blob is corrupt near byte {at}: {what}", compression.name())]
    Corrupt {
        /// Its format.
        compression: Compression,
        /// Roughly where, in bytes of the blob.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It ends too early.
    #[error("the {} blob ends too early, at byte {at}", compression.name())]
    Truncated {
        /// Its format.
        compression: Compression,
        /// Where it ends.
        at: u64,
    },
    /// It decodes to more than allowed.
    #[error("the {} blob decodes to more than {limit} bytes; raise the limit if that is meant", compression.name())]
    TooLarge {
        /// Its format.
        compression: Compression,
        /// The limit given.
        limit: u64,
    },
    /// No memory for the decoder's window.
    #[error("out of memory for a {} decoder", compression.name())]
    Memory {
        /// The format.
        compression: Compression,
    },
}

/// A blob being decoded.
///
/// Life cycle: [`Self::new`] at the start of the blob (or at a span's start, for a refill), then
/// [`Self::decode`] until the blob has been fed and no output is left, then [`Self::finish`].
#[derive(Debug)]
pub struct Decoder {
    compression: Compression,
    format: Format,
    cutter: Cutter,
    limits: Limits,
    consumed: u64,
}

#[derive(Debug)]
enum Format {
    Plain(plain::Plain),
    Gzip(gzip::Gzip),
    Zstd(zstd::Zstd),
}

impl Decoder {
    /// Ready for the first byte of a blob.
    pub fn new(
        compression: Compression,
        policy: SpanPolicy,
        limits: Limits,
    ) -> Result<Self, Error> {
        let format = match compression {
            Compression::None => Format::Plain(plain::Plain),
            Compression::Gzip => Format::Gzip(gzip::Gzip::new()?),
            Compression::Zstd => Format::Zstd(zstd::Zstd::new()?),
        };
        Ok(Self {
            compression,
            format,
            cutter: Cutter::new(policy),
            limits,
            consumed: 0,
        })
    }

    /// Ready for the blob's bytes from [`Restart::byte`] on, to make spans again from there.
    /// Offsets in steps and totals count from there. [`Restart::Continue`] is no place to start:
    /// `None`.
    pub fn resume(
        compression: Compression,
        restart: &Restart,
        policy: SpanPolicy,
        limits: Limits,
    ) -> Option<Result<Self, Error>> {
        match restart {
            Restart::Continue => None,
            Restart::At { .. } => Some(Self::new(compression, policy, limits)),
            Restart::Deflate { bit, window } => {
                Some(gzip::Gzip::resume(*bit, window.clone()).map(|gzip| {
                    let format = Format::Gzip(gzip);
                    Self {
                        compression,
                        format,
                        cutter: Cutter::new(policy),
                        limits,
                        consumed: 0,
                    }
                }))
            }
        }
    }

    /// Decodes until the input is used up, the output is full, or a span ends.
    ///
    /// All output is out when a call returns no boundary and leaves output empty space; until then
    /// call again, with empty input if none is left. Every call gets on unless there is neither
    /// input nor pending output.
    pub fn decode(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, Error> {
        // One byte more than allowed is let through, so that reaching the limit and exceeding it
        // can be told apart.
        let room = self
            .limits
            .tar_bytes
            .saturating_sub(self.cutter.tar_offset)
            .saturating_add(1);
        let room = usize::try_from(room)
            .unwrap_or(usize::MAX)
            .min(output.len());
        let output = &mut output[..room];
        let mut step = Step {
            consumed: 0,
            produced: 0,
            boundary: None,
        };
        while step.boundary.is_none() {
            let at = self.consumed + step.consumed as u64;
            let (input, output) = (&input[step.consumed..], &mut output[step.produced..]);
            let Moved {
                consumed,
                produced,
                boundary,
            } = match &mut self.format {
                Format::Plain(plain) => plain.step(input, output, at, &mut self.cutter),
                Format::Gzip(gzip) => gzip.step(input, output, at, &mut self.cutter)?,
                Format::Zstd(zstd) => zstd.step(input, output, at, &mut self.cutter)?,
            };
            step.consumed += consumed;
            step.produced += produced;
            step.boundary = boundary;
            if consumed == 0 && produced == 0 {
                break;
            }
        }
        self.consumed += step.consumed as u64;
        if self.cutter.tar_offset > self.limits.tar_bytes {
            return Err(Error::TooLarge {
                compression: self.compression,
                limit: self.limits.tar_bytes,
            });
        }
        Ok(step)
    }

    /// The blob has been fed to its end: was it whole?
    pub fn finish(self) -> Result<Totals, Error> {
        let whole = match &self.format {
            Format::Plain(_) => true,
            Format::Gzip(gzip) => gzip.may_end(),
            Format::Zstd(zstd) => zstd.may_end(),
        };
        if !whole {
            return Err(Error::Truncated {
                compression: self.compression,
                at: self.consumed,
            });
        }
        Ok(Totals {
            blob_bytes: self.consumed,
            tar_bytes: self.cutter.tar_offset,
        })
    }
}

/// What a format did in one step.
struct Moved {
    consumed: usize,
    produced: usize,
    boundary: Option<Boundary>,
}

impl Moved {
    fn by(consumed: usize, produced: usize) -> Self {
        Self {
            consumed,
            produced,
            boundary: None,
        }
    }
}

/// Decides where spans end.
#[derive(Debug)]
struct Cutter {
    policy: SpanPolicy,
    tar_offset: u64,
    span_start: u64,
    /// Whether the current span can be decoded without those before it.
    restarts: bool,
}

impl Cutter {
    fn new(policy: SpanPolicy) -> Self {
        Self {
            policy,
            tar_offset: 0,
            span_start: 0,
            restarts: true,
        }
    }

    fn advance(&mut self, produced: usize) {
        self.tar_offset += produced as u64;
    }

    fn span_length(&self) -> u64 {
        self.tar_offset - self.span_start
    }

    /// Bytes until the span may end in the middle of a stream; `None` once it may.
    fn until_target(&self) -> Option<u64> {
        self.policy
            .target()
            .checked_sub(self.span_length())
            .filter(|left| *left > 0)
    }

    /// Bytes until the span must end.
    fn until_forced(&self) -> u64 {
        (2 * self.policy.target()).saturating_sub(self.span_length())
    }

    /// Whether the start of a member or frame may end the span here, or give an empty span that was
    /// cut for want of anything better the place to start that it lacks.
    fn takes_free_restart(&self) -> bool {
        match self.span_length() {
            0 => !self.restarts,
            length => 2 * length >= self.policy.target(),
        }
    }

    fn cut(&mut self, restart: Restart) -> Option<Boundary> {
        self.span_start = self.tar_offset;
        self.restarts = restart != Restart::Continue;
        Some(Boundary {
            tar_offset: self.tar_offset,
            restart,
        })
    }
}

fn at_most(bytes: u64, room: usize) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(room)
}

impl Error {
    fn from_inflate(error: InflateError, at: u64) -> Self {
        match error {
            InflateError::Data => Self::Corrupt {
                compression: Compression::Gzip,
                at,
                what: "not a valid deflate stream",
            },
            InflateError::Memory => Self::Memory {
                compression: Compression::Gzip,
            },
        }
    }
}
