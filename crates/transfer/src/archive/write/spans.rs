//! A layer into a regular file, span by span: several threads, each of which reads, checks and writes a
//! piece while it is in the processor's cache.
//!
//! A span is compared with the digest that was recorded when the layer came and its tar had its diff id.
//! Only a table that is sound and of this tar is believed; without one, or if a span is not what it says, the caller
//! compares the whole tar with the diff id.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use lapstrake_fill::spans::SpanTable;
use lapstrake_store::Store;

use super::{Layer, SaveEvent};
use crate::error::{Error, Result};

/// Bytes read, hashed and written at a time.
const PIECE_BYTES: usize = 256 << 10;
/// More are of no use: they wait for the file.
const THREADS_MAX: usize = 4;

/// Writes the layer at `start` of a file; `false` if it could not be checked, or is not what its spans say.
pub(super) fn write(
    layer: &Layer<'_>,
    store: &Store,
    file: &File,
    start: u64,
    tell: &(dyn Fn(SaveEvent) + Sync),
) -> Result<bool> {
    let Some(table) = table(layer) else {
        return Ok(false);
    };
    let work = Work {
        table: &table,
        file,
        start,
        next: AtomicUsize::new(0),
        is_sound: AtomicBool::new(true),
        tell,
    };
    let count = thread::available_parallelism().map_or(1, usize::from);
    let count = count.min(THREADS_MAX).min(table.spans().len());
    thread::scope(|scope| {
        let threads: std::io::Result<Vec<_>> = (0..count)
            .map(|_| {
                thread::Builder::new()
                    .name("save".to_owned())
                    .spawn_scoped(scope, || work.run(layer, store))
            })
            .collect();
        for thread in threads.map_err(Error::NoThread)? {
            thread.join().map_err(|_panic| Error::Panicked("save"))??;
        }
        Ok::<_, Error>(())
    })?;
    Ok(work.is_sound.into_inner())
}

/// The layer's span table, if it is one of its tar.
fn table(layer: &Layer<'_>) -> Option<SpanTable> {
    let bytes = std::fs::read(&layer.files.spans).ok()?;
    let table = SpanTable::from_bytes(&bytes).ok()?;
    let says_all = table.tar_bytes() == layer.size && !table.spans().is_empty();
    says_all.then_some(table)
}

/// What the threads share.
struct Work<'a> {
    table: &'a SpanTable,
    file: &'a File,
    start: u64,
    next: AtomicUsize,
    is_sound: AtomicBool,
    tell: &'a (dyn Fn(SaveEvent) + Sync),
}

impl Work<'_> {
    fn run(&self, layer: &Layer<'_>, store: &Store) -> Result<()> {
        // A view of its own: views keep the part of the skeleton that they read last.
        let layer = Layer::open(store, layer.id, layer.size)?;
        let mut piece = vec![0; PIECE_BYTES];
        while self.is_sound.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.table.spans().len() {
                break;
            }
            let done = self.span(&layer, index, &mut piece);
            if !matches!(done, Ok(true)) {
                self.is_sound.store(false, Ordering::Relaxed);
            }
            done?;
        }
        Ok(())
    }

    fn span(&self, layer: &Layer<'_>, index: usize, piece: &mut [u8]) -> Result<bool> {
        let range = self.table.range(index);
        let (mut at, mut hasher) = (range.start, blake3::Hasher::new());
        while at < range.end {
            let step = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES);
            let piece = &mut piece[..step.min(PIECE_BYTES)];
            layer.read(at, piece)?;
            hasher.update(piece);
            let to = self.start + at;
            self.file.write_all_at(piece, to).map_err(Error::Output)?;
            let bytes = piece.len() as u64;
            at += bytes;
            (self.tell)(SaveEvent::Written { bytes });
        }
        Ok(hasher.finalize() == self.table.spans()[index].digest)
    }
}
