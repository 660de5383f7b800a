//! Everything in a store, read: several layers at once, the largest first.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use lapstrake_oci::{DiffId, Digest, bounds};
use lapstrake_store::check::{Facts, Fault, Finding, Part};
use lapstrake_store::{Error as StoreError, LayerRecord, Store};

use super::examine::{Examined, examine, examine_record};
use super::pace::Pace;
use crate::error::{Error, Result};

/// How to read.
#[derive(Debug)]
pub struct DeepOptions {
    /// Layers read at a time.
    pub parallel: usize,
    /// How fast, all together.
    pub pace: Pace,
}

/// What happens during a check, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEvent {
    /// So many bytes are to be read.
    Started {
        /// In bytes, of all layers' `data`.
        bytes: u64,
    },
    /// So many more bytes were read.
    Read {
        /// In bytes.
        bytes: u64,
    },
    /// All of a layer was read.
    Layer {
        /// Which.
        id: DiffId,
        /// Whether something is wrong with it.
        sound: bool,
    },
}

/// What a deep check found.
#[derive(Debug)]
pub struct Checked {
    /// What is wrong with blobs.
    pub blobs: Vec<Finding>,
    /// Every layer, by name.
    pub layers: Vec<Examined>,
}

/// Reads every blob, layer and index of an facts.
///
/// # Errors
/// If the system has no thread to give.
pub fn deep(
    store: &Store,
    facts: &Facts,
    options: &DeepOptions,
    tell: &(dyn Fn(CheckEvent) + Sync),
) -> Result<Checked> {
    let mut queue: Vec<_> = layers(facts).collect();
    queue.sort_by_key(|(_, record)| record.map_or(0, |record| record.data_len));
    let bytes = facts.records.iter().map(|record| record.data_len).sum();
    tell(CheckEvent::Started { bytes });
    let blobs = facts.blobs.keys();
    let blobs = blobs
        .filter_map(|digest| check_blob(store, digest))
        .collect();
    let (queue, done) = (Mutex::new(queue), Mutex::new(Vec::new()));
    let work = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
        while let Some((id, record)) = next() {
            let examined = examine_one(store, id, record, &options.pace, tell);
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(examined);
        }
    };
    thread::scope(|scope| {
        let threads: std::io::Result<Vec<_>> = (0..options.parallel.max(1))
            .map(|_| {
                thread::Builder::new()
                    .name("check".to_owned())
                    .spawn_scoped(scope, work)
            })
            .collect();
        for thread in threads.map_err(Error::NoThread)? {
            thread.join().map_err(|_panic| Error::Panicked("check"))?;
        }
        Ok::<_, Error>(())
    })?;
    let mut layers = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    layers.sort_by(|one, two| one.id.cmp(&two.id));
    Ok(Checked { blobs, layers })
}

/// Examines a layer and what is recorded of it.
pub fn examine_one(
    store: &Store,
    id: &DiffId,
    record: Option<&LayerRecord>,
    pace: &Pace,
    tell: &dyn Fn(CheckEvent),
) -> Examined {
    let mut examined = examine(store, id, pace, &|bytes| tell(CheckEvent::Read { bytes }));
    if let Some(record) = record {
        examine_record(store, record, &mut examined);
    }
    tell(CheckEvent::Layer {
        id: id.clone(),
        sound: examined.findings.is_empty(),
    });
    examined
}

/// Every layer that is recorded or on disk.
fn layers(facts: &Facts) -> impl Iterator<Item = (&DiffId, Option<&LayerRecord>)> {
    let recorded: BTreeSet<_> = facts.records.iter().map(|layer| &layer.diff_id).collect();
    let others = facts.layers.keys();
    let others = others.filter(move |id| !recorded.contains(id));
    let records = facts.records.iter();
    records
        .map(|record| (&record.diff_id, Some(record)))
        .chain(others.map(|id| (id, None)))
}

fn check_blob(store: &Store, digest: &Digest) -> Option<Finding> {
    let max = bounds::MAX_CONFIG_BYTES.max(bounds::MAX_MANIFEST_BYTES) as u64;
    let fault = match store.content.read_blob(digest, max) {
        Ok(_) => return None,
        Err(StoreError::Missing(_)) => Fault::Missing,
        Err(StoreError::Damaged(_)) => Fault::Damaged("its bytes have another digest".to_owned()),
        Err(error) => Fault::Unreadable(error.to_string()),
    };
    Some(Finding::new(Part::Blob(digest.clone()), fault))
}
