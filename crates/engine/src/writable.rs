//! Writable layers: made over an image, listed, and removed.
//!
//! ```text
//! state.db    a record for each: name, image, driver     on disk before the layer is handed out
//! containers/ a room for each: what its driver keeps     moved aside in one step, then freed
//! ```
//!
//! A room is made first and recorded then, and taken away first and forgotten then. What a crash
//! leaves between the two, the next owner of the store finds: a record without a room is forgotten, and
//! a room without a record is removed, unless the database itself is new beside it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use lapstrake_oci::Config;
use lapstrake_snapshot::Place;
use lapstrake_snapshot::room::{self, Limit, Policy, Reserve, RoomId, Rooms, Usage};
use lapstrake_store::{ImageRecord, WritableRecord};

use crate::Engine;
use crate::error::{Error, Result, io_error};
use crate::image::Claimed;
use crate::names::ImageName;
use crate::volumes;

/// A writable layer, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableSummary {
    /// Its name, image and driver.
    pub record: WritableRecord,
    /// Whether a root is mounted on it.
    pub mounted: bool,
    /// What it uses of the disk; nothing if its room is gone.
    pub usage: Option<Usage>,
}

impl Engine {
    /// Makes an empty writable layer over an image.
    ///
    /// # Errors
    /// If the image isn't in the store, the name is taken, or nothing here can hold the layer to the
    /// limit.
    pub fn create(&self, image: impl Into<ImageName>, name: &str, limit: Limit) -> Result<()> {
        self.create_over(&self.claim(image)?, name, limit)
    }

    pub(crate) fn create_over(&self, claimed: &Claimed, name: &str, limit: Limit) -> Result<()> {
        let _making = self.making_writables();
        if self.store.state().writable(name)?.is_some() {
            return Err(room::Error::Exists(name.parse()?).into());
        }
        self.make_writable(&claimed.image, claimed.config.value(), name, limit)
            .map(drop)
    }

    /// The place of a writable layer over this image, made if it is not there.
    pub(crate) fn enter(
        &self,
        image: &ImageRecord,
        config: &Config,
        name: &str,
    ) -> Result<PathBuf> {
        let _making = self.making_writables();
        let there = self.store.state().writable(name)?;
        match there {
            Some(there) if there.image.manifest == image.manifest => {
                Ok(self.rooms()?.mount(&name.parse()?)?.dir)
            }
            Some(there) => Err(Error::OtherImage {
                name: name.to_owned(),
                image: there.image.reference,
            }),
            None => self.make_writable(image, config, name, Limit::NONE),
        }
    }

