//! The run directory: which layers are mounted, and which stacks use them.
//!
//! ```text
//! <run>/lock                  held while anything below changes
//! <run>/live/                 a private tmpfs, while any layer is mounted
//!     layers/<32 digits>/     one EROFS mount for each layer, named by its id
//!     layers/empty-0, -1/     lower directories for stacks of fewer than two layers
//!     stacks/<minor>          a record for each root: who mounted it, where, from which layers
//! ```
//!
//! A record is named by the minor number of the root's overlay device, which no two living roots
//! share. It is written before the root becomes visible and removed after it is gone, so a crash
//! leaves a record without a root, never a root without its record, and a sweep can tell by the
//! table of mounts.
//!
//! The tmpfs is private, so that a hundred layers are not propagated into every mount namespace of
//! the host. Namespaces made while layers are mounted have copies of them; removing the mount
//! point removes those too. Mounts are visible in one namespace only, so records name theirs, and
//! a sweep judges only what was mounted in its own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use lapstrake_sys::mount::{self, Context, Restrictions, Unmount};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::error::{io, std_io};
use super::{Error, Result};

/// Where the driver keeps its mounts and records: a directory of its own, on this host, that does
/// not outlive a boot (below `/run`). One for each store.
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

    /// Waits until no other process changes the directory.
    pub(super) fn lock(&self) -> Result<Locked<'_>> {
        let path = self.path.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(std_io("open", &path))?;
        file.lock().map_err(std_io("lock", &path))?;
        Ok(Locked {
            run: &self.path,
            namespace: namespace()?,
            lock: file,
        })
    }
}

/// The run directory, for one process alone.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    run: &'a Path,
    /// Inode of this process' mount namespace.
    namespace: u64,
    lock: File,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing is not enough: a mount in another thread may hold a copy of the descriptor in its
        // own table while it waits for this very lock.
        drop(self.lock.unlock());
    }
}

