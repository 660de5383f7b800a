//! Attaching: a volume's place is made ready for its first user and let go of with its last.
//!
//! A user is a key of the caller's: a container's id, or that and what a copy out of a stopped container needs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use lapstrake_snapshot::room;
use lapstrake_store::Commit;
use lapstrake_sys::fstab::{self, Line};
use lapstrake_sys::mount::{self, Unmount};
use rustix::io::Errno;

use super::error::{Error, Result, io_error};
use super::options::{Foreign, Options};
use super::record::Record;
use super::table::{Use, Volume};
use super::{Inner, Volumes, create, network, part};

/// How long an unmount may take before it is looked at what it does.
const FAREWELL: Duration = Duration::from_millis(300);

impl Volumes {
    /// Makes the place of a volume ready for a user, who may have it already, and says where it is. That takes
    /// as long as its file system does.
    ///
    /// # Errors
    /// If there is no such volume, or it can't be mounted.
    pub fn attach(&self, name: &str, user: &str) -> Result<PathBuf> {
        let volume = self.inner.find(name)?;
        let mut held = volume.change();
        self.inner.attach(&volume, &mut held, user)
    }

    /// As [`Volumes::attach`], for a directory or file in the volume. What is there under the path that is
    /// returned is what was there now, whatever is put in its place.
    ///
    /// # Errors
    /// As [`Volumes::attach`], and if it is not there or lies outside.
    pub fn attach_part(&self, name: &str, subpath: &str, user: &str) -> Result<PathBuf> {
        let volume = self.inner.find(name)?;
        let mut held = volume.change();
        let was_attached = held.attached.contains(user);
        let path = self.inner.attach(&volume, &mut held, user)?;
        let of = format!("volume {name}");
        match self.inner.hold_part(&path, subpath, &of) {
            Ok(part) => {
                let parts = held.parts.entry(user.to_owned()).or_default();
                parts.push(part.clone());
                Ok(part)
            }
            Err(error) => {
                if !was_attached {
                    // The failure is what to tell.
                    drop(self.inner.detach(&volume, &mut held, user));
                }
                Err(error)
            }
        }
    }

    /// Says that a user needs a volume no more.
    ///
    /// # Errors
    /// If it can't be unmounted. The user is gone all the same.
    pub fn detach(&self, name: &str, user: &str) -> Result<()> {
        let Some(volume) = self.inner.table.get(name) else {
            return Ok(());
        };
        let mut held = volume.change();
        self.inner.detach(&volume, &mut held, user)
    }

    /// Whether a user has a volume attached. Waits for whoever mounts it or takes it away.
    pub fn is_attached(&self, name: &str, user: &str) -> bool {
        let volume = self.inner.table.get(name);
        volume.is_some_and(|volume| volume.change().attached.contains(user))
    }

    /// Who has a volume attached.
    pub fn attached(&self, name: &str) -> Vec<String> {
        let volume = self.inner.table.get(name);
        let held = volume.as_ref().and_then(|volume| volume.try_change());
        held.map(|held| held.attached.iter().cloned().collect())
            .unwrap_or_default()
    }
}

impl Inner {
    pub(super) fn find(&self, name: &str) -> Result<Arc<Volume>> {
        self.table
            .get(name)
            .ok_or_else(|| Error::Missing(name.to_owned()))
    }

    pub(super) fn attach(&self, volume: &Volume, held: &mut Use, user: &str) -> Result<PathBuf> {
        let record = volume.record().clone();
        let record = record.ok_or_else(|| Error::Missing(volume.name.clone()))?;
        let path = match &held.path {
            Some(path) => path.clone(),
            None => {
                let path = self.open_place(&volume.name, &record)?;
                self.empty_half_filled(volume, &record, &path)?;
                path
            }
        };
        held.path = Some(path.clone());
        held.generation += 1;
        self.counter.forget(&volume.name);
        // Before anybody writes in it. Under another kernel the number would count for nothing anyway.
        self.change(volume, Commit::Lazy, |record| record.counted = None)?;
        held.attached.insert(user.to_owned());
        Ok(path)
    }

    pub(super) fn detach(
        self: &Arc<Self>,
        volume: &Volume,
        held: &mut Use,
        user: &str,
    ) -> Result<()> {
        self.release_parts(held.parts.remove(user))?;
        if !held.attached.remove(user) || !held.attached.is_empty() {
            return Ok(());
        }
        held.path = None;
        let record = volume.record().clone();
        let Some(record) = record else { return Ok(()) };
        match record.parsed(&volume.name)? {
            Options::Mounted(_) => self.unmount(&volume.name),
            Options::Room(limit) => {
                self.let_go(&volume.name, limit);
                self.count_later(&volume.name);
                Ok(())
            }
        }
    }

    /// Makes the place of a volume that nobody has attached.
    fn open_place(&self, name: &str, record: &Record) -> Result<PathBuf> {
        match record.parsed(name)? {
            Options::Mounted(foreign) => self.mount(name, &foreign),
            Options::Room(_) => {
                let id = Self::room(name)?;
                let room = match self.rooms.mount(&id) {
                    Err(room::Error::Missing(_)) if record.making => {
                        self.make_room(name, record)?;
                        self.rooms.mount(&id)?
                    }
                    other => other?,
                };
                create::make_data(&room.dir)?;
                Ok(room.dir.join("_data"))
            }
        }
    }

