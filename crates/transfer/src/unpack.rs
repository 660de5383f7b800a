//! What compresses a whole archive: gzip, bzip2, xz, zstd or nothing, told by its first bytes.
//!
//! Memory is bounded whatever the archive says: windows above 128 MiB (zstd) and dictionaries that
//! need more than [`XZ_KIB`] (xz) are refused. How much comes out is for the reader to bound.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use lapstrake_fill::decode::{Decoder, Limits, SpanPolicy};
use lapstrake_oci::Compression;
use lzma_rust2::XzReader;

/// What `xz -9` needs to be read, and a little more.
const XZ_KIB: u32 = 68 << 10;
/// Bytes of input at a time.
const BUFFER_BYTES: usize = 128 * 1024;
/// As many first bytes as the longest mark has.
const MARK_BYTES: usize = 6;

/// How something is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// Not at all, or as a layer's blob may be.
    Blob(Compression),
    Bzip2,
    Xz,
}

impl Packing {
    /// What the first bytes say.
    pub(crate) fn detect(start: &[u8]) -> Self {
        match start {
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            _ => Self::Blob(Compression::detect(start)),
        }
    }
}

/// What is left of a stream behind its first bytes, with these.
pub(crate) type Whole<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// Reads up to `count` first bytes of a stream; it then still has all of them.
pub(crate) fn peek<R: Read>(mut input: R, count: usize) -> io::Result<(Vec<u8>, Whole<R>)> {
    let mut start = Vec::with_capacity(count);
    input.by_ref().take(count as u64).read_to_end(&mut start)?;
    let whole = Cursor::new(start.clone()).chain(input);
    Ok((start, whole))
}

/// A stream, decompressed if its first bytes say that it is compressed: by gzip, bzip2, xz or zstd.
///
/// # Errors
/// If the first bytes can't be read.
pub fn unpacked(input: impl Read) -> io::Result<impl Read> {
    Unpacked::new(input)
}

/// A stream, decompressed. Once it failed it says the same for ever.
pub(crate) struct Unpacked<R: Read> {
    reader: Reader<R>,
    failed: Option<(io::ErrorKind, String)>,
}

enum Reader<R: Read> {
    Plain(Whole<R>),
    Blob(Box<Decoded<Whole<R>>>),
    Bzip2(MultiBzDecoder<BufReader<Whole<R>>>),
    Xz(Box<XzReader<BufReader<Whole<R>>>>),
}

impl<R: Read> Unpacked<R> {
    /// Looks at the first bytes and makes ready for them.
    pub(crate) fn new(input: R) -> io::Result<Self> {
        let (start, input) = peek(input, MARK_BYTES)?;
        let buffered = |input| BufReader::with_capacity(BUFFER_BYTES, input);
        let reader = match Packing::detect(&start) {
            Packing::Blob(Compression::None) => Reader::Plain(input),
            Packing::Blob(compression) => Reader::Blob(Box::new(Decoded::new(compression, input)?)),
            Packing::Bzip2 => Reader::Bzip2(MultiBzDecoder::new(buffered(input))),
            Packing::Xz => {
                let reader = XzReader::new_mem_limit(buffered(input), true, XZ_KIB);
                Reader::Xz(Box::new(reader))
            }
        };
        Ok(Self {
            reader,
            failed: None,
        })
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some((kind, words)) = &self.failed {
            return Err(io::Error::new(*kind, words.clone()));
        }
        let read = match &mut self.reader {
            Reader::Plain(input) => input.read(out),
            Reader::Blob(decoded) => decoded.read(out),
            Reader::Bzip2(reader) => reader.read(out).map_err(|error| said("bzip2", error)),
            Reader::Xz(reader) => reader.read(out).map_err(|error| said("xz", error)),
        };
        if let Err(error) = &read
            && error.kind() != io::ErrorKind::Interrupted
        {
            self.failed = Some((error.kind(), error.to_string()));
        }
        read
    }
}

/// Says what could not be decompressed.
fn said(format: &str, error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Interrupted => error,
        io::ErrorKind::OutOfMemory => io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the {format} stream needs more than {} MiB of memory to be read: compress it with a smaller dictionary (xz -9 or less)",
                XZ_KIB >> 10
            ),
        ),
        io::ErrorKind::UnexpectedEof => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the {format} stream ends too early"),
        ),
        // Errors of the input below keep their kind.
        kind => io::Error::new(kind, format!("the {format} stream: {error}")),
    }
}

