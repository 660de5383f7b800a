//! Going on with a layer of which an earlier pull received a part.
//!
//! While a layer is split, a *note* is kept beside its data of how far it is ([`Keeper`]); a later pull
//! feeds what is there to a new splitter and new hashers, and starts the decoder at the place where the
//! note was made ([`resume`]). The note, as text:
//!
//! ```text
//! lapstrake-partial 1
//! blob sha256:… <length> <compression>
//! layer sha256:…
//! hashed <bytes of the blob that were> <state of the hash, hex>
//! span <start in the tar> at <byte> | deflate <bit> | continue 0 <BLAKE3 of its tar bytes>
//! next <start in the tar> at <byte> | deflate <bit>
//! skeleton
//! <a skeleton of the tar before `next`, to the end>
//! ```
//!
//! A note is made at a place where the decoder can start again; of a zstd blob of one frame there is none.
//! Nothing of it is believed: each span of the tar is read back and compared with its digest, and in the
//! end both the blob's digest (its hash went on from where it was) and the diff id must be right. A partial
//! that does not fit is dropped, and the layer comes from the start.

use std::fmt::Write as _;
use std::fs::File;
use std::time::{Duration, Instant};

use lapstrake_fill::decode::{Boundary, Restart};
use lapstrake_fill::spans::{Span, SpanDigest, Start};
use lapstrake_oci::digest::Hasher;
use lapstrake_oci::{Compression, Digest};
use lapstrake_store::Store;
use lapstrake_tree::view::TarView;

use super::Wanted;
use super::split::{Sink, Splitting};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Bytes of tar from one note to the next.
const STEP_BYTES: u64 = 16 << 20;
/// After so long, fewer will do.
const STEP_TIME: Duration = Duration::from_secs(1);
const STEP_BYTES_IN_TIME: u64 = 2 << 20;
/// A note is made again as a whole: it must be short against what came since the last one.
const BYTES_PER_NOTE_BYTE: u64 = 16;
/// No span that is cut here is as long.
const SPAN_BYTES_MAX: u64 = 64 << 20;

/// What a deflate stream may look back at.
const WINDOW: usize = 32 << 10;

/// Where the decoder is in the blob.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) compression: Compression,
    /// Bytes of the blob that were hashed, and their hash.
    pub(super) hashed: u64,
    pub(super) hasher: Hasher,
}

/// Where decoding goes on.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) place: Place,
    pub(super) restart: Restart,
    /// Bytes of tar before.
    pub(super) tar: u64,
    /// The first byte of the blob that is needed.
    pub(super) byte: u64,
}

/// Keeps the note of a layer that is being written.
#[derive(Debug)]
pub(super) struct Keeper {
    blob: Digest,
    blob_len: u64,
    diff_id: Digest,
    noted_at: Instant,
    noted_tar: u64,
    noted_len: u64,
}

impl Keeper {
    /// For a layer of which that much is there and noted.
    pub(super) fn new(wanted: &Wanted, base: Option<&Base>) -> Self {
        Self {
            blob: wanted.blob.digest.clone(),
            blob_len: wanted.blob.size,
            diff_id: wanted.diff_id.0.clone(),
            noted_at: Instant::now(),
            noted_tar: base.map_or(0, |base| base.tar),
            noted_len: 0,
        }
    }

    /// Whether it is time for another note, at so many bytes of tar.
    pub(super) fn is_due(&self, tar: u64) -> bool {
        let since = tar.saturating_sub(self.noted_tar);
        let enough = since >= STEP_BYTES
            || since >= STEP_BYTES_IN_TIME && self.noted_at.elapsed() >= STEP_TIME;
        enough && since >= BYTES_PER_NOTE_BYTE * self.noted_len
    }

    /// The note for a place where the decoder can start again.
    pub(super) fn note(
        &mut self,
        spans: &[Span],
        (tar, next): (u64, &str),
        place: &Place,
        skeleton: &[u8],
    ) -> Vec<u8> {
        let mut text = format!(
            "lapstrake-partial 1\nblob {} {} {}\nlayer {}\nhashed {} ",
            self.blob,
            self.blob_len,
            place.compression.name(),
            self.diff_id,
            place.hashed
        );
        for byte in place.hasher.state() {
            text.push_str(&format!("{byte:02x}"));
        }
        for span in spans {
            let start = start_text(&span.start);
            write!(text, "\nspan {} {start} {}", span.tar_offset, span.digest)
                .expect("a String takes any text");
        }
        write!(text, "\nnext {tar} {next}\nskeleton\n").expect("a String takes any text");
        let mut note = text.into_bytes();
        note.extend_from_slice(skeleton);
        self.noted_at = Instant::now();
        self.noted_tar = tar;
        self.noted_len = note.len() as u64;
        note
    }
}

fn start_text(start: &Start) -> String {
    match start {
        Start::At { byte } => format!("at {byte}"),
        Start::Deflate { bit, .. } => format!("deflate {bit}"),
        Start::Continue => "continue 0".to_owned(),
    }
}

