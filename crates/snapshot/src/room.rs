//! Rooms: the directories in which writable layers are kept, each held to a limit of its own on
//! bytes and inodes, whatever file system they lie on.
//!
//! Life of a room: [`create`](Rooms::create) makes it, empty, and says which directory it is;
//! [`mount`](Rooms::mount) says so again after a restart; [`release`](Rooms::release) lets go of
//! what only a room in use needs; [`remove`](Rooms::remove) takes it away at once and frees it
//! afterwards. [`usage`](Rooms::usage) and [`resize`](Rooms::resize) may be asked for at any time.
//!
//! A room tells by itself how it was made, so that rooms of several kinds stand side by side and
//! there is no list of them to lose. Kinds, from the cheapest: a project with a quota; a btrfs
//! subvolume with a quota group; a directory, if there is no limit; an ext4 image. Which are
//! possible is found out when the rooms are opened, and told by [`report`].
//!
//! A full room is `ENOSPC` or `EDQUOT` for whoever writes in it, and nothing to anyone else.
//!
//! What a crash leaves is found by the next [`Rooms::open`]: half-made rooms and trash are freed,
//! mounts of rooms that are gone are unmounted; rooms that are mounted stay so.

mod backing;
mod error;
mod id;
mod image;
mod limit;
mod pool;
mod project;
mod reaper;
mod shelf;
mod subvolume;
mod walk;

pub use backing::{Backing, Report};
pub use error::{Class, Error, Result};
pub use id::RoomId;
pub use image::Reserve;
pub use limit::{Counted, Limit, Usage, parse_size};

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lapstrake_sys::{btrfs, publish, quota};

use backing::{Facts, Filesystem};
use error::io;
use image::Seats;
use reaper::Reaper;
use shelf::{Held, Shelf};

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How rooms are made; with none, the best way that is possible.
    pub backing: Option<Backing>,
    /// Whether image files set aside what they promise.
    pub reserve: Reserve,
}

/// A room that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its name.
    pub id: RoomId,
    /// Its directory, until it is released, removed, or the machine restarts.
    pub dir: PathBuf,
    /// How it is made.
    pub backing: Backing,
}

/// All rooms of a store.
#[derive(Debug)]
pub struct Rooms {
    shelf: Shelf,
    seats: Seats,
    facts: Facts,
    policy: Policy,
    reaper: Reaper,
    /// Those of these rooms, and of rooms that may lie on the same file system.
    places: Vec<image::Place>,
}

impl Rooms {
    /// Opens the rooms in the directory `rooms`, which must be on the file system that writable
    /// layers are to use, and sweeps what a crash left. Images are mounted below `run`, a directory
    /// of its own that does not outlive a boot.
    pub fn open(rooms: &Path, run: &Path, policy: Policy) -> Result<Self> {
        let shelf = Shelf::open(rooms)?;
        let facts = Facts::look(rooms)?;
        let seats = Seats::at(run);
        let opened = Self {
            reaper: Reaper::new(shelf.clone(), seats.clone(), facts.filesystem()),
            places: vec![(seats.clone(), rooms.to_owned())],
            seats,
            shelf,
            facts,
            policy,
        };
        if opened.shelf.sweep()? {
            opened.reaper.wake()?;
        }
        opened.sweep_seats()?;
        Ok(opened)
    }

    /// The same rooms, which share what is free with others: those below `rooms`, whose images are mounted
    /// below `run`. They need not be there.
    #[must_use]
    pub fn beside(mut self, rooms: &Path, run: &Path) -> Self {
        self.places.push((Seats::at(run), rooms.to_owned()));
        self
    }

    /// Names of all rooms.
    pub fn ids(&self) -> Result<Vec<RoomId>> {
        self.shelf.ids()
    }

