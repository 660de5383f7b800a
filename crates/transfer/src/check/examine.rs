//! One layer, read once: is it what its name says, and if not, what of it is wrong?

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::Path;

use lapstrake_fill::spans::SpanTable;
use lapstrake_oci::DiffId;
use lapstrake_store::check::{Fault, Finding, Part, open_past_cache};
use lapstrake_store::{LayerRecord, Store};
use lapstrake_tree::skeleton::{Map, Skeleton, Summary};
use lapstrake_tree::view::TarView;

use super::pace::Pace;
use super::sweep::{Sweep, push};

/// A tar is hashed in steps of this many bytes, which stay in the processor's cache.
const STEP_BYTES: usize = 256 << 10;

/// What of a layer's `data` is damaged, as far as that can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// These spans by their numbers, and these ranges that should be zeros.
    Spans {
        /// Spans with another digest than the table says.
        spans: Vec<usize>,
        /// Bytes of `data` that belong to no file and are not zeros.
        between: Vec<Range<u64>>,
    },
    /// Any of it: what would tell is damaged too.
    Unknown,
}

/// What was found in a layer.
#[derive(Debug)]
pub struct Examined {
    /// The layer.
    pub id: DiffId,
    /// What is wrong, by file.
    pub findings: Vec<Finding>,
    /// What of its `data` is damaged.
    pub damage: Damage,
    /// The skeleton, if it is sound by itself.
    pub skeleton: Option<Vec<u8>>,
    /// The span table, if it is sound by itself.
    pub spans: Option<SpanTable>,
}

impl Examined {
    /// Why the layer must not be mounted; `None` if it may be. Damaged spans only stand in the way of
    /// making it again, and an index can always be made again.
    pub fn why_not_served(&self) -> Option<String> {
        let stands_in_the_way = |finding: &&Finding| {
            matches!(
                finding.part,
                Part::Layer(_) | Part::Data(_) | Part::Skeleton(_)
            )
        };
        let faults: Vec<_> = self
            .findings
            .iter()
            .filter(stands_in_the_way)
            .map(ToString::to_string)
            .collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    fn found(&mut self, part: fn(DiffId) -> Part, fault: Fault) {
        self.findings
            .push(Finding::new(part(self.id.clone()), fault));
    }
}

/// Reads all of a layer, from the disk if that can be had, and checks every digest in it. Bytes read
/// are told as they come.
pub fn examine(store: &Store, id: &DiffId, pace: &Pace, tell: &dyn Fn(u64)) -> Examined {
    let files = store.content.layer_files(id);
    let mut examined = Examined {
        id: id.clone(),
        findings: Vec::new(),
        damage: Damage::Unknown,
        skeleton: None,
        spans: None,
    };
    let skeleton = match read_skeleton(&files.skeleton) {
        Ok(read) => Some(read),
        Err(fault) => {
            examined.found(Part::Skeleton, fault);
            None
        }
    };
    match read_spans(&files.spans, skeleton.as_ref().map(|(_, summary)| summary)) {
        Ok(None) if has_source(store, id) => examined.found(Part::Spans, Fault::Missing),
        Ok(table) => examined.spans = table,
        Err(fault) => examined.found(Part::Spans, fault),
    }
    let data = match open_past_cache(&files.data).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((metadata, file)) => {
            if let Some((_, summary)) = &skeleton
                && metadata.len() != summary.data_len
            {
                let (want, got) = (summary.data_len, metadata.len());
                examined.found(Part::Data, Fault::Length { want, got });
            }
            Some(file)
        }
        Err(error) => {
            examined.found(Part::Data, fault_of(&error));
            None
        }
    };
    let Some((bytes, _)) = skeleton else {
        return examined;
    };
    examined.skeleton = Some(bytes);
    if let Some(data) = data {
        read_tar(&mut examined, data, pace, tell);
    }
    examined
}

/// Compares a layer's record with the layer, and its index with the record.
pub(super) fn examine_record(store: &Store, record: &LayerRecord, examined: &mut Examined) {
    let summary = examined
        .skeleton
        .as_ref()
        .and_then(|bytes| Skeleton::open(bytes.as_slice()).ok())
        .map(|skeleton| skeleton.summary());
    if let Some(summary) = summary {
        for (want, got) in [
            (summary.tar_len, record.tar_len),
            (summary.data_len, record.data_len),
        ] {
            if want != got {
                examined.found(Part::Record, Fault::Length { want, got });
            }
        }
    }
    match store.indexes.is_intact(&record.diff_id, &record.index) {
        Ok(true) => {}
        Ok(false) => {
            let path = store.indexes.path(&record.diff_id);
            let fault = if path.exists() {
                Fault::Damaged("its digest is not the recorded one".to_owned())
            } else {
                Fault::Missing
            };
            examined.found(Part::Index, fault);
        }
        Err(error) => examined.found(Part::Index, Fault::Unreadable(error.to_string())),
    }
}

