//! Usage of a room that nothing counts: every file is looked at.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::io;
use super::{Counted, Limit, Result, Usage};

/// Counts what is below `room`, itself included; what has several names, once. What vanishes
/// meanwhile is not there.
pub(super) fn usage(room: &Path) -> Result<Usage> {
    let mut bytes = 0;
    let mut inodes = 0;
    let mut linked = HashSet::new();
    let mut left: Vec<PathBuf> = vec![room.to_owned()];
    while let Some(path) = left.pop() {
        let Some(metadata) = unless_gone(std::fs::symlink_metadata(&path), &path)? else {
            continue;
        };
        let seen = metadata.nlink() > 1
            && !metadata.is_dir()
            && !linked.insert((metadata.dev(), metadata.ino()));
        if seen {
            continue;
        }
        bytes += metadata.blocks() * 512;
        inodes += 1;
        if metadata.is_dir() {
            let Some(entries) = unless_gone(std::fs::read_dir(&path), &path)? else {
                continue;
            };
            for entry in entries {
                left.push(entry.map_err(io("list", &path))?.path());
            }
        }
    }
    Ok(Usage {
        bytes,
        inodes: Some(inodes),
        limit: Limit::NONE,
        counted: Counted::Walked,
    })
}

fn unless_gone<T>(result: std::io::Result<T>, path: &Path) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("look at", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn names_of_one_file_count_once_and_holes_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let empty = usage(dir.path()).unwrap();
        let file = dir.path().join("d/a");
        File::create(&file).unwrap().set_len(1 << 30).unwrap();
        fs::hard_link(&file, dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("c")).unwrap();
        let full = usage(dir.path()).unwrap();
        assert_eq!(full.inodes, empty.inodes.map(|inodes| inodes + 2));
        assert!(full.bytes - empty.bytes <= 4096, "{full:?} {empty:?}");
    }
}
