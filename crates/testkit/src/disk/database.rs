//! A database: its files as they were after each commit that may still be the last one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::sync::Arc;

use lapstrake_store::Commit;

/// The files of an SQLite database in WAL mode. Its third one, `-shm`, does not outlive a boot.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) main: Arc<[u8]>,
    pub(super) wal: Arc<[u8]>,
}

impl Snapshot {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let [_, wal, _] = Database::names(path.as_os_str());
        let wal = match std::fs::read(wal) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        Ok(Self {
            main: std::fs::read(path)?.into(),
            wal: wal.into(),
        })
    }
}

/// Snapshots after the last synced commit and after those that came later.
#[derive(Debug, Clone, Default)]
pub(super) struct Database {
    pub(super) snapshots: Vec<Snapshot>,
}

impl Database {
    /// The main file, the write-ahead log and its index.
    pub(super) fn names(main: &OsStr) -> [OsString; 3] {
        ["", "-wal", "-shm"].map(|suffix| {
            let mut name = main.to_owned();
            name.push(suffix);
            name
        })
    }

    pub(super) fn committed(&mut self, snapshot: Snapshot, commit: Commit) {
        if commit == Commit::Synced {
            self.snapshots.clear();
        }
        self.snapshots.push(snapshot);
    }
}
