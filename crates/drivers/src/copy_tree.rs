//! A directory and all below it, copied: contents by shared blocks where the file system can.
//!
//! Everything comes along: owners, modes, extended attributes, times, devices, holes, and which names
//! are the same file. As in [`crate::unpack`], every step is taken beneath an open directory by a
//! single name, and no link is followed. Sockets stay behind: what listened is not there.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lapstrake_snapshot::{Result, io};
use lapstrake_sys::{copy, xattr};
use lapstrake_tree::model::{Metadata, Timestamp, Xattrs};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::unpack::{Attributes, Failed, Marks, Was, beneath, failed, link, open_dir, push};

/// How many directories above the one that is copied are kept open, in both trees.
const OPEN_ABOVE: usize = 32;

/// Copies what is in `from`, and its own attributes, to the empty directory `to`.
pub(crate) fn copy_tree(from: &Path, to: &Path, attributes: Attributes) -> Result<()> {
    let open = |path: &Path| {
        open_dir(rustix::fs::CWD, path.as_os_str().as_bytes()).map_err(io("open", path))
    };
    let copier = Copier {
        from,
        root: open(to)?,
        attributes,
        linked: HashMap::new(),
        shares: true,
    };
    copier.run(open(from)?, open(to)?)
}

struct Copier<'a> {
    from: &'a Path,
    root: OwnedFd,
    attributes: Attributes,
    /// The first copy of every file that has several names, by device and inode.
    linked: HashMap<(u64, u64), Box<[u8]>>,
    shares: bool,
}

struct Frame {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    metadata: Metadata,
    names: std::vec::IntoIter<CString>,
    parent_path: usize,
}

impl Copier<'_> {
    fn run(mut self, from: OwnedFd, to: OwnedFd) -> Result<()> {
        let mut path = Vec::new();
        let top = frame(from, to, 0).map_err(|error| error.at(self.from, b"", b""))?;
        let mut stack = vec![top];
        while let Some(top) = stack.last_mut() {
            let (Some(from), Some(to)) = (&top.from, &top.to) else {
                unreachable!("the directory being copied is open");
            };
            if let Some(name) = top.names.next() {
                let name = name.as_bytes();
                let parent_path = path.len();
                let inside = self
                    .entry(from.as_fd(), to.as_fd(), &path, name)
                    .and_then(|inside| {
                        let open = |(from, to)| frame(from, to, parent_path);
                        inside.map(open).transpose()
                    })
                    .map_err(|error| error.at(self.from, &path, name))?;
                if let Some(inside) = inside {
                    push(&mut path, name);
                    stack.push(inside);
                    if let Some(above) = stack.len().checked_sub(OPEN_ABOVE + 2) {
                        (stack[above].from, stack[above].to) = (None, None);
                    }
                }
                continue;
            }
            let (Some(from), Some(to)) = (top.from.take(), top.to.take()) else {
                unreachable!("the directory being copied is open");
            };
            self.attributes
                .of_directory(to.as_fd(), &top.metadata, Was::New, Marks::Kept)
                .map_err(|error| error.at(self.from, &path, b""))?;
            path.truncate(top.parent_path);
            stack.pop();
            if let Some(parent) = stack.last_mut()
                && parent.from.is_none()
            {
                let up = |dir: &OwnedFd| open_dir(dir.as_fd(), b"..");
                parent.from = Some(up(&from).map_err(io("go up in", self.from))?);
                parent.to = Some(up(&to).map_err(io("go up in", self.from))?);
            }
        }
        Ok(())
    }

    /// Copies one entry. Of a directory, both directories to go on with.
    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        parent_path: &[u8],
        name: &[u8],
    ) -> std::result::Result<Option<(OwnedFd, OwnedFd)>, Failed> {
        let stat =
            rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(failed("copy"))?;
            let open = |parent| open_dir(parent, name).map_err(failed("open"));
            return Ok(Some((open(from)?, open(to)?)));
        }
        if stat.st_nlink > 1 {
            let mut path = parent_path.to_vec();
            push(&mut path, name);
            match self.linked.entry((stat.st_dev, stat.st_ino)) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    link(self.root.as_fd(), first.get(), to, name).map_err(failed("link"))?;
                    return Ok(None);
                }
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(path.into());
                }
            }
        }
        let metadata = metadata(from, name, &stat)?;
        match kind {
            FileType::RegularFile => {
                let file = self.file(from, to, name)?;
                self.attributes.of_file(file.as_fd(), &metadata)?;
                return Ok(None);
            }
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed("read"))?;
                rustix::fs::symlinkat(&target, to, name).map_err(failed("copy"))?;
            }
            FileType::Socket | FileType::Unknown | FileType::Directory => return Ok(None),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                rustix::fs::mknodat(to, name, kind, Mode::empty(), stat.st_rdev)
                    .map_err(failed("copy"))?;
            }
        }
        let is_link = kind == FileType::Symlink;
        self.attributes.of_name(to, name, is_link, &metadata)?;
        Ok(None)
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &[u8],
    ) -> std::result::Result<File, Failed> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source =
            rustix::fs::openat(from, name, flags, Mode::empty()).map_err(failed("open"))?;
        let source = File::from(source);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(to, name, flags, mode).map_err(failed("copy"))?;
        let file = File::from(file);
        let size = rustix::fs::fstat(&source).map_err(failed("stat"))?.st_size;
        let size = u64::try_from(size).unwrap_or(0);
        if size > 0 && self.shares {
            self.shares = copy::share_all(source.as_fd(), file.as_fd()).map_err(failed("copy"))?;
        }
        if size > 0 && !self.shares {
            copy::whole(&source, &file, size).map_err(|error| Failed::error("copy", error))?;
        }
        Ok(file)
    }
}

fn frame(from: OwnedFd, to: OwnedFd, parent_path: usize) -> std::result::Result<Frame, Failed> {
    let stat = rustix::fs::fstat(&from).map_err(failed("stat"))?;
    let metadata = metadata(from.as_fd(), b".", &stat)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&from).map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(Frame {
        from: Some(from),
        to: Some(to),
        metadata,
        names: names.into_iter(),
        parent_path,
    })
}

fn metadata(
    parent: BorrowedFd<'_>,
    name: &[u8],
    stat: &Stat,
) -> std::result::Result<Metadata, Failed> {
    let path = beneath(parent, name);
    let mode = stat.st_mode & 0o7777;
    Ok(Metadata {
        mode: u16::try_from(mode).expect("twelve bits"),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs: attributes(&path).map_err(failed("read the attributes of"))?,
    })
}

fn attributes(path: &Path) -> std::result::Result<Xattrs, Errno> {
    let names = match xattr::list(path) {
        Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        names => names?,
    };
    let mut xattrs = Xattrs::new();
    for name in names {
        // The security module labels files by itself.
        if *name == *b"security.selinux" {
            continue;
        }
        if let Some(value) = xattr::get(path, &name)? {
            xattrs.insert(name, value.into());
        }
    }
    Ok(xattrs)
}
