//! What an image has where a new volume is mounted, copied into the volume.
//!
//! Everything comes along: owners, modes, attributes, times, devices, holes, and which names are the same file.
//! Attributes that the volume's file system does not have are left out, and sockets: what listened is not
//! there. Blocks are shared where the file system can.
//!
//! Every step is taken beneath an open directory by a single name, and no link is followed.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lapstrake_sys::copy;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::archive::{Error as ViewError, View};
use crate::files::{self, Keep};

/// Why content was not copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image's root can't be walked.
    #[error(transparent)]
    Root(#[from] ViewError),
    /// A file can't be copied.
    #[error("cannot {action} {path:?} for a new volume: {source}")]
    Io {
        /// The verb.
        action: &'static str,
        /// On what, seen from the volume.
        path: String,
        /// Why.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, Error>;

/// Directories that are open at once on the way down.
const DEPTH_MAX: usize = 2048;

/// The directory that a root has at a path, if it has one there; links in it are followed as in a container.
///
/// # Errors
/// If the root can't be walked.
pub fn content_at(root: &Path, destination: &Path) -> Result<Option<OwnedFd>> {
    let view = View::open(root, &[], false)?;
    Ok(view.directory(destination)?)
}

/// Whether a directory is empty.
///
/// # Errors
/// If it can't be listed.
pub fn is_empty(dir: BorrowedFd<'_>) -> Result<bool> {
    Ok(list(dir).map_err(failed("list", b""))?.is_empty())
}

/// Removes all that is in a directory.
///
/// # Errors
/// If something can't be removed.
pub fn clear(dir: BorrowedFd<'_>) -> Result<()> {
    let dir = open_dir(dir, b".").map_err(failed("open", b""))?;
    lapstrake_sys::descent::clear(dir).map_err(failed("empty", b""))
}

/// Copies what is in the directory `from`, and its own attributes, to the empty directory `to`.
///
/// # Errors
/// If something can't be read or written. What was copied before is there.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let open = |dir: BorrowedFd<'_>| open_dir(dir, b".").map_err(failed("open", b""));
    let mut copier = Copier {
        root: open(to)?,
        linked: HashMap::new(),
        shares: true,
    };
    copier.run(open(from)?, open(to)?)
}

struct Copier {
    root: OwnedFd,
    /// The first copy of every file that has several names, by device and inode.
    linked: HashMap<(u64, u64), Vec<u8>>,
    shares: bool,
}

struct Frame {
    from: OwnedFd,
    to: OwnedFd,
    names: std::vec::IntoIter<CString>,
    /// Length of its path.
    length: usize,
}

impl Copier {
    fn run(&mut self, from: OwnedFd, to: OwnedFd) -> Result<()> {
        let mut path = Vec::new();
        let mut stack = vec![frame(from, to, &path)?];
        while let Some(top) = stack.last_mut() {
            path.truncate(top.length);
            let Some(name) = top.names.next() else {
                // After what is in it, which changes its times.
                let given = attributes(&top.from).and_then(|of| files::give(top.to.as_fd(), &of));
                given.map_err(failed("set the attributes of", &path))?;
                stack.pop();
                continue;
            };
            let name = name.as_bytes();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if let Some((from, to)) = self.entry(top, name, &path)? {
                if stack.len() >= DEPTH_MAX {
                    return Err(failed("copy", &path)(Errno::NAMETOOLONG));
                }
                stack.push(frame(from, to, &path)?);
            }
        }
        Ok(())
    }

    /// Copies one entry. Of a directory, both directories to go on with.
    fn entry(
        &mut self,
        dirs: &Frame,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<(OwnedFd, OwnedFd)>> {
        let to = dirs.to.as_fd();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = match rustix::fs::openat(&dirs.from, name, flags, Mode::empty()) {
            Ok(from) => from,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed("open", path)(errno)),
        };
        let stat = rustix::fs::fstat(&from).map_err(failed("look at", path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(failed("create", path))?;
            let made = open_dir(to, name).map_err(failed("open", path))?;
            let read = open_dir(from.as_fd(), b".").map_err(failed("open", path))?;
            return Ok(Some((read, made)));
        }
        if stat.st_nlink > 1 {
            match self.linked.entry((stat.st_dev, stat.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    link(self.root.as_fd(), first.get(), to, name).map_err(failed("link", path))?;
                    return Ok(None);
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(path.to_vec());
                }
            }
        }
        let made = match kind {
            FileType::RegularFile => OwnedFd::from(self.file(&from, to, name, path)?),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&from, "", Vec::new());
                let target = target.map_err(failed("read", path))?;
                rustix::fs::symlinkat(&target, to, name).map_err(failed("create", path))?;
                rustix::fs::openat(to, name, flags, Mode::empty()).map_err(failed("open", path))?
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                let made = rustix::fs::mknodat(to, name, kind, Mode::empty(), stat.st_rdev);
                made.map_err(failed("create", path))?;
                rustix::fs::openat(to, name, flags, Mode::empty()).map_err(failed("open", path))?
            }
            FileType::Socket | FileType::Unknown | FileType::Directory => return Ok(None),
        };
        let given = attributes(&from).and_then(|of| files::give(made.as_fd(), &of));
        given.map_err(failed("set the attributes of", path))?;
        Ok(None)
    }

    fn file(
        &mut self,
        from: &OwnedFd,
        to: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<File> {
        let source = files::reopen(from.as_fd(), OFlags::RDONLY).map_err(failed("open", path))?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(to, name, flags, mode).map_err(failed("create", path))?;
        let file = File::from(file);
        let size = source
            .metadata()
            .map_err(|source| refused("look at", path, source))?
            .len();
        if size > 0 && self.shares {
            let shared = copy::share_all(source.as_fd(), file.as_fd());
            self.shares = shared.map_err(failed("copy", path))?;
        }
        if size > 0 && !self.shares {
            let copied = copy::whole(&source, &file, size);
            copied.map_err(|source| refused("copy", path, source))?;
        }
        Ok(file)
    }
}

fn frame(from: OwnedFd, to: OwnedFd, path: &[u8]) -> Result<Frame> {
    let names = list(from.as_fd()).map_err(failed("list", path))?;
    Ok(Frame {
        from,
        to,
        names: names.into_iter(),
        length: path.len(),
    })
}

fn attributes(of: &OwnedFd) -> std::result::Result<lapstrake_tree::model::Metadata, Errno> {
    let stat = rustix::fs::fstat(of)?;
    files::metadata(of.as_fd(), &stat, Keep::All)
}

fn list(dir: BorrowedFd<'_>) -> std::result::Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(open_dir(dir, b".")?)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn open_dir(parent: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Gives a file one more name. The first one is looked up anew, without following links.
fn link(
    root: BorrowedFd<'_>,
    first: &[u8],
    parent: BorrowedFd<'_>,
    name: &[u8],
) -> std::result::Result<(), Errno> {
    let (dir, last) = match first.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&first[..slash], &first[slash + 1..]),
        None => (&b"."[..], first),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let dir = rustix::fs::openat2(root, dir, flags, Mode::empty(), resolve)?;
    rustix::fs::linkat(&dir, last, parent, name, AtFlags::empty())
}

fn failed(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    let path = path.to_vec();
    move |errno| refused(action, &path, errno.into())
}

fn refused(action: &'static str, path: &[u8], source: io::Error) -> Error {
    Error::Io {
        action,
        path: format!("/{}", String::from_utf8_lossy(path)),
        source,
    }
}

#[cfg(test)]
mod tests;