impl Locked<'_> {
    /// Opens the directory of layer mounts, and mounts its tmpfs if this namespace has none.
    pub(super) fn layers(&self) -> Result<OwnedFd> {
        let live = self.live();
        make_dir(&live)?;
        if !self.is_live()? {
            let named = |source| Error::Mount {
                object: live.display().to_string(),
                source,
            };
            let tmpfs = Context::open("tmpfs").map_err(named)?;
            tmpfs.string("source", "lapstrake").map_err(named)?;
            tmpfs.string("mode", "0700").map_err(named)?;
            let tmpfs = tmpfs
                .create(Restrictions {
                    read_only: false,
                    inert: true,
                })
                .map_err(named)?;
            tmpfs.attach_at(&live).map_err(named)?;
            mount::make_private(&live).map_err(named)?;
        }
        make_dir(&self.stacks())?;
        make_dir(&self.layers_path())?;
        open_dir(&self.layers_path())
    }

    /// Path of the directory of layer mounts.
    pub(super) fn layers_path(&self) -> PathBuf {
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
    pub(super) fn fresh_dir(&self, name: &str) -> Result<PathBuf> {
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

    /// Writes that the overlay with device number `minor` uses `layers`.
    pub(super) fn record(&self, minor: u32, target: &Path, layers: &[&str]) -> Result<()> {
        let path = self.record_path(minor);
        let record = Record {
            namespace: self.namespace,
            layers: layers.iter().map(|name| (*name).to_owned()).collect(),
        };
        let mut file = File::create(&path).map_err(std_io("create", &path))?;
        file.write_all(&record.encode(target))
            .map_err(std_io("write", &path))
    }

    /// Forgets the overlay with device number `minor`.
    pub(super) fn forget(&self, minor: u32) -> Result<()> {
        let path = self.record_path(minor);
        std::fs::remove_file(&path).map_err(std_io("remove", &path))
    }

    /// Unmounts the root at `target`.
    pub(super) fn unmount_stack(&self, target: &Path) -> Result<()> {
        let not_mounted = || Error::NotMounted {
            target: target.to_owned(),
        };
        if !mount::is_mount_root(CWD, target).map_err(io("stat", target))? {
            return Err(not_mounted());
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = rustix::fs::statat(CWD, target, flags).map_err(io("stat", target))?;
        let minor = rustix::fs::minor(stat.st_dev);
        if rustix::fs::major(stat.st_dev) != 0 || !self.record_path(minor).exists() {
            return Err(not_mounted());
        }
        mount::unmount(target, Unmount::IfIdle).map_err(|source| match source.errno() {
            Errno::BUSY => Error::Busy {
                target: target.to_owned(),
            },
            _ => Error::Mount {
                object: target.display().to_string(),
                source,
            },
        })?;
        self.forget(minor)
    }

    /// Removes records of roots that are gone, then the mounts that no record names.
    pub(super) fn sweep(&self) -> Result<()> {
        if !self.is_live()? {
            return Ok(());
        }
        let (here, elsewhere) = self.layers_in_use()?;
        let path = self.layers_path();
        let used = |name: &OsStr, by: &BTreeSet<String>| {
            name.to_str().is_some_and(|name| by.contains(name))
        };
        let mut idle = true;
        for name in names(&path)? {
            let layer = path.join(&name);
            if used(&name, &here) {
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
            if used(&name, &elsewhere) {
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

    /// Names of the layers that living roots use, of this namespace and of others. Records of
    /// roots that are gone from this namespace are removed on the way.
    fn layers_in_use(&self) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let table = mount::table().map_err(std_io("read", "/proc/self/mountinfo"))?;
        let living: BTreeSet<u32> = table
            .iter()
            .filter(|mounted| mounted.filesystem == "overlay")
            .map(|mounted| mounted.device.1)
            .collect();
        let mut here = BTreeSet::new();
        let mut elsewhere = BTreeSet::new();
        let stacks = self.stacks();
        for name in names(&stacks)? {
            let path = stacks.join(&name);
            let text = std::fs::read(&path).map_err(std_io("read", &path))?;
            let minor = name.to_str().and_then(|name| name.parse().ok());
            match (Record::decode(&text), minor) {
                (Some(record), _) if record.namespace != self.namespace => {
                    elsewhere.extend(record.layers);
                }
                (Some(record), Some(minor)) if living.contains(&minor) => {
                    here.extend(record.layers);
                }
                // Its root is gone, or its writer died before the root was there.
                _ => std::fs::remove_file(&path).map_err(std_io("remove", &path))?,
            }
        }
        Ok((here, elsewhere))
    }

    fn record_path(&self, minor: u32) -> PathBuf {
        self.stacks().join(minor.to_string())
    }
}

/// What is written about a root.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    namespace: u64,
    layers: Vec<String>,
}

const RECORD_VERSION: &str = "lapstrake stack 1";

impl Record {
    /// Lines: version, namespace, layers, an end mark; then the target as it is, for people.
    fn encode(&self, target: &Path) -> Vec<u8> {
        let mut text = format!("{RECORD_VERSION}\n{}\n", self.namespace).into_bytes();
        for layer in &self.layers {
            text.extend_from_slice(layer.as_bytes());
            text.push(b'\n');
        }
        text.extend_from_slice(b".\n");
        text.extend_from_slice(target.as_os_str().as_bytes());
        text
    }

    /// `None` for a record that was not finished, or is not one.
    fn decode(text: &[u8]) -> Option<Self> {
        let mut lines = text
            .split(|b| *b == b'\n')
            .map(|line| std::str::from_utf8(line).ok());
        if lines.next()?? != RECORD_VERSION {
            return None;
        }
        let namespace = lines.next()??.parse().ok()?;
        let mut layers = Vec::new();
        loop {
            match lines.next()?? {
                "." => return Some(Self { namespace, layers }),
                layer => layers.push(layer.to_owned()),
            }
        }
    }
}

fn namespace() -> Result<u64> {
    let path = "/proc/self/ns/mnt";
    Ok(std::fs::metadata(path).map_err(std_io("stat", path))?.ino())
}

fn make_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(std_io("create directory", path))
}

/// Opens a directory for use as a place in path look-ups.
pub(super) fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(io("open", path))
}

/// Opens a directory beneath another.
pub(super) fn open_dir_at(dir: impl AsFd, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, path, flags, Mode::empty()).map_err(io("open", path))
}

/// Names in a directory; none if it is not there.
fn names(path: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(std_io("list", path)(error)),
    };
    entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<_>>()
        .map_err(std_io("list", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back() {
        let record = Record {
            namespace: 7,
            layers: vec!["aa".to_owned(), "bb".to_owned()],
        };
        assert_eq!(
            Record::decode(&record.encode(Path::new("/a\n.\nb"))),
            Some(record)
        );
    }

    #[test]
    fn an_unfinished_record_is_none() {
        let record = Record {
            namespace: 7,
            layers: vec!["aa".to_owned()],
        };
        let text = record.encode(Path::new(""));
        for length in 0..text.len() - 2 {
            assert_eq!(Record::decode(&text[..length]), None, "{length}");
        }
    }
}
