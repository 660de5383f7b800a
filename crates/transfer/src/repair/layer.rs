//! One layer, repaired: by the least that does it, and read back afterwards.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use lapstrake_oci::DiffId;
use lapstrake_store::check::{Finding, Part};
use lapstrake_store::{LayerRecord, LayerState, Object, Source, Store};
use lapstrake_tree::skeleton::Skeleton;

use super::fetch::Fetcher;
use super::install::install;
use super::refill::{refill, said};
use crate::check::{Examined, Pace, examine};
use crate::error::{Error, Result};
use crate::index;

/// What was done to a layer.
#[derive(Debug, Default)]
pub struct Mended {
    /// In the order in which it was done.
    pub done: Vec<String>,
    /// Why something could not be repaired.
    pub failures: Vec<String>,
    /// What is still wrong.
    pub left: Vec<Finding>,
    /// Where its files are now, if it must not be served any more.
    pub quarantined: Option<PathBuf>,
}

/// Repairs a layer of which something was found, or makes it again if it is gone. One that is sound but
/// has no record gets one.
///
/// # Errors
/// If the store refuses; that no source has what is needed is not an error.
pub fn repair_layer(
    store: &Store,
    fetcher: Option<&Fetcher>,
    mut examined: Examined,
    pace: &Pace,
) -> Result<Mended> {
    let id = examined.id.clone();
    let _claim = store.claim([Object::Layer(id.clone())]);
    let mut mended = Mended::default();
    if wrong_content(&examined).next().is_some() {
        let sources = store.state().sources(&id)?;
        if sources.is_empty() {
            mended.failures.push("it has no recorded source".to_owned());
        } else if fetcher.is_none() {
            mended.failures.push("no registry may be asked".to_owned());
        }
        for attempt in attempts(fetcher.map_or(&[][..], |_| &sources)) {
            match attempt.run(store, fetcher, &examined) {
                Ok(None) => continue,
                Ok(Some(done)) => mended.done.push(done),
                Err(error) => mended.failures.push(format!("{attempt}: {}", said(&error))),
            }
            examined = examine(store, &id, pace, &|_bytes| {});
            if wrong_content(&examined).next().is_none() {
                break;
            }
        }
    }
    mended.left = wrong_content(&examined).cloned().collect();
    if examined.why_not_served().is_some() {
        mended.quarantined = set_aside(store, &id)?;
        return Ok(mended);
    }
    if mended.left.is_empty() {
        mended.failures.clear();
    }
    settle(store, &examined, &mut mended)?;
    Ok(mended)
}

/// What is wrong with a layer's own files.
fn wrong_content(examined: &Examined) -> impl Iterator<Item = &Finding> {
    examined.findings.iter().filter(|finding| {
        matches!(
            finding.part,
            Part::Layer(_) | Part::Data(_) | Part::Skeleton(_) | Part::Spans(_)
        )
    })
}

/// A way to repair a layer.
enum Attempt<'a> {
    /// With what is here.
    Alone,
    /// With ranges of a blob.
    Ranges(&'a Source),
    /// With all of a blob.
    Whole(&'a Source),
}

/// Those that cost least come first.
fn attempts(sources: &[Source]) -> impl Iterator<Item = Attempt<'_>> {
    let alone = std::iter::once(Attempt::Alone);
    let ranges = sources.iter().map(Attempt::Ranges);
    alone
        .chain(ranges)
        .chain(sources.iter().map(Attempt::Whole))
}

impl std::fmt::Display for Attempt<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alone => write!(f, "with what is here"),
            Self::Ranges(source) | Self::Whole(source) => write!(f, "from {}", source.repository),
        }
    }
}

