//! Filling an empty volume with what the image has where it is mounted.
//!
//! That a volume is being filled is on disk before the first file is, and that it is filled only after the last
//! one is. Whoever attaches a volume that a crash left half-filled finds it empty again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lapstrake_container::copy_up;
use lapstrake_store::Commit;
use rustix::fs::{Mode, OFlags};

use super::error::{Error, Result, io_error};
use super::record::Record;
use super::table::Volume;
use super::{Inner, Volumes, part};

impl Volumes {
    /// Copies what a root has at `destination` into a volume, or a directory in it, if that is there and empty.
    /// Whether there was something to copy, and it was. `user` has the volume attached, or gets it attached for the while.
    ///
    /// # Errors
    /// If the volume is not there, or something can't be copied: it is then empty again when it is
    /// attached next.
    pub fn fill(
        &self,
        name: &str,
        subpath: Option<&str>,
        user: &str,
        root: &Path,
        destination: &Path,
    ) -> Result<bool> {
        let Some(content) = copy_up::content_at(root, destination)? else {
            return Ok(false);
        };
        let volume = self.inner.find(name)?;
        let mut held = volume.change();
        let was_attached = held.attached.contains(user);
        let path = self.inner.attach(&volume, &mut held, user)?;
        let shared = held.attached.len() > 1;
        let filled = self.inner.fill(&volume, &path, subpath, &content, shared);
        if !was_attached {
            let detached = self.inner.detach(&volume, &mut held, user);
            return filled.and_then(|filled| detached.map(|()| filled));
        }
        filled
    }
}

impl Inner {
    fn fill(
        &self,
        volume: &Volume,
        path: &Path,
        subpath: Option<&str>,
        content: &OwnedFd,
        shared: bool,
    ) -> Result<bool> {
        let subpath = subpath.unwrap_or(".");
        let target = match target(path, subpath, &volume.name) {
            // Whoever starts the container is told.
            Err(Error::Subpath { .. }) => return Ok(false),
            target => target?,
        };
        if !copy_up::is_empty(target.as_fd())? {
            return Ok(false);
        }
        // Owner and mode alone take no half; and what others may write meanwhile is never to be emptied.
        if shared || copy_up::is_empty(content.as_fd())? {
            copy_up::copy(content.as_fd(), target.as_fd())?;
            return Ok(true);
        }
        let filling = Some(subpath.to_owned());
        self.change(volume, Commit::Synced, |record| record.filling = filling)?;
        copy_up::copy(content.as_fd(), target.as_fd())?;
        rustix::fs::syncfs(&target).map_err(|errno| io_error("sync", path)(errno.into()))?;
        self.change(volume, Commit::Synced, |record| record.filling = None)?;
        Ok(true)
    }

    /// Empties a volume, or what of it, that was being filled when a crash came.
    pub(super) fn empty_half_filled(
        &self,
        volume: &Volume,
        record: &Record,
        path: &Path,
    ) -> Result<()> {
        let Some(subpath) = &record.filling else {
            return Ok(());
        };
        let target = target(path, subpath, &volume.name)?;
        copy_up::clear(target.as_fd())?;
        self.change(volume, Commit::Synced, |record| record.filling = None)
    }
}

/// Opens the directory of a volume that is filled.
fn target(path: &Path, subpath: &str, name: &str) -> Result<OwnedFd> {
    let found = part::find(path, subpath, &format!("volume {name}"))?;
    open_dir(found.as_fd()).map_err(|errno| io_error("open", path)(errno.into()))
}

fn open_dir(dir: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, ".", flags, Mode::empty())
}
