//! Walking in a view as the container would.
//!
//! The way from the root to where the walker is, is a stack of open directories. Nothing but a single name is ever
//! looked up by the kernel, and never through a link.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{Error, Result, refused};
use super::view::View;

/// A name in a directory.
pub(super) type Name = Box<[u8]>;

/// Links that one path may lead through: Linux' MAXSYMLINKS.
const LINKS_MAX: u32 = 40;
/// Directories that are held open on the way down: a path of `PATH_MAX` can't name more.
pub(super) const DEPTH_MAX: usize = 2048;
/// Longest path, in bytes: Linux' `PATH_MAX`.
const PATH_BYTES_MAX: usize = 4096;

/// What becomes of a link at a path's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    Follow,
    Keep,
}

/// What becomes of directories on the way that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Refuse,
    Make,
}

/// Somebody in a directory of a view.
#[derive(Debug, Clone)]
pub(super) struct Walker<'v> {
    view: &'v View,
    names: Vec<Name>,
    dirs: Vec<Arc<OwnedFd>>,
}

/// What a path leads to that is no directory.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) name: Name,
    /// Nothing if it is not there.
    pub(super) file: Option<Arc<OwnedFd>>,
}

impl<'v> Walker<'v> {
    pub(super) fn at_root(view: &'v View) -> Self {
        Self {
            view,
            names: Vec::new(),
            dirs: Vec::new(),
        }
    }

    pub(super) fn view(&self) -> &'v View {
        self.view
    }

    /// Where it is: a path without links.
    pub(super) fn path(&self) -> &[Name] {
        &self.names
    }

    /// The path of a name where it is.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<Name> {
        let mut path = self.names.clone();
        path.push(name.into());
        path
    }

    /// The directory where it is (`O_PATH`).
    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dirs.last().unwrap_or(&self.view.root).as_fd()
    }

    pub(super) fn enter(&mut self, name: Name, dir: Arc<OwnedFd>) -> Result<()> {
        if self.dirs.len() >= DEPTH_MAX {
            return Err(Error::TooDeep(shown(&self.names)));
        }
        self.names.push(name);
        self.dirs.push(dir);
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.names.pop();
        self.dirs.pop();
    }

    /// What has a name here; what is mounted there counts, and a link is not followed.
    pub(super) fn child(&self, name: &[u8]) -> Result<Option<Arc<OwnedFd>>> {
        if !self.view.mounts.is_empty()
            && let Some(mount) = self.view.mounts.get(&self.path_of(name))
        {
            return mount.open().map(Some);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(self.dir(), name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(Arc::new(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused("open", &self.path_of(name))(errno)),
        }
    }

    /// Goes along a path. Nothing if that leads to a directory: the walker is there then. Else what is there, or
    /// could be, in the directory where the walker is.
    pub(super) fn go(&mut self, path: &[u8], last: Last, missing: Missing) -> Result<Option<Leaf>> {
        let mut way = Way::along(path)?;
        if path.first() == Some(&b'/') {
            self.go_to_root();
        }
        while let Some(name) = way.parts.pop_front() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    self.leave();
                    continue;
                }
                _ => {}
            }
            let is_last = way.parts.is_empty();
            let Some(file) = self.child(&name)? else {
                if is_last {
                    return Ok(Some(Leaf { name, file: None }));
                }
                if missing == Missing::Refuse {
                    return Err(Error::NotFound(shown(&self.path_of(&name))));
                }
                let dir = self.make(&name)?;
                self.enter(name, dir)?;
                continue;
            };
            match kind(&file, &self.path_of(&name))? {
                FileType::Directory => self.enter(name, file)?,
                FileType::Symlink if !is_last || last == Last::Follow => {
                    self.follow(&mut way, &name, &file)?;
                }
                _ if is_last => {
                    return Ok(Some(Leaf {
                        name,
                        file: Some(file),
                    }));
                }
                _ => return Err(Error::NotADirectory(shown(&self.path_of(&name)))),
            }
        }
        Ok(None)
    }

    /// The path without links that a path leads to, whatever of it is there.
    pub(super) fn resolved(mut self, path: &[u8]) -> Result<Vec<Name>> {
        let mut way = Way::along(path)?;
        self.go_to_root();
        while let Some(name) = way.parts.pop_front() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    self.leave();
                    continue;
                }
                _ => {}
            }
            let found = match self.child(&name)? {
                Some(file) => Some((kind(&file, &self.path_of(&name))?, file)),
                None => None,
            };
            match found {
                Some((FileType::Directory, dir)) => self.enter(name, dir)?,
                Some((FileType::Symlink, link)) => self.follow(&mut way, &name, &link)?,
                _ => {
                    // Nothing there that leads elsewhere: the rest is text.
                    let mut rest = self.names;
                    rest.push(name);
                    for name in way.parts {
                        match &*name {
                            b"" | b"." => {}
                            b".." => drop(rest.pop()),
                            _ => rest.push(name),
                        }
                    }
                    return Ok(rest);
                }
            }
        }
        Ok(self.names)
    }

    fn go_to_root(&mut self) {
        self.names.clear();
        self.dirs.clear();
    }

    fn follow(&mut self, way: &mut Way, name: &[u8], link: &OwnedFd) -> Result<()> {
        let path = || self.path_of(name);
        way.links += 1;
        if way.links > LINKS_MAX {
            return Err(Error::Loop(shown(&path())));
        }
        let target = rustix::fs::readlinkat(link, "", Vec::new());
        let target = target.map_err(|errno| refused("read", &path())(errno))?;
        let target = target.as_bytes();
        let bytes: usize = way.parts.iter().map(|part| part.len() + 1).sum();
        if bytes + target.len() > PATH_BYTES_MAX * 2 {
            return Err(Error::Loop(shown(&path())));
        }
        for part in target.rsplit(|byte| *byte == b'/') {
            way.parts.push_front(part.into());
        }
        if target.first() == Some(&b'/') {
            self.go_to_root();
        }
        Ok(())
    }

    /// Makes a directory on the way to something.
    fn make(&self, name: &[u8]) -> Result<Arc<OwnedFd>> {
        let path = self.path_of(name);
        self.view.check_writable(&self.names)?;
        match rustix::fs::mkdirat(self.dir(), name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(refused("create", &path)(errno)),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let made = rustix::fs::openat(self.dir(), name, flags, Mode::empty());
        made.map(Arc::new).map_err(refused("open", &path))
    }
}

/// What is left of a path, and of patience.
struct Way {
    parts: VecDeque<Name>,
    links: u32,
}

impl Way {
    fn along(path: &[u8]) -> Result<Self> {
        if path.len() > PATH_BYTES_MAX || path.contains(&0) {
            let shown = String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
            return Err(Error::NotFound(shown));
        }
        Ok(Self {
            parts: path.split(|byte| *byte == b'/').map(Into::into).collect(),
            links: 0,
        })
    }
}

/// What an open file is.
pub(super) fn kind(file: &OwnedFd, path: &[Name]) -> Result<FileType> {
    let stat = rustix::fs::fstat(file).map_err(refused("look at", path))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// A path for messages.
pub(super) fn shown(path: &[Name]) -> String {
    let path = path.join(&b'/');
    format!("/{}", String::from_utf8_lossy(&path))
}
