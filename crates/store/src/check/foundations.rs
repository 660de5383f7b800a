//! What a store stands on: the files that say what its directories are, and its database.
//!
//! With these damaged a store can't be opened, so they are looked at, and mended, without opening it.
//! What is replaced is kept beside, under a name that ends in `.damaged-…`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::salvage::{self, Rows};
use super::{Fault, Finding, Part};
use crate::Place;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result, io_error};
use crate::format;
use crate::owner::{Owner, Patience};
use crate::seal::{self, Bytes};
use crate::stage::unique_name;
use crate::state::State;

const DIRECTORIES: [(&str, &str); 2] = [
    ("content", "lapstrake-content"),
    ("state", "lapstrake-state"),
];

/// What is wrong with the foundations of the store at `root`.
///
/// # Errors
/// If there is no store, or it is of a format that this version doesn't know: that is no damage.
pub fn foundations(root: &Path) -> Result<Vec<Finding>> {
    if !DIRECTORIES.iter().any(|(dir, _)| root.join(dir).is_dir()) {
        return Err(Error::NoStore(root.to_owned()));
    }
    let mut findings = Vec::new();
    for (dir, name) in DIRECTORIES {
        let path = root.join(dir).join(format::FILE);
        let fault = match std::fs::read(&path) {
            Ok(bytes) => format::damage(&bytes, name).map(Fault::Damaged),
            Err(error) => Some(unreadable(&error)),
        };
        match fault {
            Some(fault) => findings.push(Finding::new(Part::Format(path), fault)),
            None => format::check_readable(root, &root.join(dir), name)?,
        }
    }
    let path = database(root);
    if let Some(fault) = database_fault(&path) {
        findings.push(Finding::new(Part::Database(path.clone()), fault));
    }
    findings.extend(seal_findings(&path));
    Ok(findings)
}

/// How a part of the foundations was mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mending {
    /// Which part.
    pub part: Part,
    /// What was done.
    pub done: String,
    /// Whether nothing was lost.
    pub is_exact: bool,
}

/// Puts sound foundations in the place of damaged ones. A database comes back from the copy that was
/// kept when it was last closed, if that is known to be what it was; else with those of its rows that
/// can be read.
///
/// # Errors
/// If the store has another owner, or the file system refuses.
pub fn mend_foundations(
    place: Place<'_>,
    patience: Option<Patience<'_>>,
    findings: &[Finding],
) -> Result<Vec<Mending>> {
    let state_dir = place.root.join("state");
    let disk = RealDisk;
    crate::disk::make_dirs_synced(&disk, &state_dir)?;
    let _owner = Owner::become_one(place.root, &state_dir, place.boot_id, patience)?;
    let db = database(place.root);
    let mut mendings = Vec::new();
    // The copy and its seal are of use only as long as they are there.
    let (first, last): (Vec<_>, Vec<_>) = findings
        .iter()
        .partition(|finding| finding.part == Part::Database(db.clone()));
    for finding in first.into_iter().chain(last) {
        let (done, is_exact) = match &finding.part {
            Part::Database(path) if *path == db => mend_database(&disk, place, path)?,
            Part::Database(path) => {
                let removed = disk.remove_file(path);
                if let Err(error) = removed
                    && error.kind() != io::ErrorKind::NotFound
                {
                    return Err(io_error("remove", path)(error));
                }
                ("it is made again when the store is closed".to_owned(), true)
            }
            Part::Format(path) => {
                set_aside(&disk, path)?;
                ("it was written anew".to_owned(), true)
            }
            _ => continue,
        };
        let part = finding.part.clone();
        mendings.push(Mending {
            part,
            done,
            is_exact,
        });
    }
    for (dir, name) in DIRECTORIES {
        let dir = place.root.join(dir);
        crate::disk::make_dirs_synced(&disk, &dir)?;
        format::ensure(&disk, &dir, name)?;
    }
    Ok(mendings)
}

