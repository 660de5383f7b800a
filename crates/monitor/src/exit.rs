//! How a process ended: a record on disk that outlives the monitor.
//!
//! Invariant: the record is synced, and so is its name, before anyone is told of the exit.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use lapstrake_sys::publish::{StagedFile, sync_dir, sync_file};

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A signal's number is added to this for the code of a process that it ended.
const SIGNALLED: u8 = 128;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code; 128 and the signal's number if a signal ended it.
    pub code: u8,
    /// The signal that ended it.
    pub signal: Option<u8>,
    /// When.
    pub finished_at: Timestamp,
    /// Whether the kernel killed a process of the container for want of memory.
    pub oom_killed: bool,
    /// How many times that was seen to happen; 0 in what monitors wrote that did not count.
    #[serde(default)]
    pub oom_times: u64,
}

impl Exit {
    /// A process that called `exit`.
    #[must_use]
    pub fn with_code(code: u8, finished_at: Timestamp) -> Self {
        Self {
            code,
            signal: None,
            finished_at,
            oom_killed: false,
            oom_times: 0,
        }
    }

    /// A process that a signal ended.
    #[must_use]
    pub fn by_signal(signal: u8, finished_at: Timestamp) -> Self {
        Self {
            code: SIGNALLED.saturating_add(signal),
            signal: Some(signal),
            finished_at,
            oom_killed: false,
            oom_times: 0,
        }
    }

    /// Records the exit durably at `path`, in the place of an earlier one.
    ///
    /// # Errors
    /// What the file system says; then the earlier record is still there.
    pub fn record(&self, path: &Path) -> Result<()> {
        let name = path.file_name().unwrap_or_default();
        let beside = |suffix: &str| {
            let mut name = name.to_owned();
            name.push(suffix);
            path.with_file_name(name)
        };
        let dir = path.parent().unwrap_or(Path::new("."));
        let written = || {
            let text = serde_json::to_vec(self)?;
            let temporary = beside(".new");
            // A monitor that was killed may have left one.
            match std::fs::remove_file(&temporary) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let unnamed = beside(".staged");
            let unnamed = unnamed.file_name().unwrap_or_default().to_string_lossy();
            let mut staged = StagedFile::create(dir, &unnamed, 0o600)?;
            staged.file().write_all(&text)?;
            sync_file(staged.file())?;
            staged.replace(path, &temporary)?;
            sync_dir(dir)
        };
        written().map_err(|source| Error::io("record an exit in", path, source))
    }

    /// Reads the record at `path`; `None` if there is none.
    ///
    /// # Errors
    /// What the file system says; [`Error::Record`] if the file is something else.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|mut file| file.read_to_end(&mut text));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::io("read", path, source)),
        }
        let exit = serde_json::from_slice(&text).map_err(|source| Error::Record {
            path: path.to_owned(),
            source,
        })?;
        Ok(Some(exit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        assert_eq!(Exit::read(&path).unwrap(), None);
        let now = Timestamp::now();
        for exit in [Exit::with_code(3, now), Exit::by_signal(9, now)] {
            exit.record(&path).unwrap();
            assert_eq!(Exit::read(&path).unwrap(), Some(exit));
        }
        assert_eq!(Exit::by_signal(9, now).code, 137);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_of_an_earlier_monitor_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        let text =
            r#"{"code":137,"signal":9,"finished_at":"1970-01-01T00:00:01Z","oom_killed":true}"#;
        let mut file = File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let exit = Exit::read(&path).unwrap().unwrap();
        assert_eq!((exit.oom_killed, exit.oom_times), (true, 0));
    }

    #[test]
    fn something_else_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exit");
        File::create(&path).unwrap().write_all(b"0").unwrap();
        assert!(matches!(Exit::read(&path), Err(Error::Record { .. })));
    }
}