/// gzip and zstd, by the decoder of layers: several members or frames, checksums checked.
struct Decoded<R> {
    input: R,
    /// None once all was read.
    decoder: Option<Decoder>,
    buffer: Vec<u8>,
    used: usize,
    filled: usize,
    ended: bool,
}

impl<R: Read> Decoded<R> {
    fn new(compression: Compression, input: R) -> io::Result<Self> {
        let limits = Limits {
            tar_bytes: u64::MAX - 1,
        };
        let decoder = Decoder::new(compression, SpanPolicy::MIB, limits).map_err(invalid)?;
        Ok(Self {
            input,
            decoder: Some(decoder),
            buffer: vec![0; BUFFER_BYTES],
            used: 0,
            filled: 0,
            ended: false,
        })
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while let Some(decoder) = &mut self.decoder {
            if self.used == self.filled && !self.ended {
                self.used = 0;
                self.filled = 0;
                self.filled = self.input.read(&mut self.buffer)?;
                self.ended = self.filled == 0;
            }
            let step = decoder
                .decode(&self.buffer[self.used..self.filled], out)
                .map_err(invalid)?;
            self.used += step.consumed;
            if step.produced > 0 {
                return Ok(step.produced);
            }
            if self.ended && step.consumed == 0 && step.boundary.is_none() {
                let decoder = self.decoder.take().expect("looked at above");
                decoder.finish().map_err(invalid)?;
            }
        }
        Ok(0)
    }
}

fn invalid(error: lapstrake_fill::decode::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// What a tool makes of bytes; nothing if there is no such tool.
    fn packed(tool: &str, level: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let child = Command::new(tool)
            .args(["-c", level])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: there is no {tool} here");
            return None;
        };
        let mut stdin = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let feed = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
        let out = child.wait_with_output().unwrap();
        feed.join().unwrap();
        assert!(out.status.success());
        Some(out.stdout)
    }

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Unpacked::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn sample() -> Vec<u8> {
        let words = (0..60_000_u32).map(|at| at.wrapping_mul(2_654_435_761) >> 20);
        words.flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn each_format_is_told_by_its_first_bytes_also_several_in_a_row() {
        let sample = sample();
        assert_eq!(unpacked(&sample).unwrap(), sample);
        for tool in ["gzip", "bzip2", "xz", "zstd"] {
            let Some(once) = packed(tool, "-1", &sample) else {
                continue;
            };
            assert_eq!(unpacked(&once).unwrap(), sample, "{tool}");
            let twice = [&once[..], &once[..]].concat();
            assert_eq!(
                unpacked(&twice).unwrap(),
                [&sample[..], &sample[..]].concat()
            );
        }
        assert_eq!(unpacked(b"").unwrap(), b"");
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error_that_names_the_format() {
        for tool in ["gzip", "bzip2", "xz", "zstd"] {
            let Some(once) = packed(tool, "-1", &sample()) else {
                continue;
            };
            let cut = unpacked(&once[..once.len() - 20]).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::InvalidData, "{tool}: {cut}");
            assert!(cut.to_string().contains(tool), "{tool}: {cut}");
            let mut changed = once;
            let middle = changed.len() / 2;
            changed[middle] ^= 0x55;
            let changed = unpacked(&changed).unwrap_err();
            assert!(changed.to_string().contains(tool), "{tool}: {changed}");
        }
    }

    #[test]
    fn an_xz_stream_that_wants_much_memory_is_refused() {
        // The header of a block that claims a dictionary of 4 GiB.
        let Some(mut packed) = packed("xz", "-0", b"x") else {
            return;
        };
        assert_eq!(packed[12..17], [2, 0, 0x21, 1, 12]);
        packed[16] = 40;
        let crc = {
            let mut crc = 0xffff_ffff_u32;
            for byte in &packed[12..20] {
                crc ^= u32::from(*byte);
                for _bit in 0..8 {
                    crc = if crc & 1 == 1 {
                        crc >> 1 ^ 0xedb8_8320
                    } else {
                        crc >> 1
                    };
                }
            }
            !crc
        };
        packed[20..24].copy_from_slice(&crc.to_le_bytes());
        let error = unpacked(&packed).unwrap_err();
        assert!(error.to_string().contains("68 MiB"), "{error}");
    }
}
