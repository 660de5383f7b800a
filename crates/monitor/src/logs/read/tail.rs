//! Finding the last entries of a log without reading all of it.
//!
//! Plain files are read from their end. Compressed ones must be read whole, and are only if the
//! plain ones have too few.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::logs::read::cursor::{Cursor, Next};
use crate::logs::{Format, local};

const BLOCK: u64 = 32 << 10;

/// Leaves the last `count` entries of the files, which are given oldest first.
pub(super) fn keep_last(files: &mut VecDeque<Cursor>, count: u64, path: &Path) -> Result<()> {
    let mut wanted = count;
    let mut kept = VecDeque::new();
    while let Some(cursor) = files.pop_back() {
        // The newest stays for what is added to it.
        if wanted == 0 && !kept.is_empty() {
            break;
        }
        let (cursor, found) = if cursor.plain().is_some() {
            last_of_plain(cursor, wanted).map_err(|source| Error::io("read", path, source))?
        } else {
            last_of_compressed(cursor, wanted, path)?
        };
        wanted -= found;
        kept.push_front(cursor);
    }
    *files = kept;
    Ok(())
}

/// Moves to the last entries of a file, at most `wanted`, and says how many there are.
fn last_of_plain(mut cursor: Cursor, wanted: u64) -> io::Result<(Cursor, u64)> {
    let (offset, found) = match (cursor.plain(), cursor.format()) {
        (Some(file), Format::JsonFile) => last_lines(file, wanted)?,
        (Some(file), Format::Local) => last_messages(file, wanted)?,
        (None, _) => (0, 0),
    };
    cursor.seek(offset)?;
    Ok((cursor, found))
}

/// The same, for a file that can only be read from its start.
fn last_of_compressed(mut cursor: Cursor, wanted: u64, path: &Path) -> Result<(Cursor, u64)> {
    let mut all = 0;
    loop {
        match cursor.next(path)? {
            Next::Entry(_) => all += 1,
            Next::Garbage => {}
            Next::End => break,
        }
    }
    let found = wanted.min(all);
    let cursor = cursor
        .restart(all - found)
        .map_err(|source| Error::io("read", path, source))?;
    Ok((cursor, found))
}

/// Where the last `count` complete lines start, and how many there are.
fn last_lines(file: &File, count: u64) -> io::Result<(u64, u64)> {
    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    let mut start = file.metadata()?.len();
    // Line feeds met from the end: the first ends the last line, the next one the line before.
    let mut met: u64 = 0;
    while start > 0 {
        let length = start.min(BLOCK);
        start -= length;
        let bytes = block.get_mut(..usize::try_from(length).unwrap_or(0));
        let bytes = bytes.unwrap_or_default();
        match file.read_exact_at(bytes, start) {
            // Somebody emptied it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok((0, 0)),
            done => done?,
        }
        for (at, _) in bytes.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            if met == count {
                return Ok((start + at as u64 + 1, count));
            }
            met += 1;
        }
    }
    Ok((0, met))
}

/// Where the last `count` messages start, and how many there are.
fn last_messages(file: &File, count: u64) -> io::Result<(u64, u64)> {
    let size = file.metadata()?.len();
    let mut start = whole_until(file, size);
    let mut found = 0;
    while found < count {
        let Some(before) = local::entry_before(file, start) else {
            break;
        };
        start = before;
        found += 1;
    }
    Ok((start, found))
}

/// Where the last entry that is whole ends: usually at the end.
fn whole_until(file: &File, size: u64) -> u64 {
    if local::entry_before(file, size).is_some() {
        return size;
    }
    let mut whole = 0;
    while let Some(end) = local::entry_after(file, whole) {
        whole = end;
    }
    whole
}
