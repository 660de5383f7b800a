//! The indexes built on this host: one EROFS image per layer, below `state/index/`.
//!
//! An index can always be made again from its layer's skeleton, so it is never synced; instead
//! its length and digest are recorded, and compared before each mount.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapstrake_oci::DiffId;

use crate::disk::{Disk, ReadOnlyDisk, make_dirs_synced};
use crate::error::{Error, Result, io_error};
use crate::stage::unique_name;

/// What an index must be to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexStamp {
    /// Length in bytes.
    pub len: u64,
    /// BLAKE3 of the bytes, in hex. It names nothing outside this host.
    pub blake3: String,
}

/// The directory of indexes.
#[derive(Debug, Clone)]
pub struct Indexes {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Indexes {
    pub(crate) fn open(disk: Arc<dyn Disk>, state_dir: &Path) -> Result<Self> {
        let dir = state_dir.join("index");
        make_dirs_synced(&*disk, &dir)?;
        Ok(Self { disk, dir })
    }

    /// The indexes in a state directory, to read them.
    pub(crate) fn open_read_only(state_dir: &Path) -> Self {
        Self {
            disk: Arc::new(ReadOnlyDisk),
            dir: state_dir.join("index"),
        }
    }

    /// Where a layer's index is, or would be.
    pub fn path(&self, id: &DiffId) -> PathBuf {
        self.dir.join(id.0.hex())
    }

    /// Writes a layer's index, replacing one that is there.
    ///
    /// # Errors
    /// What `write` says, or the file system.
    pub fn put<E: From<Error>>(
        &self,
        id: &DiffId,
        write: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
    ) -> std::result::Result<IndexStamp, E> {
        let path = self.path(id);
        let partial = Partial {
            path: self.dir.join(format!(".{}-{}", id.0.hex(), unique_name())),
            disk: &*self.disk,
        };
        let file = self
            .disk
            .create(&partial.path)
            .map_err(io_error("create", &partial.path))?;
        let mut out = Hashing {
            out: io::BufWriter::with_capacity(256 * 1024, file),
            hasher: blake3::Hasher::new(),
            len: 0,
        };
        write(&mut out)?;
        out.flush().map_err(io_error("write", &partial.path))?;
        self.disk
            .replace(&partial.path, &path)
            .map_err(io_error("publish", &path))?;
        Ok(IndexStamp {
            len: out.len,
            blake3: out.hasher.finalize().to_hex().to_string(),
        })
    }

    /// Removes a layer's index, if there is one.
    pub(crate) fn remove(&self, id: &DiffId) -> Result<()> {
        self.remove_name(id.0.hex())
    }

    /// Removes a file of this directory, if it is there.
    pub(crate) fn remove_name(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        match self.disk.remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Names of the files here, finished and unfinished.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        crate::content::names(&self.dir)
    }

    /// Opens a layer's index, to overwrite it in place: whoever has mounted it keeps that file when
    /// another takes its name. `None` if there is none.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn open_to_mend(&self, id: &DiffId) -> Result<Option<std::fs::File>> {
        let path = self.path(id);
        match std::fs::File::options().write(true).open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open", &path)(error)),
        }
    }

    /// Whether a layer's index is there and is what was recorded.
    ///
    /// # Errors
    /// If the file system refuses to read it.
    pub fn is_intact(&self, id: &DiffId, stamp: &IndexStamp) -> Result<bool> {
        let path = self.path(id);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes.len() as u64 == stamp.len
                && blake3::hash(&bytes).to_hex().as_str() == stamp.blake3),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }
}

/// A file that is removed unless it was renamed before.
struct Partial<'a> {
    path: PathBuf,
    disk: &'a dyn Disk,
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        drop(self.disk.remove_file(&self.path));
    }
}

struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
    len: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::Algorithm;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_changed_index_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let indexes = Indexes::open(Arc::new(RealDisk), dir.path()).unwrap();
        let id = DiffId(Algorithm::Sha256.digest(b"layer"));
        let put = |text: &'static [u8]| {
            indexes
                .put::<Error>(&id, |out| {
                    out.write_all(text)
                        .map_err(io_error("write", Path::new("x")))
                })
                .unwrap()
        };
        let stamp = put(b"index");
        assert!(indexes.is_intact(&id, &stamp).unwrap());
        let other = put(b"indeX");
        assert!(!indexes.is_intact(&id, &stamp).unwrap());
        assert!(indexes.is_intact(&id, &other).unwrap());
        assert_eq!(std::fs::read_dir(&indexes.dir).unwrap().count(), 1);
    }
}
