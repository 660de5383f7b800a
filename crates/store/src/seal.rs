//! The seal of the state database: what its bytes were when the store was last closed in an orderly
//! way, and a copy of them.
//!
//! ```text
//! state/state.db.seal   blake3 <hex> · length <bytes> · modified <nanoseconds> · seal <hex of these lines>
//! state/state.db.kept   the copy
//! ```
//!
//! SQLite notices when its pages don't fit together, not when a name in one of them is another one.
//! The seal speaks of a file with that time of change only, and of none with a log beside it: whoever
//! writes to the database ends it. Nothing here is synced: what a crash leaves
//! of it is told by its own digests, and is of use only as far as it is right.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::stage::unique_name;

/// A seal is four short lines.
const MAX_BYTES: u64 = 1024;

/// What a seal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    blake3: String,
    length: u64,
    modified: String,
}

/// How the database and its seal stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// The database is as it was left.
    Sealed,
    /// It was not written to, and has other bytes all the same.
    Damaged,
    /// It was written to since, or there is no seal.
    Unknown,
}

/// Where the seal of a database is.
pub(crate) fn path(db: &Path) -> PathBuf {
    beside(db, "seal")
}

/// Where the copy of a database is.
pub(crate) fn kept(db: &Path) -> PathBuf {
    beside(db, "kept")
}

fn beside(db: &Path, suffix: &str) -> PathBuf {
    db.with_added_extension(suffix)
}

/// Reads the seal of a database; one that is there and is none is an error of kind `InvalidData`.
pub(crate) fn read(db: &Path) -> io::Result<Option<Seal>> {
    let path = path(db);
    let length = match std::fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = if length <= MAX_BYTES {
        std::fs::read(&path)?
    } else {
        Vec::new()
    };
    let seal = std::str::from_utf8(&text).ok().and_then(parse);
    seal.map(Some)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no seal"))
}

fn parse(text: &str) -> Option<Seal> {
    let mut lines = text.lines();
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let seal = Seal {
        blake3: value("blake3")?.to_owned(),
        length: value("length")?.parse().ok()?,
        modified: value("modified")?.to_owned(),
    };
    (seal.text() == text).then_some(seal)
}

impl Seal {
    fn text(&self) -> String {
        let Self {
            blake3,
            length,
            modified,
        } = self;
        let text = format!("blake3 {blake3}\nlength {length}\nmodified {modified}\n");
        let sum = blake3::hash(text.as_bytes()).to_hex();
        format!("{text}seal {sum}\n")
    }

    fn of(db: &Path, length: u64, modified: String) -> io::Result<Self> {
        Ok(Self {
            blake3: hash(db)?,
            length,
            modified,
        })
    }

    /// Whether a database was not written to since it was sealed, as far as its file says. One that is
    /// shorter now may still be it.
    pub(crate) fn is_of(&self, db: &Path) -> io::Result<bool> {
        Ok(stamp(db)?.1 == self.modified && !has_log(db))
    }

    /// Whether the copy has the bytes that were sealed.
    pub(crate) fn has_copy(&self, db: &Path) -> io::Result<bool> {
        match hash(&kept(db)) {
            Ok(hash) => Ok(hash == self.blake3),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Compares a database with its seal.
pub(crate) fn compare(db: &Path) -> io::Result<Bytes> {
    let Ok(Some(seal)) = read(db) else {
        return Ok(Bytes::Unknown);
    };
    let before = stamp(db)?;
    if before.1 != seal.modified || has_log(db) {
        return Ok(Bytes::Unknown);
    }
    let hash = hash(db)?;
    // An owner may have written meanwhile.
    if stamp(db)? != before || has_log(db) {
        return Ok(Bytes::Unknown);
    }
    Ok(if before.0 == seal.length && hash == seal.blake3 {
        Bytes::Sealed
    } else {
        Bytes::Damaged
    })
}

/// Seals a database that nobody writes to, and keeps a copy. One that was not written to since it was
/// sealed is left alone, whatever its bytes are.
pub(crate) fn seal(disk: &dyn Disk, db: &Path) -> io::Result<()> {
    let (length, modified) = stamp(db)?;
    let old = read(db).unwrap_or(None);
    if let Some(old) = &old
        && (old.length, &old.modified) == (length, &modified)
        && kept(db).exists()
    {
        return Ok(());
    }
    let seal = Seal::of(db, length, modified)?;
    if old.is_none_or(|old| old.blake3 != seal.blake3) || !kept(db).exists() {
        replace(disk, &kept(db), |file| {
            io::copy(&mut File::open(db)?, file).map(drop)
        })?;
    }
    replace(disk, &path(db), |file| {
        file.write_all(seal.text().as_bytes())
    })
}

fn replace(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let new = path.with_added_extension(unique_name());
    let written = disk
        .create(&new)
        .and_then(|mut file| write(&mut file))
        .and_then(|()| disk.replace(&new, path));
    if written.is_err() {
        drop(disk.remove_file(&new));
    }
    written
}

/// Length, and time of the last change.
fn stamp(db: &Path) -> io::Result<(u64, String)> {
    let metadata = std::fs::metadata(db)?;
    let modified = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    Ok((metadata.len(), modified))
}

/// Whether commits are in the log that are not in the database.
fn has_log(db: &Path) -> bool {
    let mut log = db.to_owned().into_os_string();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

fn hash(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_changed_byte_is_told_from_a_write() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("state.db");
        let file = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&db)
            .unwrap();
        file.write_all_at(b"names", 0).unwrap();
        assert_eq!(compare(&db).unwrap(), Bytes::Unknown);
        seal(&RealDisk, &db).unwrap();
        assert_eq!(compare(&db).unwrap(), Bytes::Sealed);
        let sealed = read(&db).unwrap().unwrap();
        assert!(sealed.has_copy(&db).unwrap() && sealed.is_of(&db).unwrap());

        let before = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"N", 0).unwrap();
        file.set_times(FileTimes::new().set_modified(before))
            .unwrap();
        assert_eq!(compare(&db).unwrap(), Bytes::Damaged);
        seal(&RealDisk, &db).unwrap();
        assert_eq!(compare(&db).unwrap(), Bytes::Damaged);

        let later = before + std::time::Duration::from_secs(1);
        file.set_times(FileTimes::new().set_modified(later))
            .unwrap();
        assert_eq!(compare(&db).unwrap(), Bytes::Unknown);
        seal(&RealDisk, &db).unwrap();
        assert_eq!(compare(&db).unwrap(), Bytes::Sealed);
        assert_eq!(std::fs::read(kept(&db)).unwrap(), b"Names");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);

        File::create(path(&db))
            .unwrap()
            .write_all(b"blake3")
            .unwrap();
        assert_eq!(read(&db).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(compare(&db).unwrap(), Bytes::Unknown);
    }
}
