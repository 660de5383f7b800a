//! The files of a log: the one that is written to, and the rotated ones behind it.
//!
//! Readers hold no lock and need none:
//! - a file's content never changes once it has been renamed;
//! - a rotation renames from the oldest on, and the new file comes last;
//! - a compressed file appears whole before the plain one goes, and tells in its gzip header
//!   which file (inode) it was.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use flate2::{Compression, GzBuilder};
use lapstrake_sys::publish::replace;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::logs::Settings;
use crate::time::Timestamp;

const MODE: u32 = 0o640;

/// A thread that compresses needs little.
const STACK: usize = 128 << 10;

/// The name of a log's file: the `index`th before the current one, which is number 0.
pub(crate) fn name(path: &Path, index: u32) -> PathBuf {
    match index {
        0 => path.to_owned(),
        _ => with_suffix(path, &format!(".{index}")),
    }
}

pub(crate) fn compressed_name(path: &Path, index: u32) -> PathBuf {
    with_suffix(path, &format!(".{index}.gz"))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// What stands in the header of a compressed file. Docker knows the first.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// No entry is later.
    pub(crate) last_time: Timestamp,
    /// Which file it was before.
    pub(crate) inode: Option<u64>,
}

/// The file that is written to.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    file: File,
    size: u64,
    limit: Option<u64>,
    keep: u32,
    compress: bool,
    compressing: Option<JoinHandle<Result<()>>>,
    last_time: Timestamp,
}

impl Files {
    pub(crate) fn open(settings: &Settings) -> Result<Self> {
        let file = open_to_append(&settings.path)?;
        let size = file
            .metadata()
            .map_err(|source| Error::io("look at", &settings.path, source))?
            .size();
        Ok(Self {
            path: settings.path.clone(),
            file,
            size,
            limit: settings.max_size,
            keep: settings.max_files.max(1),
            compress: settings.compress,
            compressing: None,
            last_time: Timestamp::now(),
        })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Cuts the file: what follows was torn.
    pub(crate) fn truncate(&mut self, size: u64) -> Result<()> {
        self.file
            .set_len(size)
            .map_err(|source| Error::io("cut", &self.path, source))?;
        self.size = size;
        Ok(())
    }

    /// Whether the file is full when this many bytes more are in it.
    pub(crate) fn is_full_with(&self, more: usize) -> bool {
        self.limit
            .is_some_and(|limit| self.size.saturating_add(more as u64) >= limit)
    }

    /// Appends whole entries: all of them or, after an error, none.
    pub(crate) fn append(&mut self, entries: &[u8], last_time: Timestamp) -> Result<()> {
        if let Err(source) = self.file.write_all(entries) {
            // What was written of them is not whole. If it can't be cut either, readers skip it.
            if self.file.metadata().is_ok_and(|now| now.len() > self.size) {
                drop(self.file.set_len(self.size));
            }
            return Err(Error::io("write to", &self.path, source));
        }
        self.size += entries.len() as u64;
        self.last_time = last_time;
        Ok(())
    }

    /// Begins a new file. After an error the old one is written on.
    pub(crate) fn rotate(&mut self) -> Result<()> {
        self.finish()?;
        // First what can fail for want of space: nothing has moved then.
        let temporary = with_suffix(&self.path, ".new");
        let file = open_to_append(&temporary)?;
        if self.keep > 1 {
            self.shift()?;
        }
        replace(&temporary, &self.path).map_err(|source| Error::io("begin", &self.path, source))?;
        self.file = file;
        self.size = 0;
        if self.compress && self.keep > 1 {
            self.compress()?;
        }
        Ok(())
    }

    /// Moves every file to the next number, from the oldest on, and drops the last.
    fn shift(&self) -> Result<()> {
        for index in (0..self.keep).rev() {
            let forms: [fn(&Path, u32) -> PathBuf; 2] = [name, compressed_name];
            for form in forms {
                let from = form(&self.path, index);
                let done = if index + 1 == self.keep {
                    std::fs::remove_file(&from)
                } else {
                    replace(&from, &form(&self.path, index + 1))
                };
                match done {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Error::io("rotate", &from, error));
                    }
                    _ => {}
                }
                if index == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Compresses the newest rotated file beside the writing.
    fn compress(&mut self) -> Result<()> {
        let (path, last_time) = (self.path.clone(), self.last_time);
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || compress(&path, last_time))
            .map_err(|source| Error::io("compress", &self.path, source))?;
        self.compressing = Some(thread);
        Ok(())
    }

    /// Waits until what was rotated is compressed too.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match self.compressing.take().map(JoinHandle::join) {
            Some(Ok(done)) => done,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

fn open_to_append(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .append(true)
        .create(true)
        .mode(MODE)
        .open(path)
        .map_err(|source| Error::io("open", path, source))
}

fn compress(path: &Path, last_time: Timestamp) -> Result<()> {
    let plain = name(path, 1);
    let compressed = compressed_name(path, 1);
    let temporary = with_suffix(&compressed, ".tmp");
    let done = || {
        let mut from = File::open(&plain)?;
        let about = About {
            last_time,
            inode: Some(from.metadata()?.ino()),
        };
        let to = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&temporary)?;
        let mut encoder = GzBuilder::new()
            .extra(serde_json::to_vec(&about)?)
            .write(to, Compression::default());
        let mut buffer = [0; 16 << 10];
        loop {
            match from.read(&mut buffer)? {
                0 => break,
                length => encoder.write_all(buffer.get(..length).unwrap_or_default())?,
            }
        }
        encoder.finish()?;
        replace(&temporary, &compressed)?;
        std::fs::remove_file(&plain)
    };
    done().map_err(|source: io::Error| {
        // The plain file stays and is as good.
        drop(std::fs::remove_file(&temporary));
        Error::io("compress", &plain, source)
    })
}