/// As a note says it, if it is a place to start.
pub(super) fn restart_text(restart: &Restart) -> Option<String> {
    match restart {
        Restart::At { byte } => Some(format!("at {byte}")),
        Restart::Deflate { bit, .. } => Some(format!("deflate {bit}")),
        Restart::Continue => None,
    }
}

/// A place to start, without the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    At(u64),
    Deflate(u64),
    Continue,
}

impl Spot {
    fn restart(self, window: &[u8]) -> Restart {
        match self {
            Self::At(byte) => Restart::At { byte },
            Self::Deflate(bit) => Restart::Deflate {
                bit,
                window: window.into(),
            },
            Self::Continue => Restart::Continue,
        }
    }
}

/// A note, read.
struct Note<'a> {
    place: Place,
    spans: Vec<(u64, Spot, SpanDigest)>,
    next: (u64, Spot),
    skeleton: &'a [u8],
}

/// `None` if it is of something else, or makes no sense.
fn parse<'a>(note: &'a [u8], wanted: &Wanted) -> Option<Note<'a>> {
    const END: &[u8] = b"\nskeleton\n";
    let end = note.windows(END.len()).position(|bytes| bytes == END)?;
    let text = std::str::from_utf8(&note[..end]).ok()?;
    let mut lines = text.lines();
    let blob = &wanted.blob;
    let compression = [Compression::None, Compression::Gzip, Compression::Zstd]
        .into_iter()
        .find(|known| {
            let line = format!("blob {} {} {}", blob.digest, blob.size, known.name());
            text.lines().nth(1) == Some(line.as_str())
        })?;
    (lines.next()? == "lapstrake-partial 1").then_some(())?;
    lines.next()?;
    (lines.next()? == format!("layer {}", wanted.diff_id)).then_some(())?;
    let (hashed, state) = lines.next()?.strip_prefix("hashed ")?.split_once(' ')?;
    let place = Place {
        compression,
        hashed: hashed.parse().ok()?,
        hasher: blob.digest.algorithm().hasher_at(&from_hex(state)?)?,
    };
    let mut spans = Vec::new();
    let mut next = None;
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        let spot = match *words.get(2)? {
            "at" => Spot::At(number(3)?),
            "deflate" => Spot::Deflate(number(3)?),
            "continue" => Spot::Continue,
            _ => return None,
        };
        match *words.first()? {
            "span" => spans.push((number(1)?, spot, SpanDigest::from_hex(words.get(4)?).ok()?)),
            "next" => next = Some((number(1)?, spot)),
            _ => return None,
        }
    }
    Some(Note {
        place,
        spans,
        next: next?,
        skeleton: &note[end + END.len()..],
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (text.len().is_multiple_of(2) && text.is_ascii()).then_some(())?;
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..][..2], 16).ok())
        .collect()
}

/// A layer of which a part is in the store, fed with that part; `None` if there is none, or it is not
/// what its note says.
pub(super) fn resume(
    store: &Store,
    wanted: &Wanted,
    limits: Limits,
) -> Result<Option<(Splitting, Base)>> {
    let Some((stage, note)) = store.content.resume_layer(&wanted.blob.digest)? else {
        return Ok(None);
    };
    let Some(note) = parse(&note, wanted) else {
        return Ok(None);
    };
    let path = stage.data().to_owned();
    let data = File::open(&path).map_err(|source| Error::Unreadable { path, source })?;
    let Ok(view) = TarView::new(note.skeleton, data) else {
        return Ok(None);
    };
    let sink = Sink::behind(stage);
    let splitting = Splitting::new(sink, wanted.diff_id.0.algorithm(), limits)?;
    Ok(replay(splitting, &view, &note))
}

/// Feeds the tar again that is there. Whatever goes wrong is the partial's fault.
fn replay(
    mut splitting: Splitting,
    view: &TarView<&[u8], File>,
    note: &Note<'_>,
) -> Option<(Splitting, Base)> {
    let (end, last) = note.next;
    let (mut tar, mut window) = (Vec::new(), Vec::new());
    let following = note.spans.iter().skip(1).map(|span| (span.0, span.1));
    for ((start, _, digest), (until, spot)) in note.spans.iter().zip(following.chain([note.next])) {
        let length = until
            .checked_sub(*start)
            .filter(|length| *length <= SPAN_BYTES_MAX)?;
        tar.resize(usize::try_from(length).ok()?, 0);
        let read = view.read_at(*start, &mut tar).ok()?;
        if read != tar.len() || blake3::hash(&tar) != *digest {
            return None;
        }
        splitting.feed(&tar).ok()?;
        let old = window.len() - window.len().min(WINDOW.saturating_sub(tar.len()));
        window.drain(..old);
        window.extend_from_slice(&tar[tar.len() - tar.len().min(WINDOW)..]);
        let restart = spot.restart(&window);
        splitting
            .cut(Boundary {
                tar_offset: until,
                restart,
            })
            .ok()?;
    }
    let restart = last.restart(&window);
    let byte = restart.byte()?;
    let fits = splitting.is_behind_what_was_there() && byte <= note.place.hashed;
    fits.then_some((
        splitting,
        Base {
            place: note.place.clone(),
            restart,
            tar: end,
            byte,
        },
    ))
}