fn mend_database(disk: &RealDisk, place: Place<'_>, db: &Path) -> Result<(String, bool)> {
    let seal = seal::read(db).unwrap_or(None);
    let is_gone = !db.exists();
    let copy_is_it = seal.as_ref().is_some_and(|seal| {
        seal.has_copy(db).unwrap_or(false) && (is_gone || seal.is_of(db).unwrap_or(false))
    });
    if copy_is_it && !is_gone && is_newer(db, &seal::kept(db)) {
        for path in [seal::path(db), seal::kept(db)] {
            disk.remove_file(&path).map_err(io_error("remove", &path))?;
        }
        let done = "it is newer than its seal, which a crash left behind: it stays".to_owned();
        return Ok((done, true));
    }
    let aside = set_aside(disk, db)?;
    if let Some(aside) = &aside {
        // Beside it under its name, they are still a part of it.
        for suffix in ["-wal", "-shm"] {
            let (from, to) = (with_suffix(db, suffix), with_suffix(aside, suffix));
            match disk.rename_new(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("move aside", &from)(error));
                }
                _ => {}
            }
        }
    }
    if copy_is_it {
        let step = || -> io::Result<()> {
            let new = db.with_added_extension(unique_name());
            let mut file = disk.create(&new)?;
            io::copy(&mut std::fs::File::open(seal::kept(db))?, &mut file)?;
            disk.sync_file(&file)?;
            disk.replace(&new, db)?;
            disk.sync_dir(db.parent().unwrap_or(Path::new("/")))
        };
        step().map_err(io_error("restore", db))?;
        let done = "it is again what it was when the store was last closed".to_owned();
        return Ok((done, true));
    }
    let mut state = State::open(Arc::new(*disk), db, place.boot_id, &|| Ok(true))?;
    let rows = match &aside {
        Some(old) => state.salvage(old)?,
        None => Rows { good: 0, bad: 0 },
    };
    // Content without a record may be what a lost record spoke of.
    state.keep_strays(true)?;
    let Rows { good, bad } = rows;
    let done = format!(
        "it was made anew with the {good} rows of the old one that can be read ({bad} can't, and more \
         may be missing): layers get records again, but names of images, where their layers came from \
         and writable layers may be lost or wrong; pulling an image again fetches no layer that is here"
    );
    Ok((done, false))
}

/// Whether a database is sound as far as it can be seen, and has commits on disk that its copy has not: a
/// file system that is lazy with times of change may lose that of a database that was written to.
fn is_newer(db: &Path, kept: &Path) -> bool {
    let ours = salvage::open(db).and_then(|db| salvage::syncs(&db));
    let copy = salvage::open_still(kept).and_then(|db| salvage::syncs(&db));
    let (Ok(None), Ok(ours), Ok(copy)) = (integrity(db), ours, copy) else {
        return false;
    };
    ours > copy
}

impl State {
    /// Takes over what can be read of another database.
    fn salvage(&mut self, from: &Path) -> Result<Rows> {
        let none = Rows { good: 0, bad: 1 };
        let Ok(old) = salvage::open(from) else {
            return Ok(none);
        };
        self.take_over(|new| salvage::copy(&old, new))
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.to_owned().into_os_string();
    path.push(suffix);
    path.into()
}

/// Moves a file to a name of its own beside it; that name, if it was there.
fn set_aside(disk: &dyn Disk, path: &Path) -> Result<Option<PathBuf>> {
    let aside = path.with_added_extension(format!("damaged-{}", unique_name()));
    match disk.rename_new(path, &aside) {
        Ok(_) => Ok(Some(aside)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("move aside", path)(error)),
    }
}

fn database(root: &Path) -> PathBuf {
    root.join("state").join("state.db")
}

fn unreadable(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unreadable(error.to_string()),
    }
}

