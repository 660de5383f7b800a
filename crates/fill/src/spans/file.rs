//! The `spans` file: the table as bytes. `docs/format-spans.md` says the same at length.
//!
//! ```text
//! header    magic "LPSPAN\r\n" · version u32 · compression u8 · digest length u8 · zero u16
//!           · file length u64 · blob length u64 · tar length u64 · spans u32 · zero u32
//! digest    the blob's, as text
//! span …    tar offset u64 · place u64 · kind u32 · window length u32 · BLAKE3 of its tar bytes, 32
//! window …  of each span that has one: one zstd frame
//! checksum  BLAKE3 of all before it, 32
//! ```

use lapstrake_oci::{Compression, Digest};

use super::{Blob, Span, SpanTable, Start};

/// The version written, and the only one read.
pub const VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"LPSPAN\r\n";
const HEADER_BYTES: usize = 48;
const SPAN_BYTES: usize = 56;
const CHECKSUM_BYTES: usize = blake3::OUT_LEN;
/// A compressed window, at most: 32 KiB that do not compress, and what zstd adds to them.
const WINDOW_BYTES_MAX: u32 = 33 << 10;
/// So that a place in bits is a number of 64 bits.
const BLOB_BYTES_MAX: u64 = u64::MAX / 8;

const AT: u32 = 0;
const DEFLATE: u32 = 1;
const CONTINUE: u32 = 2;

/// Why a `spans` file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is something else.
    #[error("this is not a span table")]
    Foreign,
    /// It is of a later version.
    #[error(
        "the span table is of version {0}, and this program reads version {VERSION}: upgrade it"
    )]
    Version(u32),
    /// It is damaged, or was made by something that does not keep to the format.
    #[error("the span table is damaged ({0}): pull the layer again to be able to repair it")]
    Damaged(&'static str),
}

