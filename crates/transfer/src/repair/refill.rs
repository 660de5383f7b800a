//! Damaged ranges of `data`, made again from ranges of the blob and written in place.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use lapstrake_fill::refill::Layer;
use lapstrake_fill::source::Source;
use lapstrake_fill::spans::SpanTable;
use lapstrake_store::{NewFile, Store};
use lapstrake_tree::skeleton::Skeleton;

use crate::check::{Damage, Examined};
use crate::error::{Error, Result};

/// Zeros are written in steps of this many bytes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Writes what is wrong in `data` anew; says what was done. `None` if this is not the way: too much is
/// damaged, or a source is needed and there is none.
pub(super) fn refill(
    store: &Store,
    examined: &Examined,
    source: Option<Box<dyn Source>>,
) -> Result<Option<String>> {
    let Some(skeleton) = &examined.skeleton else {
        return Ok(None);
    };
    let data_len = Skeleton::open(skeleton.as_slice())?.summary().data_len;
    let is_gone = !store.content.layer_files(&examined.id).data.is_file();
    let (spans, between) = match (&examined.damage, &examined.spans) {
        (Damage::None, _) => (Vec::new(), Vec::new()),
        (Damage::Spans { spans, between }, _) => (spans.clone(), between.clone()),
        (Damage::Unknown, Some(table)) if is_gone => {
            ((0..table.spans().len()).collect(), Vec::new())
        }
        (Damage::Unknown, _) => return Ok(None),
    };
    let filling = match (spans.is_empty(), source, &examined.spans) {
        (true, _, _) => None,
        (false, Some(source), Some(table)) => Some((source, table)),
        (false, _, _) => return Ok(None),
    };
    let target = Target::open(store, examined, data_len)?;
    if let Some((source, table)) = filling {
        fill(&target, table, skeleton, source, &spans)?;
    }
    for gap in &between {
        zero(&target.file, gap.clone()).map_err(cannot_write(store, examined))?;
    }
    let count = spans.len();
    let whose = match (target.new, count) {
        (Some(new), _) => {
            new.publish()?;
            return Ok(Some(format!(
                "another data file took the place of the old one; {count} spans of it came from its source"
            )));
        }
        (None, 0) => "its end and what lies between its files were put right in place".to_owned(),
        (None, _) => format!("{count} spans of its data were overwritten in place"),
    };
    Ok(Some(whose))
}

/// The file to be written.
struct Target {
    file: File,
    /// If it is not the one that is there.
    new: Option<NewFile>,
}

impl Target {
    /// The old file, as long as it should be; or a new one, if it is gone or too long, for a file that a
    /// mount may read is not cut short.
    fn open(store: &Store, examined: &Examined, data_len: u64) -> Result<Self> {
        let id = &examined.id;
        let path = store.content.layer_files(id).data;
        let old = std::fs::symlink_metadata(&path).ok();
        let old_len = old.filter(std::fs::Metadata::is_file).map(|old| old.len());
        let failed = cannot_write(store, examined);
        if let Some(old_len) = old_len
            && old_len <= data_len
        {
            let file = store.content.open_data(id)?;
            if old_len < data_len {
                file.set_len(data_len).map_err(failed)?;
            }
            return Ok(Self { file, new: None });
        }
        let new = store.content.new_data(id)?;
        let file = new.open()?;
        if old_len.is_some() {
            let old = store.content.open_data(id)?;
            io::copy(&mut io::Read::take(old, data_len), &mut &file).map_err(failed)?;
        } else {
            file.set_len(data_len).map_err(failed)?;
        }
        Ok(Self {
            file,
            new: Some(new),
        })
    }
}

fn fill(
    target: &Target,
    table: &SpanTable,
    skeleton: &[u8],
    source: Box<dyn Source>,
    spans: &[usize],
) -> Result<()> {
    let file = target.file.try_clone().map_err(Error::Descriptor)?;
    let layer = Layer::new(table.clone(), skeleton.to_vec(), file, source)?;
    for run in runs(spans) {
        layer.fill_all(run)?;
    }
    Ok(())
}

/// Numbers in order as ranges of those that follow each other.
fn runs(numbers: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == *number => run.end += 1,
            _ => runs.push(*number..number + 1),
        }
    }
    runs
}

fn zero(file: &File, range: Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let step = left.min(ZEROS.len());
        file.write_all_at(&ZEROS[..step], at)?;
        at += step as u64;
    }
    Ok(())
}

fn cannot_write(store: &Store, examined: &Examined) -> impl Fn(io::Error) -> Error + use<> {
    let path = store.content.layer_files(&examined.id).data;
    move |source| Error::Unwritable {
        path: path.clone(),
        source,
    }
}

/// For an error's text: what a source said.
pub(super) fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_one_run() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
    }
}
