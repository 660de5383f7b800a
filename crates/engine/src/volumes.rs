//! Volumes: directories that outlive the containers that use them.
//!
//! ```text
//! state.db                       a record each: options, labels, when it was made   on disk before an answer
//! state/volumes/<name>/_data     what is in it: the name is a room's, so that it may have a limit
//! <run>/volume-rooms/<name>/     where the room of one with a limit is mounted, if that takes an image file
//! <run>/volumes/<name>/          where one is mounted whose options name a file system, while it is used
//! <run>/volume-parts/<n>/        a directory in a volume, held so that nobody can swap it
//! ```
//!
//! The record is written before the room is made. Before the room is taken away, the record says so. So a
//! crash leaves nothing that [`Volumes::open`] can't finish: a record without a room gets one, one that was being
//! removed is removed, and a room without any record is what a lost database forgot, and gets a record.
//!
//! Which container uses which volume is not kept here: containers' records say so, and callers tell. What is kept,
//! in memory, is who has a volume *attached* now, and who is about to use it ([`Claim`]).
//!
//! Each volume has a lock of its own that is held while it is mounted, made or taken away, which may take
//! minutes if a server does not answer. No other lock is held meanwhile: other volumes, lists and sizes go on.

mod attach;
mod claim;
mod count;
#[cfg(test)]
mod crash;
mod create;
mod details;
mod error;
mod fill;
mod image;
mod network;
mod options;
mod part;
mod prune;
mod record;
mod remove;
mod sweep;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lapstrake_snapshot::room::{self, Policy, Reserve, RoomId, Rooms};
use lapstrake_store::{Commit, Store, VolumeRecord};

use crate::{Engine, writable};

pub use claim::Claim;
pub use count::VolumeSize;
pub use create::NewVolume;
pub use details::VolumeDetails;
pub use error::{Class as VolumeErrorClass, Error as VolumeError};
pub use image::AttachedImage;
pub use prune::{PruneVolumes, PrunedVolumes};
pub use sweep::SettledVolumes;

pub(crate) use details::is_anonymous;

use claim::Claims;
use error::{Error, Result, io_error};
use record::Record;
use table::{Table, Volume};

/// Docker's label on volumes that were given no name.
pub const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// Who uses a volume: ids of containers, whatever state they are in.
pub type UsersOf<'a> = dyn Fn(&str) -> Vec<String> + 'a;

/// The volumes of a store.
#[derive(Debug)]
pub struct Volumes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<Store>,
    rooms: Rooms,
    /// Where the rooms are.
    home: PathBuf,
    /// The daemon's directory that does not outlive a boot.
    run: PathBuf,
    boot_id: String,
    table: Table,
    claims: Arc<Claims>,
    counter: Arc<count::Counter>,
    /// Held while a directory for mounts is made.
    seating: Mutex<()>,
    pruning: AtomicBool,
    /// Parts of images that are attached, by user.
    image_parts: Mutex<BTreeMap<String, Vec<PathBuf>>>,
}

impl Volumes {
    /// Opens the volumes of a store whose owner this process is, and finishes what an earlier one began.
    ///
    /// # Errors
    /// If the store or a directory can't be used.
    pub fn open(engine: &Engine) -> Result<Self> {
        Self::open_over(Arc::clone(&engine.store), &engine.run_path)
    }

    fn open_over(store: Arc<Store>, run: &Path) -> Result<Self> {
        let home = home(store.root());
        std::fs::create_dir_all(&home).map_err(io_error("create", &home))?;
        let run = real_path(run)?;
        let policy = Policy {
            backing: None,
            reserve: Reserve::Nothing,
        };
        let rooms = Rooms::open(&home, &rooms_run(&run), policy)?;
        let rooms = rooms.beside(&writable::containers(store.root()), &writable::seats(&run));
        let boot_id = store.state().boot_id().to_owned();
        let inner = Arc::new(Inner {
            store,
            rooms,
            home,
            run,
            boot_id,
            table: Table::default(),
            claims: Arc::default(),
            counter: Arc::default(),
            seating: Mutex::default(),
            pruning: AtomicBool::new(false),
            image_parts: Mutex::default(),
        });
        inner.load()?;
        Ok(Self { inner })
    }

    /// Shares out anew what is free for volumes in image files. Whoever runs for long calls it every second
    /// or so.
    ///
    /// # Errors
    /// If a room can't be looked at.
    pub fn guard(&self) -> Result<()> {
        Ok(self.inner.rooms.guard()?)
    }

    /// Waits until what was removed is freed.
    ///
    /// # Errors
    /// If something can't be freed.
    pub fn free_removed(&self) -> Result<()> {
        Ok(self.inner.rooms.settle()?)
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        self.inner.counter.close();
    }
}

impl Inner {
    /// Writes a volume's record.
    fn save(&self, name: &str, record: &Record, commit: Commit) -> Result<()> {
        let row = VolumeRecord {
            name: name.to_owned(),
            body: record.to_json(name)?,
        };
        Ok(self.store.state().put_volume(&row, commit)?)
    }

    /// Changes what is known of a volume, in memory and in the database.
    fn change(
        &self,
        volume: &Volume,
        commit: Commit,
        change: impl FnOnce(&mut Record),
    ) -> Result<()> {
        let mut record = volume.record();
        let Some(known) = record.as_mut() else {
            return Ok(());
        };
        let mut changed = known.clone();
        change(&mut changed);
        if changed != *known {
            self.save(&volume.name, &changed, commit)?;
            *known = changed;
        }
        Ok(())
    }

    fn room(name: &str) -> Result<RoomId> {
        Ok(name.parse()?)
    }

    /// Where a volume is mounted whose options name a file system.
    fn seat(&self, name: &str) -> PathBuf {
        self.seats().join(name)
    }

    fn seats(&self) -> PathBuf {
        self.run.join("volumes")
    }
}

/// Where volumes are.
pub(crate) fn home(root: &Path) -> PathBuf {
    root.join("state").join("volumes")
}

/// The rooms of volumes, for whoever only reads the store; nothing if there never was a volume.
pub(crate) fn rooms(engine: &Engine) -> std::result::Result<Option<Rooms>, room::Error> {
    let home = home(engine.root());
    if !home.exists() {
        return Ok(None);
    }
    let policy = Policy {
        backing: None,
        reserve: Reserve::Nothing,
    };
    Rooms::open(&home, &rooms_run(&engine.run_path), policy).map(Some)
}

/// Where the rooms of those are mounted that lie in image files.
pub(crate) fn rooms_run(run: &Path) -> PathBuf {
    run.join("volume-rooms")
}

/// Nothing that panics runs under these locks.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory's path without links, made if it is not there: as the table of mounts has it.
fn real_path(dir: &Path) -> Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    let open = std::fs::File::open(dir).map_err(io_error("open", dir))?;
    let link = format!("/proc/self/fd/{}", open.as_raw_fd());
    std::fs::read_link(link).map_err(io_error("find the path of", dir))
}
