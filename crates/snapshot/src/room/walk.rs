//! Usage of a room that nothing counts: every file is looked at.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use lapstrake_sys::descent::{Descent, Step};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::error::io;
use super::{Counted, Limit, Result, Usage};

/// Counts what is below `room`, itself included; what has several names, once. What vanishes
/// meanwhile is not there, and what is mounted in it is not its own.
pub(super) fn usage(room: &Path) -> Result<Usage> {
    let dir = File::open(room).map_err(io("open", room))?;
    let mut count = Count::default();
    count.add(&rustix::fs::fstat(&dir).map_err(io("look at", room))?);
    let mut descent = Descent::begin(dir.into()).map_err(io("list", room))?;
    let mut depth = 0_usize;
    while let Some(step) = descent.step().map_err(io("list", room))? {
        let name = match step {
            Step::Entry(name) => name,
            Step::Left(_) => {
                depth = depth.saturating_sub(1);
                continue;
            }
        };
        let Some(dir) = descent.dir() else {
            continue;
        };
        let stat = match rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(io("look at a file in", room)(errno)),
        };
        let bytes = count.add(&stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            match descent.enter(name) {
                Ok(()) => depth += 1,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                Err(errno) => return Err(io("list a directory in", room)(errno)),
            }
        } else if depth > 0 {
            count.files += bytes;
        }
    }
    Ok(Usage {
        bytes: count.bytes,
        inodes: Some(count.inodes),
        files: Some(count.files),
        limit: Limit::NONE,
        counted: Counted::Walked,
    })
}

#[derive(Default)]
struct Count {
    bytes: u64,
    inodes: u64,
    /// Bytes of what is not a directory, below the directories of the room.
    files: u64,
    linked: HashSet<(u64, u64)>,
}

impl Count {
    /// Counts one name, and says how many bytes that added.
    fn add(&mut self, stat: &Stat) -> u64 {
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if stat.st_nlink > 1 && !is_dir && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return 0;
        }
        let bytes = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        self.bytes += bytes;
        self.inodes += 1;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn files_are_those_in_directories_without_the_directories() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| {
            let mut file = File::create(dir.path().join(path)).unwrap();
            file.write_all(&[1; 5000]).unwrap();
            file.sync_all().unwrap();
            fs::metadata(dir.path().join(path))
        };
        fs::create_dir_all(dir.path().join("upper/a/b")).unwrap();
        fs::create_dir_all(dir.path().join("work")).unwrap();
        write("kind").unwrap();
        assert_eq!(usage(dir.path()).unwrap().files, Some(0));
        let deep = write("upper/a/b/c").unwrap();
        let high = write("upper/d").unwrap();
        fs::hard_link(dir.path().join("upper/d"), dir.path().join("upper/e")).unwrap();
        let blocks = |metadata: &fs::Metadata| std::os::linux::fs::MetadataExt::st_blocks(metadata);
        let want = (blocks(&deep) + blocks(&high)) * 512;
        assert_eq!(usage(dir.path()).unwrap().files, Some(want));
    }

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

    #[test]
    fn a_tree_deeper_than_a_path_can_name_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = File::open(dir.path()).unwrap();
        let name = "d".repeat(100);
        for _ in 0..200 {
            rustix::fs::mkdirat(&at, &*name, rustix::fs::Mode::RWXU).unwrap();
            let flags = rustix::fs::OFlags::DIRECTORY;
            let mode = rustix::fs::Mode::empty();
            at = rustix::fs::openat(&at, &*name, flags, mode).unwrap().into();
        }
        assert_eq!(usage(dir.path()).unwrap().inodes, Some(201));
        let top = File::open(dir.path()).unwrap();
        lapstrake_sys::descent::clear(top.into()).unwrap();
    }
}