    fn mount(&self, name: &str, foreign: &Foreign) -> Result<PathBuf> {
        let seat = self.seat(name);
        // A container of an earlier daemon may use it. Then it is not touched: its server need not answer.
        if is_mounted(&seat)? {
            return Ok(seat);
        }
        let make = || std::fs::create_dir_all(&seat).map_err(io_error("create", &seat));
        self.in_private_dir(&self.seats(), make)?;
        let resolved = network::resolve(foreign);
        let mounted = resolved.and_then(|foreign| {
            let line = Line {
                source: &foreign.device,
                kind: &foreign.kind,
                options: &foreign.options,
            };
            fstab::mount(line, &seat).map_err(|error| Error::Mount {
                target: seat.clone(),
                why: why(&foreign, &error),
            })
        });
        if let Err(error) = mounted {
            // The failure is what to tell.
            drop(std::fs::remove_dir(&seat));
            return Err(error);
        }
        Ok(seat)
    }

    /// Unmounts a file system that nobody uses, if it is mounted.
    pub(super) fn unmount(&self, name: &str) -> Result<()> {
        let seat = self.seat(name);
        if is_mounted(&seat)? {
            unmount_without_waiting(&seat)?;
        }
        match std::fs::remove_dir(&seat) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error("remove", &seat)(error))
            }
            _ => self.close_private_dir(&self.seats()),
        }
    }

    /// Makes something in a directory whose mounts stay in this mount namespace.
    pub(super) fn in_private_dir<T>(
        &self,
        dir: &Path,
        make: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let _one_at_a_time = super::held(&self.seating);
        if !is_mounted(dir)? {
            std::fs::create_dir_all(dir).map_err(io_error("create", dir))?;
            mount::private_tmpfs(dir)?;
        }
        make()
    }

    /// Takes away such a directory if nothing is in it.
    pub(super) fn close_private_dir(&self, dir: &Path) -> Result<()> {
        let _one_at_a_time = super::held(&self.seating);
        let is_empty = |entries: std::fs::ReadDir| entries.into_iter().next().is_none();
        if std::fs::read_dir(dir).is_ok_and(is_empty) && is_mounted(dir)? {
            mount::unmount(dir, Unmount::Lazy)?;
        }
        Ok(())
    }

    /// Holds what is at `subpath` below `root`; see [`part`].
    pub(super) fn hold_part(&self, root: &Path, subpath: &str, of: &str) -> Result<PathBuf> {
        let parts = self.parts();
        let found = part::find(root, subpath, of)?;
        // Before the lock: it may have to ask a server.
        let is_dir = part::is_dir(&found, root)?;
        let place = self.in_private_dir(&parts, || part::make_place(&parts, is_dir))?;
        part::show(&found, &place)?;
        Ok(place)
    }

    /// Lets go of parts.
    pub(super) fn release_parts(&self, parts: Option<Vec<PathBuf>>) -> Result<()> {
        let Some(parts) = parts else {
            return Ok(());
        };
        for part in parts {
            part::release(&part)?;
        }
        self.close_private_dir(&self.parts())
    }

    pub(super) fn parts(&self) -> PathBuf {
        self.run.join("volume-parts")
    }
}

/// Whether something is mounted at a path. The table tells: whoever asked the path itself would wait for a
/// server that does not answer.
pub(super) fn is_mounted(path: &Path) -> Result<bool> {
    let table = mount::table().map_err(io_error("read", Path::new("/proc/self/mountinfo")))?;
    Ok(table.iter().any(|mounted| &*mounted.target == path))
}

/// Takes a mount out of sight. The kernel does so at once, but then says goodbye to the server before it
/// returns, and to one that is gone that takes its time: a thread of its own waits for that.
fn unmount_without_waiting(seat: &Path) -> Result<()> {
    let (tell, told) = mpsc::channel();
    let target = seat.to_owned();
    let thread = std::thread::Builder::new().name("volume-unmount".to_owned());
    let spawned = thread.spawn(move || {
        // Nobody may wait for it any more.
        tell.send(mount::unmount(&target, Unmount::Lazy)).ok();
    });
    spawned.map_err(io_error("start a thread to unmount", seat))?;
    loop {
        match told.recv_timeout(FAREWELL) {
            Ok(Ok(())) => return Ok(()),
            // Somebody else unmounted it.
            Ok(Err(error)) if matches!(error.errno(), Errno::INVAL | Errno::NOENT) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) if !is_mounted(seat)? => return Ok(()),
            Err(_) => {}
        }
    }
}

/// Why a mount failed, without the password that its options may hold.
fn why(foreign: &Foreign, error: &mount::Error) -> String {
    let options: Vec<&str> = foreign
        .options
        .split(',')
        .map(|option| match option.split_once('=') {
            Some(("password" | "pass", _)) => "password=********",
            _ => option,
        })
        .collect();
    format!(
        "mount {} of type {:?} with options {:?}: {}",
        foreign.device,
        foreign.kind,
        options.join(","),
        std::io::Error::from(error.errno())
    )
}
