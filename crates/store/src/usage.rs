//! What files take on the disk, counted as the file system will give it back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Result, io_error};

/// `st_blocks` counts these, whatever the file system's own blocks are.
const BLOCK_BYTES: u64 = 512;

/// A name of a file or a directory, and what lies behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileUse {
    /// Device and inode.
    pub inode: (u64, u64),
    /// Names that the file has, here or elsewhere; 1 for a directory.
    pub links: u64,
    /// Bytes allocated to it.
    pub bytes: u64,
}

impl FileUse {
    /// What one name takes.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self::from(&std::fs::symlink_metadata(path)?))
    }
}

/// What lies below a path, itself included; nothing if it is not there.
///
/// # Errors
/// If the file system refuses.
pub fn measure(path: &Path, found: &mut Vec<FileUse>) -> Result<()> {
    let (file, is_dir) = match std::fs::symlink_metadata(path) {
        Ok(metadata) => (FileUse::from(&metadata), metadata.is_dir()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at", path)(error)),
    };
    found.push(file);
    if is_dir {
        for name in entries(path)? {
            measure(&path.join(name), found)?;
        }
    }
    Ok(())
}

/// Names in a directory, also those that are no text; none if it is not there, or no directory.
pub(crate) fn entries(dir: &Path) -> Result<Vec<OsString>> {
    match lapstrake_sys::dir::names(dir) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(Vec::new()),
        names => names.map_err(io_error("list", dir)),
    }
}

impl From<&Metadata> for FileUse {
    fn from(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            links: if metadata.is_dir() {
                1
            } else {
                metadata.nlink()
            },
            bytes: metadata.blocks() * BLOCK_BYTES,
        }
    }
}

/// Bytes that are free when all these names are gone: a file's only if it has no name elsewhere.
pub fn freed<'a>(names: impl IntoIterator<Item = &'a FileUse>) -> u64 {
    let mut files: BTreeMap<(u64, u64), (u64, FileUse)> = BTreeMap::new();
    for name in names {
        files.entry(name.inode).or_insert((0, *name)).0 += 1;
    }
    let gone = files.values().filter(|(seen, file)| *seen >= file.links);
    gone.map(|(_, file)| file.bytes).sum()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_file_is_freed_once_and_with_its_last_name() {
        let file = |inode, links, bytes| FileUse {
            inode: (1, inode),
            links,
            bytes,
        };
        assert_eq!(freed(&[file(1, 1, 10), file(2, 2, 100)]), 10);
        assert_eq!(freed(&[file(2, 2, 100), file(2, 2, 100)]), 100);
        assert_eq!(freed(&[]), 0);
    }

    #[test]
    fn holes_take_nothing_and_directories_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let name = std::ffi::OsStr::from_bytes(b"sub/sp\xffrse");
        let sparse = File::create(dir.path().join(name)).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let mut found = Vec::new();
        measure(dir.path(), &mut found).unwrap();
        assert_eq!(found.len(), 3);
        assert!(freed(&found) < 1 << 20);
        measure(&dir.path().join("missing"), &mut found).unwrap();
        assert_eq!(found.len(), 3);
    }
}
