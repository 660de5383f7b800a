//! Zstandard: frames one after another, skippable ones among them.
//!
//! Decoding can start only where a frame starts; other spans say [`Restart::Continue`].

use std::fmt;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use lapstrake_oci::Compression;

use super::{Cutter, Error, Moved, Restart, at_most};

/// log2 of the largest window accepted: 128 MiB, the format's recommended ceiling and the default
/// of the `zstd` tool, which Docker and containerd share or exceed.
const WINDOW_LOG_MAX: u32 = 27;

pub(super) struct Zstd {
    decoder: Decoder<'static>,
    /// The last frame is complete and no byte of a next one was seen.
    between: bool,
    frames: u64,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd")
            .field("between", &self.between)
            .field("frames", &self.frames)
            .finish()
    }
}

impl Zstd {
    pub(super) fn new() -> Result<Self, Error> {
        let memory = |_| Error::Memory {
            compression: Compression::Zstd,
        };
        let mut decoder = Decoder::new().map_err(memory)?;
        decoder
            .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
            .map_err(memory)?;
        Ok(Self {
            decoder,
            between: true,
            frames: 0,
        })
    }

    pub(super) fn may_end(&self) -> bool {
        self.between && self.frames > 0
    }

    pub(super) fn step(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        at: u64,
        cutter: &mut Cutter,
    ) -> Result<Moved, Error> {
        if self.between {
            if input.is_empty() {
                return Ok(Moved::by(0, 0));
            }
            if cutter.takes_free_restart() {
                return Ok(Moved {
                    consumed: 0,
                    produced: 0,
                    boundary: cutter.cut(Restart::At { byte: at }),
                });
            }
        }
        let Some(left) = cutter.until_target() else {
            return Ok(Moved {
                consumed: 0,
                produced: 0,
                boundary: cutter.cut(Restart::Continue),
            });
        };
        let room = at_most(left, output.len());
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around(&mut output[..room]);
        let hint = self
            .decoder
            .run(&mut source, &mut target)
            .map_err(|_| Error::Corrupt {
                compression: Compression::Zstd,
                at,
                what: "not a valid frame, a wrong checksum, or a window above 128 MiB",
            })?;
        let (consumed, produced) = (source.pos(), target.pos());
        cutter.advance(produced);
        if consumed > 0 || produced > 0 {
            if self.between {
                self.frames += 1;
            }
            self.between = hint == 0;
        }
        Ok(Moved::by(consumed, produced))
    }
}
