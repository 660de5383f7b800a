//! Where a driver keeps what it realised: trees that appear whole, or not at all.
//!
//! ```text
//! <home>/staging/<pid>-<n>/   being made, or being removed; locked by whoever does that
//! ```
//!
//! A tree is made below `staging`, everything in it is synced with one `syncfs`, and one rename gives
//! it its name; it is removed by a rename the other way. A crash leaves only unlocked directories
//! below `staging`, which the next opening removes.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lapstrake_snapshot::{Result, io, std_io};
use lapstrake_sys::{dir, publish};

/// A driver's directory.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    path: PathBuf,
}

/// A directory below `staging`. What is left of it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
    /// Keeps others' sweeps away.
    _lock: File,
}

impl Home {
    /// Opens the directory, making it if it is not there, and removes what crashes left.
    pub(crate) fn open(path: PathBuf) -> Result<Self> {
        let home = Self { path };
        make_dirs(&home.staging())?;
        home.sweep()?;
        Ok(home)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn staging(&self) -> PathBuf {
        self.path.join("staging")
    }

    /// An empty directory to work in.
    pub(crate) fn stage(&self) -> Result<Staged> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let staging = self.staging();
        // Whoever sweeps has this lock for itself, so it never sees a directory that is not locked yet.
        let dir = File::open(&staging).map_err(std_io("open", &staging))?;
        dir.lock_shared().map_err(std_io("lock", &staging))?;
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = staging.join(format!("{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                // Of a process before the last boot; no sweep came yet.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(std_io("create directory", path)(error)),
            }
            let lock = File::open(&path).map_err(std_io("open", &path))?;
            lock.lock_shared().map_err(std_io("lock", &path))?;
            return Ok(Staged { path, _lock: lock });
        }
    }

    /// Gives what was made at `from`, below a stage, its name below the home. When another process was
    /// first, theirs stays. Either way it is on disk when this returns.
    pub(crate) fn publish(&self, from: &Path, name: &Path) -> Result<()> {
        let to = self.path.join(name);
        let dir = File::open(from).map_err(std_io("open", from))?;
        rustix::fs::syncfs(&dir).map_err(io("sync the file system of", from))?;
        publish::rename_new(from, &to).map_err(std_io("rename to", &to))?;
        self.sync_parent(&to)
    }

    /// Removes a name below the home and all that it names. Nothing to remove is success.
    pub(crate) fn remove(&self, name: &Path) -> Result<()> {
        let from = self.path.join(name);
        if !from.exists() {
            return Ok(());
        }
        let stage = self.stage()?;
        match publish::rename_new(&from, &stage.path().join("removed")) {
            Ok(_) => {}
            // Another process was first.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(std_io("move aside", from)(error)),
        }
        self.sync_parent(&from)?;
        stage.remove()
    }

    fn sync_parent(&self, path: &Path) -> Result<()> {
        let parent = path.parent().unwrap_or(&self.path);
        publish::sync_dir(parent).map_err(std_io("sync", parent))
    }

    fn sweep(&self) -> Result<()> {
        let staging = self.staging();
        let dir = File::open(&staging).map_err(std_io("open", &staging))?;
        if dir.try_lock().is_err() {
            // Somebody begins a stage, or sweeps; the next opening will find what is left.
            return Ok(());
        }
        for entry in std::fs::read_dir(&staging).map_err(std_io("list", &staging))? {
            let path = entry.map_err(std_io("list", &staging))?.path();
            let stage = match File::open(&path) {
                Ok(stage) => stage,
                // Its maker removed it meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(std_io("open", path)(error)),
            };
            if stage.try_lock().is_ok() {
                remove_all(&path)?;
            }
        }
        Ok(())
    }
}

impl Staged {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it and what is in it.
    pub(crate) fn remove(self) -> Result<()> {
        remove_all(&self.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays is swept when the driver is opened again.
        drop(std::fs::remove_dir_all(&self.path));
    }
}

fn remove_all(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(std_io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory and those above it, for root alone.
pub(crate) fn make_dirs(path: &Path) -> Result<()> {
    dir::make_private(path).map_err(std_io("create directory", path))
}

/// Names in a directory; none if it is not there.
pub(crate) fn names(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    dir::names(path).map_err(std_io("list", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(dir: &Path) -> Home {
        Home::open(dir.join("home")).unwrap()
    }

    #[test]
    fn the_next_opening_removes_what_a_crash_left_but_not_what_is_being_made() {
        let dir = tempfile::tempdir().unwrap();
        let first = home(dir.path());
        let stage = first.stage().unwrap();
        let crashed = first.staging().join("1-0");
        std::fs::create_dir_all(crashed.join("diff/a")).unwrap();
        home(dir.path());
        assert!(stage.path().is_dir() && !crashed.exists());
        drop(stage);
        assert_eq!(names(&first.staging()).unwrap().len(), 0);
    }

    #[test]
    fn a_tree_appears_whole_and_the_first_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        for contents in ["first", "second"] {
            let stage = home.stage().unwrap();
            let tree = stage.path().join("tree");
            std::fs::create_dir(&tree).unwrap();
            std::fs::File::create(tree.join(contents)).unwrap();
            home.publish(&tree, Path::new("name")).unwrap();
        }
        assert_eq!(names(&home.path().join("name")).unwrap(), ["first"]);
        home.remove(Path::new("name")).unwrap();
        home.remove(Path::new("name")).unwrap();
        assert_eq!(names(home.path()).unwrap(), ["staging"]);
        assert_eq!(names(&home.staging()).unwrap().len(), 0);
    }
}
