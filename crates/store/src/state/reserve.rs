//! Room for records on a disk that is full.
//!
//! Whoever removes something writes that down first, and on a full disk could not. So a process that stays sets room aside
//! where the next commits go: blocks behind the end of the log, which nobody else can have, and which SQLite grows into.
//! From the first checkpoint on the log is written over and over in place.
//!
//! btrfs writes elsewhere what is changed, and when there is no room for that, whoever changes memory that is a file's is
//! killed (SIGBUS): so SQLite's shared memory, and the log, are files that it changes in place.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::{FallocateFlags, IFlags, fallocate, ioctl_getflags, ioctl_setflags};

use super::State;
use crate::error::{Error, Result, io_error};

/// What the log grows to before SQLite begins it anew: a thousand pages, each with its header, and some.
const LOG_BYTES: u64 = 5 << 20;

impl State {
    /// Sets room aside for commits to come, until the database is closed. Does nothing if that is done already.
    ///
    /// # Errors
    /// If there is no room, or the file system can't set any aside.
    pub fn set_room_aside(&self) -> Result<()> {
        let path = beside(&self.path, "-wal");
        // SQLite locks other files than this one, so closing it here takes no lock from it.
        let set_aside = File::options()
            .write(true)
            .open(&path)
            .and_then(|log| Ok(fallocate(&log, FallocateFlags::KEEP_SIZE, 0, LOG_BYTES)?));
        set_aside.map_err(io_error("set room aside in", &path))
    }
}

/// A file of SQLite's beside the database.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(ending);
    path.into()
}

/// Makes SQLite's shared memory, if it is not there, as a file that is changed in place. One that is there is left
/// alone: SQLite may have locks on it, which would be gone when it is closed here.
pub(super) fn make_shared_memory(database: &Path) -> Result<()> {
    let path = beside(database, "-shm");
    match File::options().write(true).create_new(true).open(&path) {
        Ok(file) => {
            change_in_place(&file);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io_error("create", &path)(error)),
    }
}

/// Has the log changed in place, if nothing was written to it yet.
pub(super) fn keep_log_in_place(db: &Connection, database: &Path) -> Result<()> {
    // It is made when something is read first.
    let read = db.query_row("SELECT count(*) FROM sqlite_schema", [], |_row| Ok(()));
    read.map_err(|source| Error::Database {
        action: "read",
        source,
    })?;
    let path = beside(database, "-wal");
    match File::open(&path) {
        Ok(file) => {
            change_in_place(&file);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("open", &path)(error)),
    }
}

fn change_in_place(file: &File) {
    if let Ok(flags) = ioctl_getflags(file) {
        // Only btrfs knows this, and only it needs it; it knows it of empty files.
        let _refused = ioctl_setflags(file, flags | IFlags::NOCOW);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_log_has_more_room_than_it_fills_until_it_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open_alone(&path, "boot").unwrap();
        state.keep_strays(true).unwrap();
        let log = || std::fs::metadata(dir.path().join("state.db-wal"));
        let len = log().unwrap().len();
        state.set_room_aside().unwrap();
        assert_eq!(log().unwrap().len(), len);
        assert!(log().unwrap().blocks() * 512 >= LOG_BYTES);
        state.keep_strays(false).unwrap();
        assert!(!state.keeps_strays().unwrap());
        drop(state);
        assert!(log().is_err());
        assert!(
            !State::open_alone(&path, "boot")
                .unwrap()
                .keeps_strays()
                .unwrap()
        );
    }
}
