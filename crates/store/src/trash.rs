//! Trash: where removed content goes by one rename, to be unlinked when nobody waits.
//!
//! What lies here has no record any more and nobody will look for it, so a crash in the middle of
//! emptying it costs nothing: the next owner goes on.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapstrake_sys::publish::Published;

use crate::disk::{Disk, remove_tree};
use crate::error::{Error, Result, io_error};
use crate::stage::unique_name;

/// The trash of a content directory.
#[derive(Debug, Clone)]
pub(crate) struct Trash {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Trash {
    pub(crate) fn at(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// Moves a file or a directory here; whether it was there. On a disk that is too full to move anything it is
    /// removed where it is, which a crash may interrupt: it has no record any more, and is found without one.
    pub(crate) fn take(&self, from: &Path) -> Result<bool> {
        match move_aside(&*self.disk, from, &self.dir) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::StorageFull => {
                remove_tree(&*self.disk, from).map_err(io_error("remove", from))?;
                Ok(true)
            }
            moved => Ok(moved?.is_some()),
        }
    }

    /// Removes what is here for good, one entry after the other, until `stop` says so. Several
    /// threads may do this at once. Returns whether all is gone.
    pub(crate) fn empty(&self, stop: &dyn Fn() -> bool) -> Result<bool> {
        for name in crate::content::names(&self.dir)? {
            if stop() {
                return Ok(false);
            }
            let path = self.dir.join(name);
            remove_tree(&*self.disk, &path).map_err(io_error("remove", &path))?;
        }
        Ok(true)
    }

    pub(crate) fn is_empty(&self) -> Result<bool> {
        Ok(crate::content::names(&self.dir)?.is_empty())
    }
}

/// Moves a file or a directory into `dir`, under a name that nothing there has; `None` if it was
/// not there.
pub(crate) fn move_aside(disk: &dyn Disk, from: &Path, dir: &Path) -> Result<Option<PathBuf>> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    loop {
        let to = dir.join(format!("{name}-{}", unique_name()));
        match disk.rename_new(from, &to) {
            Ok(Published::New) => return Ok(Some(to)),
            // Somebody else's, whatever it is.
            Ok(Published::Existed) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("move aside", from)(error)),
        }
    }
}
