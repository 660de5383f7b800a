//! What a container sees: its root, and over that what is mounted in it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags};

use super::error::{Error, Result};
use super::walk::{Last, Missing, Name, Walker, shown};

/// Something that is mounted in a container: a bind, a volume, a file such as `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where it is on the host. Links are followed.
    pub source: PathBuf,
    /// Where the container has it.
    pub destination: PathBuf,
    /// Whether the container may write there.
    pub writable: bool,
}

/// A container's files as it sees them.
#[derive(Debug)]
pub struct View {
    pub(super) root: Arc<OwnedFd>,
    /// What is mounted, by the path without links at which it is.
    pub(super) mounts: BTreeMap<Vec<Name>, Shown>,
    pub(super) read_only_root: bool,
}

/// Something that is mounted, opened when somebody goes there.
#[derive(Debug)]
pub(super) struct Shown {
    source: PathBuf,
    pub(super) writable: bool,
    open: OnceLock<Arc<OwnedFd>>,
}

impl View {
    /// Puts together the root at `root`, a mounted directory, and what is mounted in it.
    ///
    /// # Errors
    /// If the root can't be opened, or a destination is no path in it.
    pub fn open(root: &Path, attachments: &[Attachment], read_only_root: bool) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, root, flags, Mode::empty());
        let opened = opened.map_err(|errno| Error::Io {
            action: "open the root of the container at",
            path: root.display().to_string(),
            source: errno.into(),
        })?;
        let mut view = Self {
            root: Arc::new(opened),
            mounts: BTreeMap::new(),
            read_only_root,
        };
        let mut sorted: Vec<&Attachment> = attachments.iter().collect();
        sorted.sort_by_key(|attachment| attachment.destination.components().count());
        for attachment in sorted {
            let destination = attachment.destination.as_os_str().as_encoded_bytes();
            // What was mounted before decides where the links on the way lead.
            let place = Walker::at_root(&view).resolved(destination)?;
            let shown = Shown {
                source: attachment.source.clone(),
                writable: attachment.writable,
                open: OnceLock::new(),
            };
            view.mounts.insert(place, shown);
        }
        Ok(view)
    }

    /// The directory at a path, if there is one. Links are followed.
    pub(crate) fn directory(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let mut walker = Walker::at_root(self);
        let path = path.as_os_str().as_encoded_bytes();
        match walker.go(path, Last::Follow, Missing::Refuse) {
            Ok(None) => {
                let dir = walker.dir().try_clone_to_owned();
                let dir = dir.map_err(|source| Error::Io {
                    action: "open",
                    path: shown(walker.path()),
                    source,
                })?;
                Ok(Some(dir))
            }
            Ok(Some(_)) | Err(Error::NotFound(_) | Error::NotADirectory(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What the mount that a path lies in says about writing.
    pub(super) fn check_writable(&self, path: &[Name]) -> Result<()> {
        let mount = (0..=path.len())
            .rev()
            .find_map(|length| self.mounts.get(&path[..length]));
        match mount {
            Some(mount) if mount.writable => Ok(()),
            Some(_) => Err(Error::ReadOnlyVolume),
            None if self.read_only_root => Err(Error::ReadOnlyRoot),
            None => Ok(()),
        }
    }

    /// Names of what is mounted directly in a directory.
    pub(super) fn mounts_in(&self, path: &[Name]) -> impl Iterator<Item = &Name> {
        let depth = path.len() + 1;
        let below = self.mounts.keys().filter(move |at| at.len() == depth);
        below
            .filter_map(|at| at.split_last())
            .filter(move |(_, above)| *above == path)
            .map(|(name, _)| name)
    }

    /// Whether something is mounted at a path or below it.
    pub(super) fn has_mount_below(&self, path: &[Name]) -> bool {
        self.mounts.keys().any(|at| at.starts_with(path))
    }
}

impl Shown {
    pub(super) fn open(&self) -> Result<Arc<OwnedFd>> {
        if let Some(open) = self.open.get() {
            return Ok(Arc::clone(open));
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, &self.source, flags, Mode::empty());
        let opened = opened.map_err(|errno| Error::Io {
            action: "open what is mounted in the container from",
            path: self.source.display().to_string(),
            source: errno.into(),
        })?;
        Ok(Arc::clone(self.open.get_or_init(|| Arc::new(opened))))
    }
}
