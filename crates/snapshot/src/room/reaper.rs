//! Freeing what is in the trash, in a thread of its own.
//!
//! Nothing waits for it but [`Reaper::settle`]. A process that ends leaves the rest to whoever
//! opens the rooms next.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lapstrake_sys::{btrfs, descent, quota};

use super::backing::Filesystem;
use super::error::io;
use super::image::Seats;
use super::shelf::{Shelf, names};
use super::{Error, Result, subvolume};

/// Frees the trash.
#[derive(Debug, Clone)]
pub(super) struct Reaper {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    shelf: Shelf,
    trash: PathBuf,
    seats: Seats,
    filesystem: Filesystem,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Something came in after the thread looked last.
    more: bool,
    /// Why the last room could not be freed.
    failed: Option<Error>,
    /// Quota groups of subvolumes that the kernel still frees.
    groups: Vec<u64>,
}

impl Reaper {
    pub(super) fn new(shelf: Shelf, seats: Seats, filesystem: Filesystem) -> Self {
        Self {
            shared: Arc::new(Shared {
                trash: shelf.trash(),
                shelf,
                seats,
                filesystem,
                state: Mutex::default(),
                idle: Condvar::new(),
            }),
        }
    }

    /// Frees what is there now, soon.
    pub(super) fn wake(&self) -> Result<()> {
        let mut state = self.shared.lock();
        state.more = true;
        if state.running {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("room-reaper".to_owned());
        let spawned = thread.spawn(move || shared.run());
        drop(spawned.map_err(io("start a thread to empty", &self.shared.trash))?);
        state.running = true;
        Ok(())
    }

    /// Waits until nothing is left to free, and tells why if something could not be.
    pub(super) fn settle(&self) -> Result<()> {
        let state = self.shared.lock();
        let mut state = self
            .shared
            .idle
            .wait_while(state, |state| state.running)
            .unwrap_or_else(PoisonError::into_inner);
        state.failed.take().map_or(Ok(()), Err)
    }
}

/// The name under which an image in the trash is mounted, until it is freed.
pub(super) fn trash_seat(trashed: &Path) -> String {
    let name = trashed.file_name().unwrap_or_default().to_string_lossy();
    format!(".trash-{name}")
}

impl Shared {
    /// Nothing that panics runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut state = self.lock();
            if !state.more {
                state.running = false;
                self.idle.notify_all();
                return;
            }
            state.more = false;
            drop(state);
            if let Err(error) = self.empty() {
                self.lock().failed = Some(error);
            }
        }
    }

    fn empty(&self) -> Result<()> {
        let dir = File::open(&self.trash).map_err(io("open", &self.trash))?;
        let mut failed = None;
        let trashed = names(&self.trash)?;
        // Whoever put something there may still be moving its mount.
        drop(self.shelf.lock()?);
        for name in trashed {
            // One that cannot be freed does not keep the others.
            failed = self.free(&dir, &name).err().or(failed);
        }
        self.forget_groups(&dir)?;
        failed.map_or(Ok(()), Err)
    }

    /// Removes the quota groups of deleted subvolumes, as far as the kernel has freed those.
    fn forget_groups(&self, dir: &File) -> Result<()> {
        let groups = std::mem::take(&mut self.lock().groups);
        if groups.is_empty() {
            return Ok(());
        }
        btrfs::sync(dir.as_fd()).map_err(io("sync", &self.trash))?;
        for group in groups {
            if !subvolume::forget(dir.as_fd(), group, &self.trash)? {
                self.lock().groups.push(group);
            }
        }
        Ok(())
    }

    /// Frees a room, or a stage with a room in it.
    fn free(&self, trash: &File, name: &OsStr) -> Result<()> {
        let path = self.trash.join(name);
        self.seats.clear(&trash_seat(&path))?;
        let staged = path.join("room");
        if staged.is_dir() {
            let stage = File::open(&path).map_err(io("open", &path))?;
            self.free_room(&stage, OsStr::new("room"), &staged)?;
        }
        self.free_room(trash, name, &path)
    }

    fn free_room(&self, parent: &File, name: &OsStr, path: &Path) -> Result<()> {
        let room = match File::open(path) {
            Ok(room) => room,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io("open", path)(error)),
        };
        match self.filesystem {
            Filesystem::Btrfs => {
                let inode = room.metadata().map_err(io("stat", path))?.ino();
                if btrfs::is_subvolume_root(inode)
                    && let Some(group) = subvolume::delete(parent.as_fd(), name, path)?
                {
                    self.lock().groups.push(group);
                    return Ok(());
                }
            }
            Filesystem::Projects => {
                let project =
                    quota::project(room.as_fd()).map_err(io("ask for the project of", path))?;
                // First, so that a crash leaves no limit on a number whose room is gone.
                if project != 0 {
                    quota::set_limits(room.as_fd(), project, None, None)
                        .map_err(io("forget the limit of", path))?;
                }
            }
            Filesystem::Other => {}
        }
        // However deep whoever filled it nested directories, and nothing of what is mounted in it.
        descent::clear(room.into()).map_err(io("empty", path))?;
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
            _ => Ok(()),
        }
    }
}
