//! A tar, put into a directory of a container.
//!
//! Links that the container has are followed, as the container would, and never out of it. An entry takes
//! the place of what has its name, but for directories, which are merged.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use lapstrake_sys::descent;
use lapstrake_tree::archive::{Archive, Entry, EntryKind};
use lapstrake_tree::model::{Device, Metadata, Timestamp};
use lapstrake_tree::write::DataRun;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{Error, Result, refused};
use super::view::View;
use super::walk::{Last, Missing, Name, Walker, kind, shown};
use crate::files;

/// How a tar is put into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutOptions {
    /// Whether a directory may take the place of something else, and something else that of a directory.
    pub replace_across_kinds: bool,
    /// Whose everything is, instead of those whom the tar names: user and group.
    pub owner: Option<(u32, u32)>,
}

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 256 << 10;

impl View {
    /// Puts all of a tar, which is not compressed, into the directory at `path`. Links at its end are followed.
    ///
    /// # Errors
    /// If there is no such directory, the container may not write there, the tar is not sound, or the disk is full. What
    /// came before the error is there.
    pub fn put(&self, path: &str, tar: impl Read, options: PutOptions) -> Result<()> {
        let mut base = Walker::at_root(self);
        let path = crate::mounts::clean_path(&format!("/{path}"));
        let path = path.as_os_str().as_bytes();
        if let Some(leaf) = base.go(path, Last::Follow, Missing::Refuse)? {
            return Err(match leaf.file {
                None => Error::NotFound(shown(&base.path_of(&leaf.name))),
                Some(_) => Error::NoDirectory,
            });
        }
        self.check_writable(base.path())?;
        let mut putter = Putter {
            base,
            options,
            directories: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
        };
        let mut archive = Archive::new(tar);
        while let Some(entry) = archive.next_entry()? {
            putter.put(entry, &mut archive)?;
        }
        putter.finish()
    }
}

struct Putter<'v> {
    /// The directory that everything is put in.
    base: Walker<'v>,
    options: PutOptions,
    /// Directories, and the times that they get when everything is in them.
    directories: Vec<(Vec<u8>, Timestamp)>,
    buffer: Vec<u8>,
}

impl Putter<'_> {
    fn put(&mut self, entry: Entry, archive: &mut Archive<impl Read>) -> Result<()> {
        let Some(name) = local(&entry.name) else {
            return Err(Error::Outside {
                name: lossy(&entry.name),
                directory: shown(self.base.path()),
            });
        };
        let is_directory = entry.kind == EntryKind::Directory;
        let (parent, last) = split(&name);
        if last.is_empty() {
            // The directory itself stays as it is.
            return if is_directory {
                Ok(())
            } else {
                Err(self.directory_there(self.base.path()))
            };
        }
        let mut walker = self.base.clone();
        // With a dot behind them, all parts are on the way, and are made.
        let way = if parent.is_empty() {
            b".".to_vec()
        } else {
            [parent, b"/."].concat()
        };
        walker.go(&way, Last::Follow, Missing::Make)?;
        let there = self.make_room(&walker, last, &entry)?;
        let mut metadata = entry.metadata;
        if let Some((uid, gid)) = self.options.owner {
            (metadata.uid, metadata.gid) = (uid, gid);
        }
        if is_directory {
            let mtime = metadata.mtime;
            make_directory(&walker, last, &metadata, there)?;
            self.directories.push((name, mtime));
            return Ok(());
        }
        walker.view().check_writable(walker.path())?;
        match entry.kind {
            EntryKind::File { size, runs } => {
                self.file(&walker, last, &metadata, size, &runs, archive)
            }
            EntryKind::HardLink(target) => self.hard_link(&walker, last, &target),
            EntryKind::Symlink(target) => {
                if !target.starts_with(b"/") && local(&[parent, b"/", &target].concat()).is_none() {
                    return Err(Error::SymlinkOutside {
                        name: shown(&walker.path_of(last)),
                        target: lossy(&target),
                    });
                }
                let made = rustix::fs::symlinkat(&*target, walker.dir(), last);
                finish(&walker, last, FileType::Symlink, &metadata, made)
            }
            EntryKind::CharDevice(device) => {
                make_node(&walker, last, FileType::CharacterDevice, device, &metadata)
            }
            EntryKind::BlockDevice(device) => {
                make_node(&walker, last, FileType::BlockDevice, device, &metadata)
            }
            EntryKind::Fifo => {
                let none = Device { major: 0, minor: 0 };
                make_node(&walker, last, FileType::Fifo, none, &metadata)
            }
            EntryKind::Directory => Ok(()),
        }
    }

    /// Takes away what an entry replaces. What is there and stays: a directory, for a directory.
    fn make_room(
        &self,
        walker: &Walker<'_>,
        name: &[u8],
        entry: &Entry,
    ) -> Result<Option<std::sync::Arc<OwnedFd>>> {
        let Some(there) = walker.child(name)? else {
            return Ok(None);
        };
        let path = walker.path_of(name);
        let is_directory = entry.kind == EntryKind::Directory;
        match (kind(&there, &path)? == FileType::Directory, is_directory) {
            (true, true) => return Ok(Some(there)),
            (true, false) if !self.options.replace_across_kinds => {
                return Err(self.directory_there(&path));
            }
            (false, true) if !self.options.replace_across_kinds => {
                return Err(Error::NoDirectoryThere {
                    path: shown(&path),
                    directory: shown(self.base.path()),
                });
            }
            _ => {}
        }
        if walker.view().has_mount_below(&path) {
            return Err(Error::Busy(shown(&path)));
        }
        walker.view().check_writable(walker.path())?;
        remove(walker, name)?;
        Ok(None)
    }

    fn directory_there(&self, path: &[Name]) -> Error {
        Error::DirectoryThere {
            path: shown(path),
            directory: shown(self.base.path()),
        }
    }

    fn file(
        &mut self,
        walker: &Walker<'_>,
        name: &[u8],
        metadata: &Metadata,
        size: u64,
        runs: &[DataRun],
        archive: &mut Archive<impl Read>,
    ) -> Result<()> {
        let path = walker.path_of(name);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(walker.dir(), name, flags, mode);
        let file = File::from(file.map_err(refused("create", &path))?);
        for run in runs {
            let (mut at, mut left) = (run.offset, run.length);
            while left > 0 {
                let room = usize::try_from(left)
                    .unwrap_or(BUFFER_BYTES)
                    .min(BUFFER_BYTES);
                let buffer = &mut self.buffer[..room];
                let read = archive.body().read_exact(buffer);
                read.map_err(|source| unreadable(&path, source))?;
                file.write_all_at(buffer, at).map_err(|source| Error::Io {
                    action: "write",
                    path: shown(&path),
                    source,
                })?;
                at += room as u64;
                left -= room as u64;
            }
        }
        if runs.last().is_none_or(|run| run.offset + run.length < size) {
            rustix::fs::ftruncate(&file, size).map_err(refused("write", &path))?;
        }
        files::give(file.as_fd(), metadata).map_err(refused("set the attributes of", &path))
    }

    fn hard_link(&self, walker: &Walker<'_>, name: &[u8], target: &[u8]) -> Result<()> {
        let path = walker.path_of(name);
        let outside = || Error::LinkOutside {
            name: shown(&path),
            target: lossy(target),
        };
        let local = local(target).ok_or_else(outside)?;
        let (parent, last) = split(&local);
        if last.is_empty() {
            return Err(outside());
        }
        let mut from = self.base.clone();
        if let Some(leaf) = from.go(parent, Last::Follow, Missing::Refuse)? {
            return Err(Error::NotADirectory(shown(&from.path_of(&leaf.name))));
        }
        let linked = rustix::fs::linkat(from.dir(), last, walker.dir(), name, AtFlags::empty());
        linked.map_err(refused("link", &path))
    }

    /// Gives directories their times, those below first.
    fn finish(self) -> Result<()> {
        for (name, time) in self.directories.iter().rev() {
            let (parent, last) = split(name);
            let mut walker = self.base.clone();
            if walker.go(parent, Last::Follow, Missing::Refuse)?.is_some() {
                continue;
            }
            let path = walker.path_of(last);
            // What was put in its place later in the tar, or by the container, has its own.
            let Some(directory) = walker.child(last)? else {
                continue;
            };
            if kind(&directory, &path)? == FileType::Directory {
                let given = files::give_times(directory.as_fd(), *time);
                given.map_err(refused("set the times of", &path))?;
            }
        }
        Ok(())
    }
}