fn database_fault(path: &Path) -> Option<Fault> {
    match std::fs::metadata(path) {
        Err(error) => return Some(unreadable(&error)),
        // It has nothing yet, as after a crash at its very beginning.
        Ok(metadata) if metadata.len() == 0 => {
            return Some(Fault::Damaged("it is empty".to_owned()));
        }
        Ok(_) => {}
    }
    match seal::compare(path) {
        Ok(Bytes::Damaged) => {
            let why = "its bytes are not those with which it was closed".to_owned();
            return Some(Fault::Damaged(why));
        }
        Ok(Bytes::Sealed) => return None,
        Ok(Bytes::Unknown) => {}
        Err(error) => return Some(Fault::Unreadable(error.to_string())),
    }
    match integrity(path) {
        Ok(None) => None,
        Ok(Some(why)) => Some(Fault::Damaged(why)),
        Err(error) => Some(Fault::Damaged(error.to_string())),
    }
}

/// What SQLite says of the whole file, and what its rows say.
fn integrity(path: &Path) -> rusqlite::Result<Option<String>> {
    let db = salvage::open(path)?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        return Ok(Some("it has no tables".to_owned()));
    }
    let said: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Ok(Some(said));
    }
    let Rows { bad, .. } = salvage::look(&db)?;
    Ok((bad > 0).then(|| format!("{bad} of its rows cannot be what was written")))
}

/// A copy that is damaged is of no use when it is needed.
fn seal_findings(db: &Path) -> Option<Finding> {
    let damaged = |path: PathBuf, why: &str| {
        let fault = Fault::Damaged(why.to_owned());
        Some(Finding::new(Part::Database(path), fault))
    };
    match seal::read(db) {
        Ok(None) => None,
        Err(error) => damaged(seal::path(db), &error.to_string()),
        Ok(Some(seal)) => match seal.has_copy(db) {
            Ok(true) => None,
            Ok(false) => damaged(seal::kept(db), "it is not the copy that its seal speaks of"),
            Err(error) => damaged(seal::kept(db), &error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use lapstrake_oci::{Algorithm, DiffId};

    use super::*;
    use crate::{HostId, Store};

    #[test]
    fn a_database_that_is_newer_than_its_seal_stays() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostId::from_hostname("h");
        let place = Place {
            root: dir.path(),
            host: &host,
            boot_id: "b",
        };
        let db = database(dir.path());
        drop(Store::open(dir.path(), &host, "b").unwrap());
        let seal = std::fs::read(seal::path(&db)).unwrap();
        let kept = std::fs::read(seal::kept(&db)).unwrap();
        let sealed_at = std::fs::metadata(&db).unwrap().modified().unwrap();
        assert_eq!(foundations(dir.path()).unwrap(), []);

        let store = Store::open(dir.path(), &host, "b").unwrap();
        let id = DiffId(Algorithm::Sha256.digest(b"x"));
        store.state().set_checked(&id, sealed_at).unwrap();
        store.state().set_proved([&id]).unwrap();
        drop(store);
        // As if the time of that change, and the new seal, had not reached the disk.
        let put = |path: &Path, bytes: &[u8]| {
            io::Write::write_all(&mut File::create(path).unwrap(), bytes).unwrap();
        };
        put(&seal::path(&db), &seal);
        put(&seal::kept(&db), &kept);
        let file = File::options().write(true).open(&db).unwrap();
        let times = FileTimes::new().set_modified(sealed_at);
        file.set_times(times).unwrap();
        drop(file);

        let refused = Store::open(dir.path(), &host, "b").unwrap_err();
        assert!(matches!(refused, Error::DamagedDatabase(_)), "{refused}");
        let found = foundations(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        let mended = mend_foundations(place, None, &found).unwrap();
        assert!(mended[0].is_exact && mended[0].done.contains("newer"));
        let store = Store::open(dir.path(), &host, "b").unwrap();
        assert!(store.state().checked(&id).unwrap().is_some());
        drop(store);
        let names = std::fs::read_dir(dir.path().join("state")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let litter: Vec<_> = names.filter(|name| name.contains("kept-")).collect();
        assert_eq!(litter, [""; 0]);
    }
}
