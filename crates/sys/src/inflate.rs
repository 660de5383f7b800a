//! Raw deflate with its state in reach: block boundaries, unused bits, the window.
//!
//! A checkpoint in the middle of a gzip stream is a bit position between two deflate blocks and the
//! 32 KiB before it. `zlib-rs`' safe interface shows neither the position nor the window, so this
//! module wraps its zlib-compatible one. It keeps no policy: where to stop is the caller's to say.

use std::fmt;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_NO_FLUSH, Z_OK, Z_STREAM_END, inflate, inflateEnd,
    inflateGetDictionary, inflateInit2_, inflatePrime, inflateReset, inflateSetDictionary,
    z_stream, zlibVersion,
};

/// How far back a deflate match can reach: the most that a window holds.
pub const WINDOW: usize = 32 * 1024;

/// When to come back before input or output run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Not before.
    Never,
    /// At the next boundary between two deflate blocks.
    AtBlock,
}

/// Where inflating stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Input or output ran out inside a block.
    Inside,
    /// Between two blocks; asked for by [`Stop::AtBlock`].
    Block {
        /// How many bits at the end of the consumed input belong to the next block.
        unused_bits: u8,
    },
    /// After the last block. The consumed input ends with the byte that holds its last bit.
    End,
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inflated {
    /// Bytes of input used up.
    pub consumed: usize,
    /// Bytes of output written.
    pub produced: usize,
    /// Where it stopped.
    pub at: At,
}

/// Why inflating failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The input is not a deflate stream.
    #[error("not a valid deflate stream")]
    Data,
    /// No memory for the state.
    #[error("out of memory for a deflate window")]
    Memory,
}

/// One raw deflate stream being inflated.
pub struct RawInflate {
    stream: Box<z_stream>,
}

// SAFETY: the state behind `stream.state` is one allocation owned by this value alone; no thread
// keeps a pointer into it, and every access goes through `&mut self` or `&self`.
unsafe impl Send for RawInflate {}

impl fmt::Debug for RawInflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawInflate").finish_non_exhaustive()
    }
}

impl RawInflate {
    /// Ready for the first byte of a stream.
    pub fn new() -> Result<Self, InflateError> {
        let mut stream = Box::<z_stream>::default();
        let size = i32::try_from(size_of::<z_stream>()).expect("z_stream is small");
        // SAFETY: `stream` is a valid, exclusively borrowed z_stream whose allocator fields are the
        // defaults; the version is that library's own NUL-terminated string.
        match unsafe { inflateInit2_(&raw mut *stream, -15, zlibVersion(), size) } {
            Z_OK => Ok(Self { stream }),
            _ => Err(InflateError::Memory),
        }
    }

    /// Forgets everything; ready for the first byte of a stream.
    pub fn reset(&mut self) {
        // SAFETY: `stream` was initialised in `new` and is exclusively borrowed.
        let code = unsafe { inflateReset(&raw mut *self.stream) };
        debug_assert_eq!(code, Z_OK);
    }

    /// Starts in the middle of a stream: `window` came before, and the first block begins with the
    /// top `bits` bits of `byte` (none if `bits` is 0).
    pub fn restart(&mut self, window: &[u8], byte: u8, bits: u8) -> Result<(), InflateError> {
        assert!(bits < 8, "a byte has at most 7 bits left of it");
        self.reset();
        if bits > 0 {
            let value = i32::from(byte >> (8 - bits));
            // SAFETY: `stream` was initialised in `new` and is exclusively borrowed.
            let code = unsafe { inflatePrime(&raw mut *self.stream, i32::from(bits), value) };
            debug_assert_eq!(code, Z_OK);
        }
        let tail = &window[window.len().saturating_sub(WINDOW)..];
        let length = u32::try_from(tail.len()).expect("at most WINDOW");
        // SAFETY: `stream` was initialised in `new`; the pointer and length are those of a live slice.
        match unsafe { inflateSetDictionary(&raw mut *self.stream, tail.as_ptr(), length) } {
            Z_OK => Ok(()),
            _ => Err(InflateError::Memory),
        }
    }

    /// Inflates until input or output run out, the stream ends, or where `stop` says.
    pub fn run(
        &mut self,
        input: &[u8],
        output: &mut [u8],
        stop: Stop,
    ) -> Result<Inflated, InflateError> {
        let offered_in = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let offered_out = u32::try_from(output.len()).unwrap_or(u32::MAX);
        self.stream.next_in = input.as_ptr();
        self.stream.avail_in = offered_in;
        self.stream.next_out = output.as_mut_ptr();
        self.stream.avail_out = offered_out;
        let flush = match stop {
            Stop::Never => Z_NO_FLUSH,
            Stop::AtBlock => Z_BLOCK,
        };
        // SAFETY: `stream` was initialised in `new`; next_in/avail_in and next_out/avail_out describe
        // live slices, the latter exclusively borrowed, and both are cleared below.
        let code = unsafe { inflate(&raw mut *self.stream, flush) };
        let consumed = (offered_in - self.stream.avail_in) as usize;
        let produced = (offered_out - self.stream.avail_out) as usize;
        self.stream.next_in = std::ptr::null();
        self.stream.avail_in = 0;
        self.stream.next_out = std::ptr::null_mut();
        self.stream.avail_out = 0;
        let at = match code {
            Z_STREAM_END => At::End,
            Z_OK | Z_BUF_ERROR => self.position(stop),
            _ => return Err(InflateError::Data),
        };
        Ok(Inflated {
            consumed,
            produced,
            at,
        })
    }

    /// zlib's `data_type` after a call: 128 between blocks, 64 in the last one, then unused bits.
    fn position(&self, stop: Stop) -> At {
        let data_type = self.stream.data_type;
        let between = data_type & 128 != 0 && data_type & 64 == 0;
        match u8::try_from(data_type & 63) {
            Ok(unused_bits) if between && stop == Stop::AtBlock => At::Block { unused_bits },
            _ => At::Inside,
        }
    }

    /// The last bytes of output, at most [`WINDOW`] of them: what a restart here needs.
    pub fn window(&self) -> Vec<u8> {
        let mut window = vec![0; WINDOW];
        let mut length = 0;
        // SAFETY: `stream` was initialised in `new`; the buffer holds WINDOW bytes, which is always
        // enough, and `length` outlives the call.
        let code = unsafe {
            inflateGetDictionary(
                &raw const *self.stream,
                window.as_mut_ptr(),
                &raw mut length,
            )
        };
        debug_assert_eq!(code, Z_OK);
        window.truncate(length as usize);
        window
    }
}

impl Drop for RawInflate {
    fn drop(&mut self) {
        // SAFETY: `stream` was initialised in `new` and is never used again.
        let code = unsafe { inflateEnd(&raw mut *self.stream) };
        debug_assert_eq!(code, Z_OK);
    }
}