impl Attempt<'_> {
    /// What was done; `None` if this is no way to repair that damage.
    fn run(
        &self,
        store: &Store,
        fetcher: Option<&Fetcher>,
        examined: &Examined,
    ) -> Result<Option<String>> {
        let is_another = examined
            .findings
            .iter()
            .any(|finding| matches!(finding.part, Part::Layer(_)));
        match (self, fetcher) {
            (Self::Alone | Self::Ranges(_), _) if is_another || !is_data_wrong(examined) => {
                Ok(None)
            }
            (Self::Alone, _) => refill(store, examined, None),
            (Self::Ranges(source), Some(fetcher)) => {
                let table = examined.spans.as_ref();
                let is_of_blob = table.is_some_and(|table| table.blob().digest == source.blob);
                let ranges = is_of_blob.then(|| fetcher.ranges(source)).flatten();
                let Some(ranges) = ranges else {
                    return Ok(None);
                };
                refill(store, examined, Some(Box::new(ranges)))
            }
            (Self::Whole(source), Some(fetcher)) => {
                let staged = fetcher.whole(store, &examined.id, source)?;
                let installed = staged.map(|staged| install(store, examined, staged));
                installed.transpose()
            }
            (_, None) => Ok(None),
        }
    }
}

fn is_data_wrong(examined: &Examined) -> bool {
    let mut findings = examined.findings.iter();
    findings.any(|finding| matches!(finding.part, Part::Data(_)))
}

/// Moves a layer out of sight and forgets it; where it is then, if there was anything of it.
fn set_aside(store: &Store, id: &DiffId) -> Result<Option<PathBuf>> {
    let moved = match store.content.quarantine_layer(id) {
        Ok(moved) => Some(moved),
        Err(lapstrake_store::Error::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    store.state().forget_layer(id)?;
    Ok(moved)
}

/// Puts record and index of a sound layer right, and makes sure that all of it is on disk.
fn settle(store: &Store, examined: &Examined, mended: &mut Mended) -> Result<()> {
    let id = &examined.id;
    let skeleton = examined.skeleton.as_deref().unwrap_or_default();
    let summary = Skeleton::open(skeleton)?.summary();
    let record = store.state().layer(id)?;
    let is_right = |record: &LayerRecord| {
        (record.tar_len, record.data_len) == (summary.tar_len, summary.data_len)
    };
    let has_index = match &record {
        Some(record) => store.indexes.is_intact(id, &record.index).unwrap_or(false),
        None => false,
    };
    if has_index && record.as_ref().is_some_and(is_right) {
        if !mended.done.is_empty() || record.is_some_and(|it| it.state != LayerState::Proved) {
            prove(store, id)?;
        }
        return Ok(());
    }
    let old = store.indexes.open_to_mend(id);
    let index = index::remake(store, id)?;
    if let Ok(Some(old)) = old {
        mend_mounted_index(store, id, &old)?;
    }
    if !has_index {
        mended.done.push("its index was made again".to_owned());
    }
    if !record.as_ref().is_some_and(is_right) {
        store.state().forget_layer(id)?;
        mended.done.push("its record was made again".to_owned());
    }
    let layer = LayerRecord {
        diff_id: id.clone(),
        tar_len: summary.tar_len,
        data_len: summary.data_len,
        index,
        state: LayerState::Present,
    };
    store.state().add_layer(&layer, None)?;
    prove(store, id)
}

fn prove(store: &Store, id: &DiffId) -> Result<()> {
    store.content.prove_layer(id)?;
    store.state().set_proved([id])?;
    Ok(())
}

/// A mount goes on with the file that had the name before: it gets the same bytes, if it has as many.
fn mend_mounted_index(store: &Store, id: &DiffId, old: &File) -> Result<()> {
    let path = store.indexes.path(id);
    let mend = || -> io::Result<()> {
        let bytes = std::fs::read(&path)?;
        if old.metadata()?.len() == bytes.len() as u64 {
            old.write_all_at(&bytes, 0)?;
        }
        Ok(())
    };
    mend().map_err(|source| Error::Unwritable {
        path: path.clone(),
        source,
    })
}
