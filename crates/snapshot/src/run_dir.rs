//! The run directory: which layers are mounted, and which roots use them.
//!
//! ```text
//! <run>/lock                  held while anything below changes
//! <run>/use                   shared while a root is made, exclusive while a layer is taken away
//! <run>/live/                 a private tmpfs, while any root is mounted
//!     layers/<32 digits>/     one mount for each shared file system, named by its layer
//!     layers/empty-0, -1/     lower directories for stacks of fewer than two layers
//!     stacks/<minor>          a record for each root that is an overlay, by its device
//!     stacks/bind-<id>        a record for each other root, by its mount
//!     stacks/held-<key>       a record for what somebody else mounts
//! ```
//!
//! A record says who mounted the root, with which driver, where, and from which layers. It is named
//! by what no two living roots share, the minor number of the overlay's device or the number of the
//! mount; it is written before the root becomes visible and removed after it is gone. So a crash
//! leaves a record without a root, never a root without its record, and a sweep can tell by the
//! table of mounts. Numbers are used again soon, so the root's inode is compared too.
//!
//! The tmpfs is private, so that a hundred layers are not propagated into every mount namespace of
//! the host. Namespaces made while layers are mounted have copies of them; removing the mount
//! point removes those too. Mounts are visible in one namespace only, so records name theirs, and
//! a sweep judges only what was mounted in its own.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lapstrake_oci::DiffId;
use lapstrake_sys::mount::{self, Unmount};
use lapstrake_sys::{dir, file};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{io, std_io};
use crate::record::{Inode, Record, RootKey};
use crate::{Driver, Error, Layer, Rendered, Result, perform};

/// A root that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub target: PathBuf,
    /// Shared file systems mounted now.
    pub fresh: usize,
    /// Shared file systems that were mounted already, for another root.
    pub shared: usize,
}

