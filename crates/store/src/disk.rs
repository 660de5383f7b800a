//! The disk as the store sees it: the few steps that make bytes visible or durable.
//!
//! Every such step of the store goes through a [`Disk`], so that a test can stop after each of
//! them and lose what a file system may lose. Writing into a file that is open is not a step: until it is
//! synced, any part of it may be lost. Nor is an unnamed file's creation: nobody sees it.
//!
//! What a step promises: those that change names ([`Disk::publish`], [`Disk::rename_new`],
//! [`Disk::replace`] and the makers and removers) are seen by everybody when they return, but a
//! crash may take them back, in any order, until [`Disk::sync_dir`] returned for the directories that
//! they change. A file's bytes and length are safe when [`Disk::sync_file`] returned, its name is
//! not. Nothing is tried twice: after a failed sync the bytes may be gone whatever a second one says.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::path::Path;

use lapstrake_sys::publish::{self, Published, StagedFile};

use crate::error::{Result, io_error};

/// Whether a commit of a database waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// A crash may take it back, with all commits after it.
    Lazy,
    /// It is on disk when it returns, with all commits before it.
    Synced,
}

/// The steps that make bytes visible or durable.
pub trait Disk: Debug + Send + Sync {
    /// Makes a directory, in one that is there.
    ///
    /// # Errors
    /// Whatever the file system answers; that it exists, too.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file that was not there, to be written.
    ///
    /// # Errors
    /// Whatever the file system answers; that it exists, too.
    fn create(&self, path: &Path) -> io::Result<File>;

    /// Gives a staged file its name, or drops it if that name is taken.
    ///
    /// # Errors
    /// Whatever the file system answers, other than that the name exists.
    fn publish(&self, staged: StagedFile, name: &Path) -> io::Result<Published>;

    /// Moves a directory or a file to its name, unless that name is taken.
    ///
    /// # Errors
    /// Whatever the file system answers, other than that the name exists.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<Published>;

    /// Replaces the file `to` with the file `from` in one step.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Waits until a file's bytes and length are on disk.
    ///
    /// # Errors
    /// If they may not be: the file is then to be doubted.
    fn sync_file(&self, file: &File) -> io::Result<()>;

    /// Waits until a directory's entries are on disk.
    ///
    /// # Errors
    /// If they may not be.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Learns that the database at `path` has committed. The database does its own writing; this tells
    /// a test where it can stop.
    ///
    /// # Errors
    /// Only in tests, for a crash after the commit.
    fn committed(&self, path: &Path, commit: Commit) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    fn publish(&self, staged: StagedFile, name: &Path) -> io::Result<Published> {
        staged.publish(name)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<Published> {
        publish::rename_new(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        publish::replace(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        publish::sync_file(file)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        publish::sync_dir(path)
    }

    fn committed(&self, _path: &Path, _commit: Commit) -> io::Result<()> {
        Ok(())
    }
}

/// The disk of a process that may only read: every step is refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadOnlyDisk;

impl ReadOnlyDisk {
    fn refuse<T>() -> io::Result<T> {
        let why = "the store was opened to be read only";
        Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, why))
    }
}

impl Disk for ReadOnlyDisk {
    fn make_dir(&self, _path: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn create(&self, _path: &Path) -> io::Result<File> {
        Self::refuse()
    }

    fn publish(&self, _staged: StagedFile, _name: &Path) -> io::Result<Published> {
        Self::refuse()
    }

    fn rename_new(&self, _from: &Path, _to: &Path) -> io::Result<Published> {
        Self::refuse()
    }

    fn replace(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn sync_file(&self, _file: &File) -> io::Result<()> {
        Self::refuse()
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Self::refuse()
    }

    fn committed(&self, _path: &Path, _commit: Commit) -> io::Result<()> {
        Self::refuse()
    }
}

/// Makes a directory and those above it, without waiting for the disk.
pub(crate) fn make_dirs(disk: &dyn Disk, path: &Path) -> Result<()> {
    make_missing(disk, path, &mut |_parent| Ok(()))
}

/// Makes a directory and those above it, and waits until every new one's name is on disk.
pub(crate) fn make_dirs_synced(disk: &dyn Disk, path: &Path) -> Result<()> {
    make_missing(disk, path, &mut |parent| {
        disk.sync_dir(parent).map_err(io_error("sync", parent))
    })
}

fn make_missing(
    disk: &dyn Disk,
    path: &Path,
    made: &mut dyn FnMut(&Path) -> Result<()>,
) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_missing(disk, parent, made)?;
    }
    match disk.make_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(io_error("create the directory", path)(error))
        }
        // Somebody else made it at the same moment, and may not have synced it yet.
        _ => made(parent.unwrap_or(Path::new("."))),
    }
}

/// Removes a file, or a directory with all that it holds. What isn't there is removed already.
pub(crate) fn remove_tree(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_file) => return gone(disk.remove_file(path)),
        Err(error) => return gone(Err(error)),
    }
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return gone(Err(error)),
    };
    for entry in entries {
        remove_tree(disk, &entry?.path())?;
    }
    gone(disk.remove_dir(path))
}