/// The one pass over `data`, through the tar view.
fn read_tar(examined: &mut Examined, data: File, pace: &Pace, tell: &dyn Fn(u64)) {
    let skeleton = examined.skeleton.as_deref().unwrap_or_default();
    let map = match Skeleton::open(skeleton).and_then(|skeleton| Map::read(&skeleton)) {
        Ok(map) => map,
        Err(error) => {
            examined.skeleton = None;
            return examined.found(Part::Skeleton, Fault::Damaged(error.to_string()));
        }
    };
    let sweep = Sweep::new(data, &map, pace, tell);
    let hashed = hash(skeleton, &sweep, examined.spans.as_ref(), &examined.id);
    let seen = sweep.finish();
    let (got, mut spans) = match hashed {
        Ok(hashed) => hashed,
        Err(error) => return examined.found(Part::Skeleton, Fault::Damaged(error.to_string())),
    };
    if let Some(error) = seen.why {
        let first = seen.unreadable.first().map_or(0, |range| range.start);
        let why = format!("{error}, first at byte {first}");
        examined.found(Part::Data, Fault::Unreadable(why));
    }
    let is_named_so = got == examined.id;
    if is_named_so && !spans.is_empty() {
        // The tar is right, so the table is of something else.
        examined.spans = None;
        spans.clear();
        let why = "its spans' digests are not those of the layer".to_owned();
        examined.found(Part::Spans, Fault::Damaged(why));
    }
    if !seen.not_zero.is_empty() {
        let first = seen.not_zero[0].start;
        let why = format!("there are bytes between its files, first at {first}");
        examined.found(Part::Data, Fault::Damaged(why));
    }
    if is_named_so {
        examined.damage = if seen.not_zero.is_empty() {
            Damage::None
        } else {
            let between = seen.not_zero;
            Damage::Spans { spans, between }
        };
        return;
    }
    if examined.spans.is_none() {
        let why = format!("its tar hashes to {got}");
        return examined.found(Part::Data, Fault::Damaged(why));
    }
    if spans.is_empty() {
        let why = format!("it holds {got}");
        return examined.found(Part::Layer, Fault::Damaged(why));
    }
    let count = spans.len();
    let why = format!("its tar hashes to {got}; {count} spans of it are wrong");
    let between = seen.not_zero;
    examined.damage = Damage::Spans { spans, between };
    examined.found(Part::Data, Fault::Damaged(why));
}

/// The diff id that a layer's bytes have, and the spans whose digests they don't have.
fn hash(
    skeleton: &[u8],
    sweep: &Sweep<'_>,
    table: Option<&SpanTable>,
    id: &DiffId,
) -> io::Result<(DiffId, Vec<usize>)> {
    let mut view = TarView::new(skeleton, sweep).map_err(io::Error::other)?;
    let mut tar = id.0.algorithm().hasher();
    let mut spans = Spans::new(table);
    let mut buffer = vec![0; STEP_BYTES];
    loop {
        match view.read(&mut buffer)? {
            0 => return Ok((DiffId(tar.finish()), spans.bad)),
            got => {
                tar.update(&buffer[..got]);
                spans.update(&buffer[..got]);
            }
        }
    }
}

/// Spans' digests as the tar goes by.
struct Spans<'a> {
    table: Option<&'a SpanTable>,
    current: usize,
    /// Bytes of the current span that are still to come.
    left: u64,
    hasher: blake3::Hasher,
    bad: Vec<usize>,
}

impl<'a> Spans<'a> {
    fn new(table: Option<&'a SpanTable>) -> Self {
        let table = table.filter(|table| !table.spans().is_empty());
        let left = table.map_or(0, |table| table.range(0).end);
        Self {
            table,
            current: 0,
            left,
            hasher: blake3::Hasher::new(),
            bad: Vec::new(),
        }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let Some(table) = self.table else { return };
        while !bytes.is_empty() && self.current < table.spans().len() {
            let step = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.hasher.update(&bytes[..step]);
            bytes = &bytes[step..];
            self.left -= step as u64;
            if self.left > 0 {
                continue;
            }
            if self.hasher.finalize() != table.spans()[self.current].digest {
                self.bad.push(self.current);
            }
            self.hasher.reset();
            self.current += 1;
            if self.current < table.spans().len() {
                let range = table.range(self.current);
                self.left = range.end - range.start;
            }
        }
    }
}

/// The ranges of `data` that spans have a part in.
pub(super) fn data_of_spans(table: &SpanTable, map: &Map, spans: &[usize]) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    for span in spans {
        for piece in map.in_tar(table.range(*span)) {
            push(
                &mut ranges,
                piece.data_offset..piece.data_offset + piece.length,
            );
        }
    }
    ranges
}

fn read_skeleton(path: &Path) -> std::result::Result<(Vec<u8>, Summary), Fault> {
    let bytes = read_file(path)?;
    let skeleton =
        Skeleton::open(bytes.as_slice()).map_err(|error| Fault::Damaged(error.to_string()))?;
    let summary = skeleton.summary();
    let (want, got) = (summary.file_len, bytes.len() as u64);
    if want != got {
        return Err(Fault::Length { want, got });
    }
    skeleton
        .check()
        .map_err(|error| Fault::Damaged(error.to_string()))?;
    Ok((bytes, summary))
}

/// Whether a layer came from a blob: then it has a table of spans.
fn has_source(store: &Store, id: &DiffId) -> bool {
    let sources = store.state().sources(id);
    sources.is_ok_and(|sources| !sources.is_empty())
}

/// A layer that was never a blob has no table, and that is no fault.
fn read_spans(
    path: &Path,
    summary: Option<&Summary>,
) -> std::result::Result<Option<SpanTable>, Fault> {
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(Fault::Missing) => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let table = SpanTable::from_bytes(&bytes).map_err(|error| Fault::Damaged(error.to_string()))?;
    match summary {
        Some(summary) if summary.tar_len != table.tar_bytes() => {
            let why = "it is of another layer's tar".to_owned();
            Err(Fault::Damaged(why))
        }
        _ => Ok(Some(table)),
    }
}

fn read_file(path: &Path) -> std::result::Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = open_past_cache(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| fault_of(&error))?;
    Ok(bytes)
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unreadable(error.to_string()),
    }
}