/// Where mounts and their records are kept: a directory of its own, on this host, that does not
/// outlive a boot (below `/run`). One for each store, whatever the drivers.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Names the directory, and makes it if it is not there.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        make_dir(&path)?;
        Ok(Self { path })
    }

    /// Mounts a realised stack at `target`, an existing directory. Changes go to `place`; without
    /// one the root is read-only.
    pub fn mount(
        &self,
        driver: &dyn Driver,
        stack: &[Layer],
        place: Option<&Path>,
        target: &Path,
    ) -> Result<Mounted> {
        // For each layer: its index, its data, its root.
        let descriptors = 64 + 3 * u32::try_from(stack.len()).unwrap_or(u32::MAX / 4);
        let mount = || {
            let _kept = self.keep()?;
            let mounts = driver.mounts(stack, place)?;
            let locked = self.lock()?;
            perform::perform(&locked, driver.name(), &mounts, place, target).inspect_err(|_| {
                // The first error is the one to tell; what this leaves, the next sweep finds.
                drop(locked.sweep());
            })
        };
        file::with_descriptor_table(descriptors, mount)
            .map_err(io("get a descriptor table for", target))?
    }

    /// For somebody who mounts roots by itself, as containerd does: mounts what a root of a realised
    /// stack is made from, and says how to mount the root. It is in use under the name `key` until
    /// [`release`](Self::release), whatever happens to whoever asked. The same key again replaces what was
    /// held under it.
    pub fn hold(
        &self,
        driver: &dyn Driver,
        stack: &[Layer],
        place: Option<&Path>,
        key: &str,
    ) -> Result<Rendered> {
        let held = held(key)?;
        let descriptors = 64 + 3 * u32::try_from(stack.len()).unwrap_or(u32::MAX / 4);
        let hold = || {
            let _kept = self.keep()?;
            let mounts = driver.mounts(stack, place)?;
            let locked = self.lock()?;
            perform::hold(&locked, driver.name(), &mounts, place, &held).inspect_err(|_| {
                drop(locked.release(&held));
                drop(locked.sweep());
            })
        };
        file::with_descriptor_table(descriptors, hold)
            .map_err(io("get a descriptor table for", key))?
    }

    /// Ends what [`hold`](Self::hold) began; nothing held under that name is success. What the root
    /// was made from is unmounted, unless others use it.
    pub fn release(&self, key: &str) -> Result<()> {
        let held = held(key)?;
        let locked = self.lock()?;
        locked.release(&held)?;
        locked.sweep()
    }

    /// Unmounts the root at `target`, and the layers that no other root uses.
    pub fn unmount(&self, target: &Path) -> Result<()> {
        // Somebody else's look (a listing, a copied descriptor table) holds a root for an instant.
        // The lock is let go between tries, for whoever waits for it may be the one that looks.
        for _try in 1..BUSY_TRIES {
            match self.unmount_once(target) {
                Err(Error::Busy { .. }) => std::thread::sleep(BUSY_PAUSE),
                done => return done,
            }
        }
        self.unmount_once(target)
    }

    fn unmount_once(&self, target: &Path) -> Result<()> {
        let locked = self.lock()?;
        locked.unmount_root(target)?;
        locked.sweep()
    }

    /// Unmounts layers that no root uses any more, and forgets roots that were unmounted by others.
    pub fn sweep(&self) -> Result<()> {
        self.lock()?.sweep()
    }

    /// The layers that mounted roots use, whatever their driver, as of now.
    pub fn in_use(&self) -> Result<BTreeSet<DiffId>> {
        Ok(self.lock()?.users()?.layers)
    }

    /// The roots that are mounted, or held under a name, as of now.
    pub fn roots(&self) -> Result<Vec<LiveRoot>> {
        Ok(self.lock()?.users()?.roots)
    }

    /// Lets go of what the kernel holds in memory of a mounted layer's files, as far as nobody uses it
    /// at this moment: for whoever has changed the bytes below the mount. Returns how many files
    /// that were.
    pub fn forget_pages(&self, layer: &DiffId) -> Result<usize> {
        let locked = self.lock()?;
        let mount = locked.layers_path().join(perform::name(layer));
        let (mut todo, mut files) = (vec![mount], 0);
        while let Some(dir) = todo.pop() {
            let entries = match std::fs::read_dir(&dir) {
                Ok(entries) => entries,
                // Not every driver mounts layers.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(std_io("list", &dir)(error)),
            };
            for entry in entries {
                let entry = entry.map_err(std_io("list", &dir))?;
                let (path, kind) = (entry.path(), entry.file_type());
                let kind = kind.map_err(std_io("look at", &path))?;
                if kind.is_dir() {
                    todo.push(path);
                } else if kind.is_file() {
                    let file = File::open(&path).map_err(std_io("open", &path))?;
                    file::drop_cache(file.as_fd()).map_err(io("drop pages of", &path))?;
                    files += 1;
                }
            }
        }
        Ok(files)
    }

    /// The places of the writable layers that mounted roots use, as of now.
    pub fn places_in_use(&self) -> Result<BTreeSet<PathBuf>> {
        Ok(self.lock()?.users()?.places)
    }

    /// Lets nobody take a layer away while the answer is held.
    pub fn keep(&self) -> Result<Kept> {
        Ok(Kept {
            _guard: self.guard(File::lock_shared)?,
        })
    }

    /// Waits until no root is being made, and lets none be made while the answer is held: what is
    /// not in use then may be taken away.
    pub fn quiet(&self) -> Result<Quiet<'_>> {
        Ok(Quiet {
            run: self,
            _guard: self.guard(File::lock)?,
        })
    }

    /// Waits until no other process changes the directory.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        Ok(Locked {
            run: &self.path,
            namespace: namespace()?,
            _guard: Guard::take(&self.path.join("lock"), File::lock)?,
        })
    }

    fn guard(&self, how: fn(&File) -> std::io::Result<()>) -> Result<Guard> {
        Guard::take(&self.path.join("use"), how)
    }
}

fn held(key: &str) -> Result<RootKey> {
    RootKey::held(key).ok_or_else(|| Error::BadKey {
        key: key.to_owned(),
    })
}

/// Half a second in all: longer than any look, shorter than anyone's patience.
const BUSY_TRIES: u32 = 50;
const BUSY_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// A root that is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRoot {
    /// With which driver.
    pub driver: String,
    /// The layers that it uses.
    pub layers: Vec<DiffId>,
    /// The writable layer's place; empty for a root that is read-only.
    pub place: PathBuf,
    /// Where it was mounted; empty if whoever asked for it mounts it.
    pub target: PathBuf,
}

/// A time in which no layer is taken away.
#[derive(Debug)]
pub struct Kept {
    _guard: Guard,
}