impl SpanTable {
    /// The `spans` file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let digest = self.blob.digest.to_string();
        let windows = self
            .spans
            .iter()
            .map(|span| window(span).len())
            .sum::<usize>();
        let length =
            HEADER_BYTES + digest.len() + self.spans.len() * SPAN_BYTES + windows + CHECKSUM_BYTES;
        let mut file = Vec::with_capacity(length);
        file.extend(MAGIC);
        file.extend(VERSION.to_le_bytes());
        file.push(match self.blob.compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Zstd => 2,
        });
        file.push(u8::try_from(digest.len()).expect("a digest is at most 135 bytes"));
        file.extend([0, 0]);
        file.extend((length as u64).to_le_bytes());
        file.extend(self.blob.bytes.to_le_bytes());
        file.extend(self.tar_bytes.to_le_bytes());
        let count = u32::try_from(self.spans.len()).expect("spans are not as small as that");
        file.extend(count.to_le_bytes());
        file.extend([0; 4]);
        file.extend(digest.as_bytes());
        for span in &self.spans {
            let (place, kind) = match &span.start {
                Start::At { byte } => (*byte, AT),
                Start::Deflate { bit, .. } => (*bit, DEFLATE),
                Start::Continue => (0, CONTINUE),
            };
            let window = u32::try_from(window(span).len()).expect("a window is 32 KiB");
            file.extend(span.tar_offset.to_le_bytes());
            file.extend(place.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend(window.to_le_bytes());
            file.extend(span.digest.as_bytes());
        }
        for span in &self.spans {
            file.extend(window(span));
        }
        let checksum = blake3::hash(&file);
        file.extend(checksum.as_bytes());
        file
    }

    /// Reads a `spans` file. Nothing it says is believed before it was checked, and it makes no more
    /// memory than the file has.
    pub fn from_bytes(file: &[u8]) -> Result<Self, FileError> {
        let mut rest = Reader(file);
        if rest.array() != Some(MAGIC) {
            return Err(FileError::Foreign);
        }
        let version = rest.u32()?;
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        let body = file.len().checked_sub(CHECKSUM_BYTES).ok_or(SHORT)?;
        if blake3::hash(&file[..body]).as_bytes() != &file[body..] {
            return Err(FileError::Damaged("its checksum is wrong"));
        }
        rest.0 = &file[MAGIC.len() + size_of_val(&version)..body];
        let [compression, digest_length, zero @ ..] = rest.array::<4>().ok_or(SHORT)?;
        let compression = match compression {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Zstd,
            _ => return Err(FileError::Damaged("its compression is unknown")),
        };
        let (file_length, bytes, tar_bytes) = (rest.u64()?, rest.u64()?, rest.u64()?);
        let (count, reserved) = (rest.u32()?, rest.u32()?);
        check(
            file_length == file.len() as u64,
            "its length is not what it says",
        )?;
        check(zero == [0; 2] && reserved == 0, "what must be zero is not")?;
        check(bytes <= BLOB_BYTES_MAX, "its blob is too long")?;
        let digest = std::str::from_utf8(rest.take(usize::from(digest_length))?)
            .ok()
            .and_then(|text| text.parse::<Digest>().ok())
            .ok_or(FileError::Damaged("its blob's digest is not one"))?;
        let blob = Blob {
            digest,
            compression,
            bytes,
        };
        let count = usize::try_from(count).map_err(|_| SHORT)?;
        let entries = rest.take(count.checked_mul(SPAN_BYTES).ok_or(SHORT)?)?;
        let spans = entries
            .chunks_exact(SPAN_BYTES)
            .map(|entry| read_span(entry, &mut rest))
            .collect::<Result<Vec<_>, _>>()?;
        check(rest.0.is_empty(), "something follows its windows")?;
        let table = Self {
            blob,
            tar_bytes,
            spans,
        };
        table.check()?;
        Ok(table)
    }

    /// Whether it fits together.
    fn check(&self) -> Result<(), FileError> {
        let first = self.spans.first();
        check(
            first.is_none() == (self.tar_bytes == 0),
            "its spans are not its tar",
        )?;
        check(
            first.is_none_or(|span| span.tar_offset == 0 && span.start == Start::At { byte: 0 }),
            "its first span is not at the start",
        )?;
        check(
            self.spans
                .last()
                .is_none_or(|span| span.tar_offset < self.tar_bytes),
            "a span is beyond the tar",
        )?;
        let grows = self
            .spans
            .is_sorted_by(|one, two| one.tar_offset < two.tar_offset);
        check(grows, "its spans are not in order")?;
        let places = self.spans.iter().filter_map(|span| span.start.byte());
        check(
            places.is_sorted(),
            "its places in the blob are not in order",
        )?;
        for span in &self.spans {
            let fits = match (self.blob.compression, &span.start) {
                (Compression::None, Start::At { byte }) => *byte == span.tar_offset,
                (Compression::Gzip | Compression::Zstd, Start::Continue) => true,
                (Compression::Gzip | Compression::Zstd, Start::At { .. })
                | (Compression::Gzip, Start::Deflate { .. }) => true,
                (Compression::None, Start::Deflate { .. } | Start::Continue)
                | (Compression::Zstd, Start::Deflate { .. }) => false,
            };
            check(fits, "a span starts as its format cannot")?;
            let inside = span.start.byte().is_none_or(|byte| byte < self.blob.bytes);
            check(inside, "a span starts beyond the blob")?;
        }
        Ok(())
    }
}

const SHORT: FileError = FileError::Damaged("it ends too early");

fn check(holds: bool, what: &'static str) -> Result<(), FileError> {
    if holds {
        Ok(())
    } else {
        Err(FileError::Damaged(what))
    }
}

fn window(span: &Span) -> &[u8] {
    match &span.start {
        Start::Deflate { window, .. } => window,
        Start::At { .. } | Start::Continue => &[],
    }
}

/// One span from its entry, and its window from what follows the entries.
fn read_span(entry: &[u8], windows: &mut Reader<'_>) -> Result<Span, FileError> {
    let mut entry = Reader(entry);
    let (tar_offset, place) = (entry.u64()?, entry.u64()?);
    let (kind, window) = (entry.u32()?, entry.u32()?);
    let digest = entry.array().ok_or(SHORT)?.into();
    check(window <= WINDOW_BYTES_MAX, "a window is too long")?;
    check(
        (kind == DEFLATE) == (window > 0),
        "a span lacks its window, or has one",
    )?;
    let window = windows.take(usize::try_from(window).map_err(|_| SHORT)?)?;
    let start = match kind {
        AT => Start::At { byte: place },
        DEFLATE => Start::Deflate {
            bit: place,
            window: window.into(),
        },
        CONTINUE if place == 0 => Start::Continue,
        _ => return Err(FileError::Damaged("a span starts in an unknown way")),
    };
    Ok(Span {
        tar_offset,
        start,
        digest,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FileError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        self.array().map(u32::from_le_bytes).ok_or(SHORT)
    }

    fn u64(&mut self) -> Result<u64, FileError> {
        self.array().map(u64::from_le_bytes).ok_or(SHORT)
    }
}