    /// Makes a room. It appears when it is complete.
    pub fn create(&self, id: &RoomId, limit: Limit) -> Result<Room> {
        let backing = self.choose(limit)?;
        if self.shelf.path(id).exists() {
            return Err(Error::Exists(id.clone()));
        }
        if backing == Backing::Image
            && let Some(pooled) = self.take_from_pool(limit)?
        {
            self.move_in(&pooled, id)?;
            drop(pooled);
            return self.mount(id);
        }
        let stage = self.shelf.stage()?;
        self.make(&stage, backing, limit)?;
        self.shelf.publish(&stage.room(), id)?;
        publish::sync_dir(self.shelf.rooms()).map_err(io("sync", self.shelf.rooms()))?;
        let mounted = self.mount(id);
        if mounted.is_err() {
            // The failure is what to tell.
            drop(self.remove(id));
        }
        mounted
    }

    /// Makes the directory of a room ready, which it may be already, and says which it is.
    pub fn mount(&self, id: &RoomId) -> Result<Room> {
        let held = self.shelf.hold(id)?;
        let backing = self.backing_of(&held)?;
        let dir = match backing {
            Backing::Image => image::mount(&self.seats, held.path(), id.as_str())?,
            _ => held.path().to_owned(),
        };
        if backing == Backing::Image {
            self.guard()?;
        }
        Ok(Room {
            id: id.clone(),
            dir,
            backing,
        })
    }

    /// Sees to it that rooms in image files run full before the file system below does. Whoever has
    /// the rooms for long calls it every second or so; [`mount`](Self::mount), [`create`](Self::create)
    /// and [`resize`](Self::resize) do too.
    pub fn guard(&self) -> Result<()> {
        image::pass(&self.places)
    }

    /// Says that nobody uses the directory of the room any more. Roots that are mounted on it go on.
    pub fn release(&self, id: &RoomId) -> Result<()> {
        let held = self.shelf.hold(id)?;
        if self.seats.clear_if_idle(id.as_str())? {
            drop(held);
            return Ok(());
        }
        Err(Error::InUse {
            id: id.clone(),
            action: "release",
        })
    }

    /// What a room uses.
    pub fn usage(&self, id: &RoomId) -> Result<Usage> {
        let held = self.shelf.hold(id)?;
        match self.backing_of(&held)? {
            Backing::Image => image::usage(&self.seats, held.path(), id.as_str()),
            Backing::Project => project::usage(&held, self.project_of(&held)?),
            Backing::Subvolume => match subvolume::usage(&held)? {
                Some(usage) => Ok(usage),
                None => walk::usage(held.path()),
            },
            Backing::Directory => walk::usage(held.path()),
        }
    }

    /// What a room takes of the file system that the rooms lie on: for an image file, the file.
    pub fn footprint(&self, id: &RoomId) -> Result<Usage> {
        let held = self.shelf.hold(id)?;
        match self.backing_of(&held)? {
            Backing::Image => walk::usage(held.path()),
            Backing::Project | Backing::Subvolume | Backing::Directory => {
                drop(held);
                self.usage(id)
            }
        }
    }

