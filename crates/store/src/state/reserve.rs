//! Room for records on a disk that is full.
//!
//! Whoever removes something writes that down first, and on a full disk could not. So a process that stays sets room aside
//! where the next commits go: blocks behind the end of the log, which nobody else can have, and which SQLite grows into.
//! From the first checkpoint on the log is written over and over in place.

use std::fs::File;

use rustix::fs::{FallocateFlags, fallocate};

use super::State;
use crate::error::{Result, io_error};

/// What the log grows to before SQLite begins it anew: a thousand pages, each with its header, and some.
const LOG_BYTES: u64 = 5 << 20;

impl State {
    /// Sets room aside for commits to come, until the database is closed. Does nothing if that is done already.
    ///
    /// # Errors
    /// If there is no room, or the file system can't set any aside.
    pub fn set_room_aside(&self) -> Result<()> {
        let mut path = self.path.clone().into_os_string();
        path.push("-wal");
        let path = std::path::PathBuf::from(path);
        // SQLite locks other files than this one, so closing it here takes no lock from it.
        let set_aside = File::options()
            .write(true)
            .open(&path)
            .and_then(|log| Ok(fallocate(&log, FallocateFlags::KEEP_SIZE, 0, LOG_BYTES)?));
        set_aside.map_err(io_error("set room aside in", &path))
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
