//! Where rooms stand, and how they appear and vanish in one step.
//!
//! ```text
//! <rooms>/<id>/          a room: what its driver keeps, or its image (see `image`)
//! <rooms>/.new/<n>/room  being made; `<n>` is locked by its maker
//! <rooms>/.pool/<n>/     made for a name that nobody has asked for yet
//! <rooms>/.trash/<n>/    being freed
//! <rooms>/.lock          held while a number is taken
//! ```
//!
//! A room is made in `.new` and appears by rename; it is removed by rename to `.trash` and freed
//! from there. So a crash leaves nothing half-made under a name, and what it leaves elsewhere is
//! found: stages that nobody locks, and trash.
//!
//! Whoever changes a room (mounts, resizes, removes it) locks its directory, `flock` on the
//! directory itself; the lock of a directory that was renamed meanwhile is worth nothing, so the
//! name is looked up again under the lock.

use std::fs::{DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use lapstrake_sys::dir;
use lapstrake_sys::publish::{self, Published};
use rustix::fs::{FlockOperation, flock};

use super::error::io;
use super::{Error, Result, RoomId};

const NEW: &str = ".new";
const POOL: &str = ".pool";
const TRASH: &str = ".trash";

/// The directory of all rooms.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    rooms: PathBuf,
}

impl Shelf {
    /// Makes what is not there.
    pub(super) fn open(rooms: &Path) -> Result<Self> {
        for dir in [NEW, POOL, TRASH] {
            make_dirs(&rooms.join(dir))?;
        }
        Ok(Self {
            rooms: rooms.to_owned(),
        })
    }

    pub(super) fn rooms(&self) -> &Path {
        &self.rooms
    }

    pub(super) fn path(&self, id: &RoomId) -> PathBuf {
        self.rooms.join(id)
    }

    pub(super) fn pool(&self) -> PathBuf {
        self.rooms.join(POOL)
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.rooms.join(TRASH)
    }

    /// Names of all rooms.
    pub(super) fn ids(&self) -> Result<Vec<RoomId>> {
        let mut ids = Vec::new();
        for name in names(&self.rooms)? {
            if let Some(Ok(id)) = name.to_str().map(str::parse) {
                ids.push(id);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// Waits until no other process takes numbers.
    pub(super) fn lock(&self) -> Result<Locked> {
        Locked::wait_for(&self.rooms.join(".lock"))
    }

    /// A place to make a room in.
    pub(super) fn stage(&self) -> Result<Stage> {
        let _locked = self.lock()?;
        let dir = self.rooms.join(NEW);
        let path = first_free(|n| {
            let path = dir.join(n.to_string());
            match make_dir(&path) {
                Ok(()) => Ok(Some(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(None),
                Err(error) => Err(io("create directory", path)(error)),
            }
        })?;
        let held = Held::of(path)?;
        Ok(Stage { held })
    }

    /// The room `id`, for this holder alone.
    pub(super) fn hold(&self, id: &RoomId) -> Result<Held> {
        match Held::of(self.path(id)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(Error::Missing(id.clone()))
            }
            other => other,
        }
    }

    /// Gives a complete room its name.
    pub(super) fn publish(&self, room: &Path, id: &RoomId) -> Result<()> {
        let path = self.path(id);
        match publish::rename_new(room, &path).map_err(io("rename to", &path))? {
            Published::New => Ok(()),
            Published::Existed => Err(Error::Exists(id.clone())),
        }
    }

    /// Keeps a complete room for later.
    pub(super) fn store_in_pool(&self, room: &Path) -> Result<PathBuf> {
        move_into(room, &self.pool())
    }

    /// Takes a room (or what is left of one) out of sight; returns where it is now.
    pub(super) fn discard(&self, room: &Path) -> Result<PathBuf> {
        move_into(room, &self.trash())
    }

    /// Moves stages whose makers are gone to the trash. Says whether there is anything to free.
    pub(super) fn sweep(&self) -> Result<bool> {
        let dir = self.rooms.join(NEW);
        let stale = names(&dir)?;
        if !stale.is_empty() {
            let _locked = self.lock()?;
            for name in stale {
                let path = dir.join(name);
                if let Some(held) = Held::try_of(&path)? {
                    self.discard(&path)?;
                    drop(held);
                }
            }
        }
        Ok(!names(&self.trash())?.is_empty())
    }
}

/// A locked file: while this lives, no other process does what the lock is for.
#[derive(Debug)]
pub(super) struct Locked {
    file: File,
}

impl Locked {
    /// Waits for the lock of the file at `path`, which is made if it is not there.
    pub(super) fn wait_for(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(io("open", path))?;
        file.lock().map_err(io("lock", path))?;
        Ok(Self { file })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing is not enough: a thread with a descriptor table of its own may have a copy.
        drop(self.file.unlock());
    }
}

/// A directory that this holder has for itself.
#[derive(Debug)]
pub(super) struct Held {
    path: PathBuf,
    dir: File,
}

impl Held {
    /// Waits for it.
    pub(super) fn of(path: PathBuf) -> Result<Self> {
        loop {
            let dir = File::open(&path).map_err(io("open", &path))?;
            flock(&dir, FlockOperation::LockExclusive).map_err(io("lock", &path))?;
            if is_at(&dir, &path)? {
                return Ok(Self { path, dir });
            }
        }
    }

    /// `None` if somebody else has it, or it is gone.
    pub(super) fn try_of(path: &Path) -> Result<Option<Self>> {
        let dir = match File::open(path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("open", path)(error)),
        };
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(&dir, path)? => Ok(Some(Self {
                path: path.to_owned(),
                dir,
            })),
            Ok(()) | Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(io("lock", path)(errno)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn inode(&self) -> Result<u64> {
        let metadata = self.dir.metadata().map_err(io("stat", &self.path))?;
        Ok(metadata.ino())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // As for `Locked`.
        drop(self.dir.unlock());
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Whether the open directory still has its name.
fn is_at(dir: &File, path: &Path) -> Result<bool> {
    let ours = dir.metadata().map_err(io("stat", path))?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io("stat", path)(error)),
    }
}

/// A place in `.new`. Dropped, it goes with what is in it, if that can be had cheaply; otherwise
/// the next sweep finds it.
#[derive(Debug)]
pub(super) struct Stage {
    held: Held,
}

impl Stage {
    /// Where the room is to be made.
    pub(super) fn room(&self) -> PathBuf {
        self.held.path().join("room")
    }

    /// The directory that the room is made in.
    pub(super) fn dir(&self) -> &Held {
        &self.held
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Empty after the room was published. Otherwise whoever opens the shelf next sweeps it.
        drop(std::fs::remove_dir(self.held.path()));
    }
}

fn move_into(room: &Path, dir: &Path) -> Result<PathBuf> {
    first_free(|n| {
        let path = dir.join(n.to_string());
        match publish::rename_new(room, &path).map_err(io("rename to", &path))? {
            Published::New => Ok(Some(path)),
            Published::Existed => Ok(None),
        }
    })
}

/// Numbers begin with this process' id, so that those of several rarely meet.
fn first_free(mut take: impl FnMut(u64) -> Result<Option<PathBuf>>) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = (u64::from(std::process::id()) << 32) + number;
        if let Some(path) = take(number)? {
            return Ok(path);
        }
    }
}

fn make_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes a directory of ours and those above it.
pub(super) fn make_dirs(path: &Path) -> Result<()> {
    dir::make_private(path).map_err(io("create directory", path))
}

/// Names in a directory; none if it is not there.
pub(super) fn names(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    dir::names(path).map_err(io("list", path))
}
