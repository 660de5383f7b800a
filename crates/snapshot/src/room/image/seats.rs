//! Where images are mounted.
//!
//! `<run>` is a tmpfs of our own, private so that a thousand rooms are not propagated into every
//! mount namespace of the host. Namespaces made meanwhile have copies; removing a mount's directory
//! removes those too. In another namespace than the first, there is another tmpfs. It goes with the
//! last directory in it; `<run>.lock` is held while one is made, and while it goes.

use std::path::{Path, PathBuf};

use lapstrake_sys::mount::{self, Unmount};
use rustix::fs::CWD;
use rustix::io::Errno;

use crate::room::error::io;
use crate::room::shelf::{Locked, make_dirs, names};
use crate::room::{Error, Result};

/// The directory of mounts.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    run: PathBuf,
}

impl Seats {
    pub(crate) fn at(run: &Path) -> Self {
        Self {
            run: run.to_owned(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The directory for a mount, made if it is not there.
    pub(super) fn make(&self, name: &str) -> Result<PathBuf> {
        let _locked = self.lock()?;
        self.open()?;
        let path = self.path(name);
        make_dirs(&path)?;
        Ok(path)
    }

    fn open(&self) -> Result<()> {
        make_dirs(&self.run)?;
        if is_mount(&self.run)? {
            return Ok(());
        }
        let named = |source| Error::Mount {
            path: self.run.clone(),
            source,
        };
        mount::private_tmpfs(&self.run).map_err(named)
    }

    /// While this lives, no directory is made here, and the tmpfs stays as it is.
    fn lock(&self) -> Result<Locked> {
        let path = self.run.with_added_extension("lock");
        if let Some(parent) = path.parent() {
            make_dirs(parent)?;
        }
        Locked::wait_for(&path)
    }

    /// Unmounts the tmpfs if nothing is in it.
    pub(crate) fn close_if_idle(&self) -> Result<()> {
        if !is_mount(&self.run)? {
            return Ok(());
        }
        let _locked = self.lock()?;
        if !is_mount(&self.run)? || !names(&self.run)?.is_empty() {
            return Ok(());
        }
        mount::unmount(&self.run, Unmount::Lazy).map_err(|source| Error::Mount {
            path: self.run.clone(),
            source,
        })
    }

    pub(crate) fn is_taken(&self, name: &str) -> Result<bool> {
        is_mount(&self.path(name))
    }

    /// Moves a mount to another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.path(from), self.make(to)?);
        mount::move_mount(&from, &to).map_err(|source| Error::Mount { path: to, source })?;
        std::fs::remove_dir(&from).map_err(io("remove", &from))
    }

    /// Unmounts, if there is something; in every namespace.
    pub(crate) fn clear(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if is_mount(&path)? {
            // Lazily: whoever looks around in it (a backup, a shell) goes on.
            match mount::unmount(&path, Unmount::Lazy) {
                Ok(()) => {}
                // Another process was faster.
                Err(error) if matches!(error.errno(), Errno::INVAL | Errno::NOENT) => {}
                Err(source) => return Err(Error::Mount { path, source }),
            }
        }
        match std::fs::remove_dir(&path) {
            Ok(()) => self.close_if_idle(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io("remove", &path)(error)),
        }
    }

    /// Unmounts only what nothing looks into. `false` if something does.
    pub(crate) fn clear_if_idle(&self, name: &str) -> Result<bool> {
        let path = self.path(name);
        if is_mount(&path)? {
            match mount::unmount(&path, Unmount::IfIdle) {
                Ok(()) => {}
                Err(error) if error.errno() == Errno::BUSY => return Ok(false),
                Err(source) => return Err(Error::Mount { path, source }),
            }
        }
        self.clear(name).map(|()| true)
    }

    /// Names of all directories for mounts, in use or not.
    pub(crate) fn names(&self) -> Result<Vec<std::ffi::OsString>> {
        names(&self.run)
    }
}

fn is_mount(path: &Path) -> Result<bool> {
    match mount::is_mount_root(CWD, path) {
        Ok(is) => Ok(is),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(io("stat", path)(errno)),
    }
}
