//! What a store stands on: the files that say what its directories are, and its database.
//!
//! With these damaged a store can't be opened, so they are looked at, and mended, without opening it.
//! What is replaced is kept beside, under a name that ends in `.damaged-…`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{Fault, Finding, Part};
use crate::Place;
use crate::disk::{Disk, RealDisk};
use crate::error::{Error, Result, io_error};
use crate::format;
use crate::owner::{Owner, Patience};
use crate::stage::unique_name;

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
        findings.push(Finding::new(Part::Database(path), fault));
    }
    Ok(findings)
}

/// Puts new foundations in the place of damaged ones. The new database is empty: records have to be
/// made again from content, and names are lost.
///
/// # Errors
/// If the store has another owner, or the file system refuses.
pub fn mend_foundations(
    place: Place<'_>,
    patience: Option<Patience<'_>>,
    findings: &[Finding],
) -> Result<()> {
    let state_dir = place.root.join("state");
    let disk = RealDisk;
    crate::disk::make_dirs_synced(&disk, &state_dir)?;
    let _owner = Owner::become_one(place.root, &state_dir, place.boot_id, patience)?;
    for finding in findings {
        match &finding.part {
            Part::Format(path) => set_aside(&disk, path)?,
            Part::Database(path) => {
                for suffix in ["", "-wal", "-shm"] {
                    let mut file = path.clone().into_os_string();
                    file.push(suffix);
                    set_aside(&disk, Path::new(&file))?;
                }
            }
            _ => {}
        }
    }
    for (dir, name) in DIRECTORIES {
        let dir = place.root.join(dir);
        crate::disk::make_dirs_synced(&disk, &dir)?;
        format::ensure(&disk, &dir, name)?;
    }
    Ok(())
}

/// Moves a file to a name of its own beside it.
fn set_aside(disk: &dyn Disk, path: &Path) -> Result<()> {
    let mut aside = path.to_owned().into_os_string();
    aside.push(format!(".damaged-{}", unique_name()));
    match disk.rename_new(path, Path::new(&aside)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
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
    if let Err(error) = File::open(path) {
        return Some(unreadable(&error));
    }
    match integrity(path) {
        Ok(said) if said == "ok" => None,
        Ok(said) => Some(Fault::Damaged(said)),
        Err(error) => Some(Fault::Damaged(error.to_string())),
    }
}

/// What SQLite says of the whole file.
fn integrity(path: &Path) -> rusqlite::Result<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(30))?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        return Ok("it has no tables".to_owned());
    }
    db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
}