    /// As [`footprint`](Self::footprint), by looking at every file, whatever the file system counts: what `du` says.
    /// It holds up nobody who changes the room meanwhile.
    pub fn on_disk(&self, id: &RoomId) -> Result<Usage> {
        match walk::usage(&self.shelf.path(id)) {
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Err(Error::Missing(id.clone()))
            }
            usage => usage,
        }
    }

    /// Bytes of what is not a directory, in the directories of a room, by looking at every file; nothing for an
    /// image file that is not mounted.
    pub fn files(&self, id: &RoomId) -> Result<Option<u64>> {
        let held = self.shelf.hold(id)?;
        if self.backing_of(&held)? != Backing::Image {
            return Ok(walk::usage(held.path())?.files);
        }
        match self.seats.is_taken(id.as_str())? {
            true => Ok(walk::usage(&self.seats.path(id.as_str()))?.files),
            false => Ok(None),
        }
    }

    /// Changes the limit of a room, also while it is used. Larger is always possible where there is
    /// a limit; smaller, if what is used fits (and, in an image file, if nobody uses it).
    pub fn resize(&self, id: &RoomId, limit: Limit) -> Result<()> {
        let held = self.shelf.hold(id)?;
        let backing = self.backing_of(&held)?;
        let refused = || Error::Fixed {
            id: id.clone(),
            kind: backing.name(),
            limit,
        };
        match backing {
            Backing::Image => {
                image::resize(&self.seats, held.path(), id, limit)?;
                self.guard()
            }
            Backing::Project => {
                let number = self.project_of(&held)?;
                check_shrink(id, &project::usage(&held, number)?, limit)?;
                project::set_limit(&held, number, limit)
            }
            Backing::Subvolume if limit.inodes.is_none() => {
                if let Some(usage) = subvolume::usage(&held)? {
                    check_shrink(id, &usage, limit)?;
                }
                subvolume::set_limit(&held, limit.bytes)
            }
            Backing::Subvolume => Err(refused()),
            Backing::Directory if limit.is_none() => Ok(()),
            Backing::Directory => Err(refused()),
        }
    }

    /// Gives back to the file system what the room keeps without using it. Only image files do, and
    /// hardly: they give back by themselves. Returns the bytes that were looked through.
    pub fn trim(&self, id: &RoomId) -> Result<u64> {
        let held = self.shelf.hold(id)?;
        match self.backing_of(&held)? {
            Backing::Image => image::trim(&self.seats, held.path(), id.as_str()),
            _ => Ok(0),
        }
    }

    /// Takes a room away. It is gone when this returns; what it used is freed in the background, or
    /// when the rooms are opened next.
    pub fn remove(&self, id: &RoomId) -> Result<()> {
        let held = self.shelf.hold(id)?;
        self.discard(held.path(), id.as_str())?;
        drop(held);
        self.reaper.wake()
    }

    /// Waits until what was removed is freed, as far as this process does that, and tells why
    /// something could not be.
    pub fn settle(&self) -> Result<()> {
        self.reaper.settle()
    }

    /// Makes rooms with this limit ahead of time, until there are `rooms` of them. Returns how many
    /// it made: none where making one takes no time.
    pub fn fill_pool(&self, rooms: usize, limit: Limit) -> Result<usize> {
        if self.choose(limit)? != Backing::Image {
            return Ok(0);
        }
        let there = pool::count(&self.shelf, limit, self.policy.reserve)?;
        for _ in there..rooms {
            let stage = self.shelf.stage()?;
            self.make(&stage, Backing::Image, limit)?;
            let locked = self.shelf.lock()?;
            let pooled = Held::of(self.shelf.store_in_pool(&stage.room())?)?;
            // Nobody takes it while it is held, and its mount is not yet there.
            drop(locked);
            image::mount(&self.seats, pooled.path(), &pool::seat_name(pooled.path()))?;
        }
        Ok(rooms.saturating_sub(there))
    }

    /// Frees all rooms that were made ahead of time.
    pub fn drain_pool(&self) -> Result<()> {
        for path in pool::entries(&self.shelf)? {
            if let Some(held) = Held::try_of(&path)? {
                self.discard(held.path(), &pool::seat_name(&path))?;
            }
        }
        self.reaper.wake()
    }

    fn choose(&self, limit: Limit) -> Result<Backing> {
        let Some(way) = self.policy.backing else {
            return self.facts.choose(limit);
        };
        match self.facts.against(way, limit) {
            None => Ok(way),
            Some(reason) => Err(Error::Unsuitable {
                by: way.name(),
                reason,
            }),
        }
    }

    /// Makes `room` in a stage.
    fn make(&self, stage: &shelf::Stage, backing: Backing, limit: Limit) -> Result<()> {
        let room = stage.room();
        if backing == Backing::Subvolume {
            subvolume::create(stage.dir(), OsStr::new("room"))?;
            return subvolume::set_limit(&Held::of(room)?, limit.bytes);
        }
        shelf::make_dirs(&room)?;
        match backing {
            Backing::Image => image::create(&room, limit, self.policy.reserve),
            Backing::Project => {
                let lock = self.shelf.lock()?;
                project::set_up(&Held::of(room)?, limit, &lock)
            }
            Backing::Subvolume | Backing::Directory => Ok(()),
        }
    }

    /// Moves a room to the trash. Its mount goes too, for an unmount may have much to write.
    fn discard(&self, room: &Path, seat: &str) -> Result<()> {
        let _locked = self.shelf.lock()?;
        let trashed = self.shelf.discard(room)?;
        if self.seats.is_taken(seat)? {
            return self.seats.rename(seat, &reaper::trash_seat(&trashed));
        }
        // A directory for a mount that was never made.
        self.seats.clear(seat)
    }

    fn take_from_pool(&self, limit: Limit) -> Result<Option<Held>> {
        let _locked = self.shelf.lock()?;
        pool::find(&self.shelf, limit, self.policy.reserve)
    }

    /// Gives a pooled room a name.
    fn move_in(&self, pooled: &Held, id: &RoomId) -> Result<()> {
        let _locked = self.shelf.lock()?;
        self.shelf.publish(pooled.path(), id)?;
        let seat = pool::seat_name(pooled.path());
        if self.seats.is_taken(&seat)? {
            self.seats.rename(&seat, id.as_str())?;
        }
        Ok(())
    }

    fn backing_of(&self, room: &Held) -> Result<Backing> {
        if image::is_one(room.path()) {
            return Ok(Backing::Image);
        }
        Ok(match self.facts.filesystem() {
            Filesystem::Btrfs if btrfs::is_subvolume_root(room.inode()?) => Backing::Subvolume,
            Filesystem::Projects if self.project_of(room)? != 0 => Backing::Project,
            Filesystem::Btrfs | Filesystem::Projects | Filesystem::Other => Backing::Directory,
        })
    }

    fn project_of(&self, room: &Held) -> Result<u32> {
        quota::project(room.as_fd()).map_err(io("ask for the project of", room.path()))
    }

    /// Unmounts images whose rooms are gone.
    fn sweep_seats(&self) -> Result<()> {
        for name in self.seats.names()? {
            let Some(name) = name.to_str() else { continue };
            // A room's name changes before its mount does: looked up again when nothing changes.
            if !self.has_room_at(name) {
                let _locked = self.shelf.lock()?;
                if !self.has_room_at(name) {
                    self.seats.clear(name)?;
                }
            }
        }
        self.seats.close_if_idle()
    }

    fn has_room_at(&self, seat: &str) -> bool {
        let path = if let Some(name) = seat.strip_prefix(".pool-") {
            self.shelf.pool().join(name)
        } else if let Some(name) = seat.strip_prefix(".trash-") {
            self.shelf.trash().join(name)
        } else {
            self.shelf.rooms().join(seat)
        };
        path.exists()
    }
}

/// How rooms on the file system of `dir` are made, and why so.
pub fn report(dir: &Path) -> Result<Report> {
    Ok(Facts::look(dir)?.report())
}

/// As [`Rooms::guard`], for a process that has no other use of the rooms: directories of rooms, and where their
/// images are mounted.
pub fn guard(places: &[(&Path, &Path)]) -> Result<()> {
    let places = places
        .iter()
        .map(|(rooms, run)| (Seats::at(run), (*rooms).to_owned()));
    image::pass(&places.collect::<Vec<_>>())
}

/// Refuses a limit that is below what is used already.
fn check_shrink(id: &RoomId, usage: &Usage, limit: Limit) -> Result<()> {
    match limit.bytes {
        Some(bytes) if bytes < usage.bytes => Err(Error::UsesMore {
            id: id.clone(),
            used: usage.bytes,
            limit: bytes,
        }),
        _ => Ok(()),
    }
}
