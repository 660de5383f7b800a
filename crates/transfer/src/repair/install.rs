//! A layer that was made again from its whole blob, put in the place of a damaged one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lapstrake_store::check::Part;
use lapstrake_store::{Durability, Store};

use crate::check::Examined;
use crate::error::{Error, Result};
use crate::layer::Staged;

/// Files are compared in steps of this many bytes.
const STEP_BYTES: usize = 1 << 20;
/// What is overwritten at a time at least: what file systems write at a time anyway.
const BLOCK_BYTES: usize = 4096;

/// Installs what is damaged, and says what was done. The layer's record and index are for the caller.
pub(super) fn install(store: &Store, examined: &Examined, staged: Staged) -> Result<String> {
    let id = &examined.id;
    let files = store.content.layer_files(id);
    let dir = files
        .data
        .parent()
        .expect("a layer's file is in a directory");
    if !dir.exists() {
        let record = staged.publish(store, Durability::OnlyHere)?;
        store.state().add_layer(&record, None)?;
        return Ok("it was fetched again".to_owned());
    }
    let new = staged.files();
    store.content.replace_skeleton(id, &read(&new.skeleton)?)?;
    store.content.replace_spans(id, &read(&new.spans)?)?;
    let is_whole = !examined
        .findings
        .iter()
        .any(|finding| matches!(finding.part, Part::Data(_) | Part::Layer(_)))
        && examined.skeleton.is_some();
    if is_whole {
        return Ok("its skeleton and spans were made again".to_owned());
    }
    let (unreadable, unwritable) = (
        |source| Error::Unreadable {
            path: new.data.clone(),
            source,
        },
        |source| Error::Unwritable {
            path: files.data.clone(),
            source,
        },
    );
    let source = File::open(&new.data).map_err(unreadable)?;
    let length = source.metadata().map_err(unreadable)?.len();
    let old = std::fs::symlink_metadata(&files.data).ok();
    if old.is_some_and(|old| old.is_file() && old.len() <= length) {
        let target = store.content.open_data(id)?;
        let written = overwrite(&source, &target, length).map_err(unwritable)?;
        return Ok(format!(
            "it was fetched again, and {written} bytes of its data were overwritten in place"
        ));
    }
    let target = store.content.new_data(id)?;
    overwrite(&source, &target.open()?, length).map_err(unwritable)?;
    target.publish()?;
    Ok("it was fetched again, and another data file took the place of the old one".to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// Writes what differs; returns how many bytes that was.
fn overwrite(from: &File, to: &File, length: u64) -> io::Result<u64> {
    let (mut want, mut got) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
    let (mut at, mut written) = (0, 0);
    while at < length {
        let step = usize::try_from(length - at).map_or(STEP_BYTES, |left| left.min(STEP_BYTES));
        from.read_exact_at(&mut want[..step], at)?;
        // What is not there, or can't be read, differs.
        let is_there = to.read_exact_at(&mut got[..step], at).is_ok();
        let blocks = want[..step]
            .chunks(BLOCK_BYTES)
            .zip(got[..step].chunks(BLOCK_BYTES));
        let mut place = at;
        for (want, got) in blocks {
            if !is_there || want != got {
                to.write_all_at(want, place)?;
                written += want.len() as u64;
            }
            place += want.len() as u64;
        }
        at += step as u64;
    }
    Ok(written)
}