/// A time in which no root is made.
#[derive(Debug)]
pub struct Quiet<'a> {
    run: &'a RunDir,
    _guard: Guard,
}

impl Quiet<'_> {
    /// The layers that mounted roots use. There will be no more of them while this is held.
    pub fn in_use(&self) -> Result<BTreeSet<DiffId>> {
        self.run.in_use()
    }

    /// The places of writable layers that mounted roots use. There will be no more of them either.
    pub fn places_in_use(&self) -> Result<BTreeSet<PathBuf>> {
        self.run.places_in_use()
    }
}

/// A locked file.
#[derive(Debug)]
struct Guard(File);

impl Guard {
    fn take(path: &Path, how: fn(&File) -> std::io::Result<()>) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(std_io("open", path))?;
        how(&file).map_err(std_io("lock", path))?;
        Ok(Self(file))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Closing is not enough: a mount in another thread may hold a copy of the descriptor in its
        // own table while it waits for this very lock.
        drop(self.0.unlock());
    }
}

/// The run directory, for one process alone.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    run: &'a Path,
    /// Inode of this process' mount namespace.
    namespace: u64,
    _guard: Guard,
}

impl Locked<'_> {
    /// Opens the directory of layer mounts, and mounts its tmpfs if this namespace has none.
    pub(crate) fn layers(&self) -> Result<OwnedFd> {
        let live = self.live();
        make_dir(&live)?;
        if !self.is_live()? {
            let named = |source| Error::Mount {
                object: live.display().to_string(),
                source,
            };
            mount::private_tmpfs(&live).map_err(named)?;
        }
        make_dir(&self.stacks())?;
        make_dir(&self.layers_path())?;
        open_dir(&self.layers_path())
    }

    /// Path of the directory of layer mounts.
    pub(crate) fn layers_path(&self) -> PathBuf {
        self.live().join("layers")
    }

    fn live(&self) -> PathBuf {
        self.run.join("live")
    }

    fn stacks(&self) -> PathBuf {
        self.live().join("stacks")
    }

    fn is_live(&self) -> Result<bool> {
        let live = self.live();
        match mount::is_mount_root(CWD, &live) {
            Ok(mounted) => Ok(mounted),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(io("stat", live)(errno)),
        }
    }

    /// An empty directory for passing use, whatever an earlier process left there.
    pub(crate) fn fresh_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.live().join(name);
        make_dir(&path)?;
        if mount::is_mount_root(CWD, &path).map_err(io("stat", &path))? {
            mount::unmount(&path, Unmount::Lazy).map_err(|source| Error::Mount {
                object: path.display().to_string(),
                source,
            })?;
        }
        for name in names(&path)? {
            let path = path.join(name);
            std::fs::remove_file(&path).map_err(std_io("remove", &path))?;
        }
        Ok(path)
    }

    /// Writes what a root uses, before it is seen.
    pub(crate) fn record(&self, root: &RootKey, record: &Record) -> Result<()> {
        let path = self.record_path(root);
        let mut file = File::create(&path).map_err(std_io("create", &path))?;
        file.write_all(&record.encode())
            .map_err(std_io("write", &path))
    }

    /// Removes the record of a root, if there is one.
    fn release(&self, root: &RootKey) -> Result<()> {
        let path = self.record_path(root);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(std_io("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Inode of this process' mount namespace.
    pub(crate) fn namespace(&self) -> u64 {
        self.namespace
    }

    /// Unmounts the root at `target`.
    fn unmount_root(&self, target: &Path) -> Result<()> {
        let not_mounted = || Error::NotMounted {
            target: target.to_owned(),
        };
        if !mount::is_mount_root(CWD, target).map_err(io("stat", target))? {
            return Err(not_mounted());
        }
        let root = open_dir_at(CWD, target)?;
        let keys = [
            Some(RootKey::of_mount(&root).map_err(io("stat", target))?),
            RootKey::of_overlay(&root).map_err(io("stat", target))?,
        ];
        drop(root);
        let mut records = keys.iter().flatten().map(|key| self.record_path(key));
        let record = records.find(|path| path.exists()).ok_or_else(not_mounted)?;
        mount::unmount(target, Unmount::IfIdle).map_err(|source| match source.errno() {
            Errno::BUSY => Error::Busy {
                target: target.to_owned(),
            },
            _ => Error::Mount {
                object: target.display().to_string(),
                source,
            },
        })?;
        std::fs::remove_file(&record).map_err(std_io("remove", &record))
    }

    /// Removes records of roots that are gone, then the mounts that no record names.
    pub(crate) fn sweep(&self) -> Result<()> {
        if !self.is_live()? {
            return Ok(());
        }
        let users = self.users()?;
        let path = self.layers_path();
        let used = |name: &OsStr, by: &BTreeSet<String>| {
            name.to_str().is_some_and(|name| by.contains(name))
        };
        let mut idle = users.roots.is_empty();
        for name in names(&path)? {
            let layer = path.join(&name);
            if used(&name, &users.here) {
                idle = false;
                continue;
            }
            if mount::is_mount_root(CWD, &layer).map_err(io("stat", &layer))? {
                // Lazily: whoever reads the mount directly (a backup, a shell) goes on.
                mount::unmount(&layer, Unmount::Lazy).map_err(|source| Error::Mount {
                    object: layer.display().to_string(),
                    source,
                })?;
            }
            if used(&name, &users.elsewhere) {
                idle = false;
            } else {
                std::fs::remove_dir(&layer).map_err(std_io("remove", &layer))?;
            }
        }
        if idle {
            let live = self.live();
            mount::unmount(&live, Unmount::Lazy).map_err(|source| Error::Mount {
                object: live.display().to_string(),
                source,
            })?;
        }
        Ok(())
    }

    /// What living roots use, of this namespace and of others. Records of roots that are gone from
    /// this namespace are removed on the way.
    fn users(&self) -> Result<Users> {
        let mut users = Users::default();
        let stacks = self.stacks();
        let names = names(&stacks)?;
        if names.is_empty() {
            return Ok(users);
        }
        let table = mount::table().map_err(std_io("read", "/proc/self/mountinfo"))?;
        for name in names {
            let path = stacks.join(&name);
            let text = std::fs::read(&path).map_err(std_io("read", &path))?;
            let key = RootKey::parse(&name);
            match (Record::decode(&text), key) {
                (Some(record), _) if record.namespace != self.namespace => {
                    users.elsewhere.extend(record.mounts.iter().cloned());
                    users.add(record);
                }
                (Some(record), Some(key)) if key.lives(&record, &table, Inode::at) => {
                    users.here.extend(record.mounts.iter().cloned());
                    users.add(record);
                }
                // Its root is gone, or its writer died before the root was there.
                _ => {
                    std::fs::remove_file(&path).map_err(std_io("remove", &path))?;
                    continue;
                }
            }
        }
        Ok(users)
    }

    fn record_path(&self, root: &RootKey) -> PathBuf {
        self.stacks().join(root.to_string())
    }
}

/// Who uses what.
#[derive(Debug, Default)]
struct Users {
    roots: Vec<LiveRoot>,
    /// Mount points that roots of this namespace use.
    here: BTreeSet<String>,
    /// Mount points that roots of other namespaces use.
    elsewhere: BTreeSet<String>,
    /// Layers that any root uses.
    layers: BTreeSet<DiffId>,
    /// Places of writable layers, and the empty path for roots that are read-only.
    places: BTreeSet<PathBuf>,
}

impl Users {
    fn add(&mut self, record: Record) {
        self.layers.extend(record.layers.iter().cloned());
        self.places.insert(record.place.clone());
        self.roots.push(LiveRoot {
            driver: record.driver,
            layers: record.layers,
            place: record.place,
            target: record.target,
        });
    }
}

fn namespace() -> Result<u64> {
    let path = "/proc/self/ns/mnt";
    Ok(std::fs::metadata(path).map_err(std_io("stat", path))?.ino())
}

fn make_dir(path: &Path) -> Result<()> {
    dir::make_private(path).map_err(std_io("create directory", path))
}

/// Opens a directory for use as a place in path look-ups.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(io("open", path))
}

/// Opens a directory beneath another.
pub(crate) fn open_dir_at(dir: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, path, flags, Mode::empty()).map_err(io("open", path))
}

/// Names in a directory; none if it is not there.
fn names(path: &Path) -> Result<Vec<OsString>> {
    dir::names(path).map_err(std_io("list", path))
}