    fn make_writable(
        &self,
        image: &ImageRecord,
        config: &Config,
        name: &str,
        limit: Limit,
    ) -> Result<PathBuf> {
        let (rooms, id): (_, RoomId) = (self.rooms()?, name.parse()?);
        if rooms.ids()?.contains(&id) && is_unused(&rooms.mount(&id)?.dir)? {
            // Its maker died before anybody learnt of it.
            rooms.remove(&id)?;
        }
        let default = self.default_limit()?;
        let limit = Limit {
            bytes: limit.bytes.or(default.bytes),
            inodes: limit.inodes.or(default.inodes),
        };
        let room = rooms.create(&id, limit)?;
        let record = WritableRecord {
            name: name.to_owned(),
            image: image.clone(),
            driver: self.driver()?.name().to_owned(),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        let make = || {
            let stack = self.stack(image, config)?;
            let driver = self.driver()?;
            driver.realise(&stack)?;
            driver.create(&stack, &room.dir)?;
            let layers = &config.rootfs.diff_ids;
            Ok(self.store.state().add_writable(&record, layers)?)
        };
        match make() {
            Ok(true) => Ok(room.dir),
            failed => {
                // The failure is what to tell; the next owner sweeps what is left.
                drop(rooms.remove(&id));
                failed.and_then(|_taken| Err(room::Error::Exists(id).into()))
            }
        }
    }

    /// Every writable layer, by name.
    ///
    /// # Errors
    /// If the store or the run directory can't be read.
    pub fn writables(&self) -> Result<Vec<WritableSummary>> {
        let in_use = self.run.places_in_use()?;
        let records = self.store.state().writables()?;
        let summary = |record: WritableRecord| {
            let id: RoomId = record.name.parse()?;
            let usage = match self.rooms()?.usage(&id) {
                Ok(usage) => Some(usage),
                Err(room::Error::Missing(_)) => None,
                Err(error) => return Err(error.into()),
            };
            Ok(WritableSummary {
                mounted: self.is_in_use(&in_use, &id),
                record,
                usage,
            })
        };
        records.into_iter().map(summary).collect()
    }

    /// Removes a writable layer. It is gone when this returns; what it used is freed in the background,
    /// or when the store is opened next.
    ///
    /// # Errors
    /// If there is none of that name, or a root is mounted on it.
    pub fn remove_writable(&self, name: &str) -> Result<()> {
        self.remove_used_writable(name, None)
    }

    /// As [`Engine::remove_writable`]; its image counts as used until then.
    pub(crate) fn remove_used_writable(&self, name: &str, used: Option<SystemTime>) -> Result<()> {
        let _making = self.making_writables();
        let id: RoomId = name.parse()?;
        // No root is made on it from here on.
        let quiet = self.run.quiet()?;
        if self.is_in_use(&quiet.places_in_use()?, &id) {
            return Err(room::Error::InUse {
                id,
                action: "remove",
            }
            .into());
        }
        let recorded = self.store.state().writable(name)?.is_some();
        match self.rooms()?.remove(&id) {
            Ok(()) => {}
            Err(room::Error::Missing(_)) if recorded => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.store.state().remove_writable(name, used)?)
    }

    /// Changes the limit of a writable layer, also while a root is mounted on it.
    ///
    /// # Errors
    /// If there is none of that name, it uses more, or it was made in a way that can't be changed so.
    pub fn resize_writable(&self, name: &str, limit: Limit) -> Result<()> {
        let record = self.writable(name)?;
        Ok(self.rooms()?.resize(&record.name.parse()?, limit)?)
    }

    /// Sets room aside for records, so that things can be removed while the disk is full: for a process that stays.
    ///
    /// # Errors
    /// If there is no room, or the file system can't set any aside.
    pub fn set_room_aside(&self) -> Result<()> {
        Ok(self.store.state().set_room_aside()?)
    }

    /// Says that nobody needs the room of a writable layer mounted for now, whose container does not run. One
    /// that somebody looks into stays.
    ///
    /// # Errors
    /// If it can't be unmounted.
    pub(crate) fn let_go_of_writable(&self, name: &str) -> Result<()> {
        if !seats(&self.run_path).join(name).exists() {
            return Ok(());
        }
        match self.rooms()?.release(&name.parse()?) {
            Ok(()) | Err(room::Error::InUse { .. } | room::Error::Missing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until what was removed is freed, as far as this process does that.
    ///
    /// # Errors
    /// If something can't be freed.
    pub fn settle(&self) -> Result<()> {
        Ok(self.rooms()?.settle()?)
    }

    /// The record of a writable layer.
    pub(crate) fn writable(&self, name: &str) -> Result<WritableRecord> {
        let id: RoomId = name.parse()?;
        let record = self.store.state().writable(name)?;
        record.ok_or_else(|| room::Error::Missing(id).into())
    }

    /// Where roots are mounted on a writable layer.
    pub(crate) fn mounted_on(&self, id: &RoomId) -> Result<Vec<PathBuf>> {
        let roots = self.run.roots()?.into_iter();
        let on_it = roots.filter(|root| self.is_place_of(&root.place, id));
        Ok(on_it.map(|root| root.target).collect())
    }

    /// Whether a root is mounted on a writable layer.
    pub(crate) fn is_in_use(&self, places: &BTreeSet<PathBuf>, id: &RoomId) -> bool {
        places.iter().any(|place| self.is_place_of(place, id))
    }

    fn is_place_of(&self, place: &Path, id: &RoomId) -> bool {
        let here = containers(self.store.root()).join(id);
        place == here || place.starts_with(seats(&self.run_path).join(id))
    }

    /// One writable layer is made or removed at a time: a name is looked up and taken in two steps.
    fn making_writables(&self) -> MutexGuard<'_, ()> {
        let lock = self.writables.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// The rooms of writable layers.
    pub(crate) fn rooms(&self) -> Result<&Rooms> {
        if let Some(rooms) = self.rooms.get() {
            return Ok(rooms);
        }
        let opened = open_rooms(self.store.root(), &self.run_path)?;
        Ok(self.rooms.get_or_init(|| opened))
    }

    /// Finishes what an owner before this one began and did not finish.
    pub(crate) fn sweep_writables(&self) -> Result<()> {
        if !self.store.may_hold_remains() {
            return Ok(());
        }
        let rooms = self.rooms()?;
        let records = self.store.state().writables()?;
        let (mut strays, keep) = (rooms.ids()?, self.store.state().keeps_strays()?);
        for record in records {
            let id: RoomId = record.name.parse()?;
            match strays.binary_search(&id) {
                Ok(at) => drop(strays.remove(at)),
                Err(_) => self.store.state().remove_writable(&record.name, None)?,
            }
        }
        for id in strays {
            let dir = rooms.mount(&id)?.dir;
            // What an older version made has no record, and no kind.
            let ours = Place::at(&dir)?.is_some() && !keep;
            if ours || is_unused(&dir)? {
                rooms.remove(&id)?;
            }
        }
        Ok(())
    }
}

/// Frees what removed writable layers still use, and waits until that is done: for a process that does
/// nothing else. It need not own the store.
///
/// # Errors
/// If something can't be freed.
pub fn free_removed(root: &Path, run: &Path) -> Result<()> {
    Ok(open_rooms(root, run)?.settle()?)
}

fn open_rooms(root: &Path, run: &Path) -> Result<Rooms> {
    let policy = Policy {
        backing: None,
        reserve: Reserve::Nothing,
    };
    let rooms = containers(root);
    std::fs::create_dir_all(&rooms).map_err(io_error("create", &rooms))?;
    let opened = Rooms::open(&rooms, &seats(run), policy)?;
    Ok(opened.beside(&volumes::home(root), &volumes::rooms_run(run)))
}

/// Shares out anew what is free for writable layers and volumes in image files. Whoever does it need not own
/// the store.
pub(crate) fn guard_rooms(root: &Path, run: &Path) -> Result<()> {
    Ok(room::guard(&[
        (&containers(root), &seats(run)),
        (&volumes::home(root), &volumes::rooms_run(run)),
    ])?)
}

/// Where writable layers are.
pub(crate) fn containers(root: &Path) -> PathBuf {
    root.join("state").join("containers")
}

/// Where those of them are mounted that lie in image files.
pub(crate) fn seats(run: &Path) -> PathBuf {
    run.join("rooms")
}

/// Whether nothing was ever changed in what is at `place`.
fn is_unused(place: &Path) -> Result<bool> {
    for dir in ["upper", "root"] {
        let dir = place.join(dir);
        let mut entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error("list", &dir)(error)),
        };
        if entries.next().is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}