fn make_directory(
    walker: &Walker<'_>,
    name: &[u8],
    metadata: &Metadata,
    there: Option<std::sync::Arc<OwnedFd>>,
) -> Result<()> {
    let path = walker.path_of(name);
    if let Some(there) = there {
        walker.view().check_writable(&path)?;
        let given = files::give(there.as_fd(), metadata);
        return given.map_err(refused("set the attributes of", &path));
    }
    walker.view().check_writable(walker.path())?;
    let made = rustix::fs::mkdirat(walker.dir(), name, Mode::RWXU);
    finish(walker, name, FileType::Directory, metadata, made)
}

fn make_node(
    walker: &Walker<'_>,
    name: &[u8],
    kind: FileType,
    device: Device,
    metadata: &Metadata,
) -> Result<()> {
    let number = rustix::fs::makedev(device.major, device.minor);
    let made = rustix::fs::mknodat(walker.dir(), name, kind, Mode::empty(), number);
    finish(walker, name, kind, metadata, made)
}

/// Gives what was made its attributes, if it is still there.
fn finish(
    walker: &Walker<'_>,
    name: &[u8],
    wanted: FileType,
    metadata: &Metadata,
    made: std::result::Result<(), rustix::io::Errno>,
) -> Result<()> {
    let path = walker.path_of(name);
    made.map_err(refused("create", &path))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(walker.dir(), name, flags, Mode::empty());
    let file = file.map_err(refused("open", &path))?;
    if kind(&file, &path)? != wanted {
        // The container was faster, and has what it wants.
        return Ok(());
    }
    files::give(file.as_fd(), metadata).map_err(refused("set the attributes of", &path))
}

/// Removes a name and all below it. No link is followed, and nothing that the container moves meanwhile leads
/// elsewhere.
fn remove(walker: &Walker<'_>, name: &[u8]) -> Result<()> {
    let path = walker.path_of(name);
    let removed = match CString::new(name) {
        Ok(name) => descent::remove_all(walker.dir(), &name),
        Err(_nul) => Err(Errno::INVAL),
    };
    removed.map_err(|errno| match errno {
        Errno::XDEV => Error::Busy(shown(&path)),
        errno => refused("remove", &path)(errno),
    })
}

/// A name without `.`, `..` and slashes at its ends; nothing if it leads out of where it begins.
fn local(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// The directory and the last name of a local name.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&name[..slash], &name[slash + 1..]),
        None => (b"", name),
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(200)]).into_owned()
}

fn unreadable(path: &[Name], source: std::io::Error) -> Error {
    Error::Io {
        action: "read the archive for",
        path: shown(path),
        source,
    }
}
