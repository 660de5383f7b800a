//! A directory on disk as a tree of files: a writable layer, or the mounted stack below it.
//!
//! Whoever runs in a container can change its files while they are looked at, so every step is taken
//! beneath the directory's own descriptor and no symbolic link is followed: the worst that a change
//! brings is an error or a layer that mixes before and after.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, SeekFrom, Statx, StatxFlags};
use rustix::io::Errno;

use lapstrake_sys::xattr;
use lapstrake_tree::changes::{FileId, FileKind, Found, View};
use lapstrake_tree::model::{Device, Metadata, Timestamp, Xattrs};
use lapstrake_tree::read_at::ReadAt;
use lapstrake_tree::write::{DataRun, FileBytes, whole};

/// A directory and all below it, on one file system.
#[derive(Debug)]
pub struct FileTree {
    root: Arc<OwnedFd>,
    /// The directory that was used last: names are looked at directory by directory.
    last: Mutex<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    path: Box<[u8]>,
    fd: Arc<OwnedFd>,
}

impl FileTree {
    /// Opens a directory.
    ///
    /// # Errors
    /// If it is not there or no directory.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = rustix::fs::open(path, DIRECTORY, Mode::empty())?;
        Ok(Self {
            root: Arc::new(root),
            last: Mutex::new(None),
        })
    }

    fn directory(&self, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        if path.is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*last
            && *opened.path == *path
        {
            return Ok(Arc::clone(&opened.fd));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let fd = rustix::fs::openat2(&self.root, path, DIRECTORY, Mode::empty(), resolve)?;
        let fd = Arc::new(fd);
        *last = Some(Opened {
            path: path.into(),
            fd: Arc::clone(&fd),
        });
        Ok(fd)
    }

    fn look_at(&self, path: &[u8]) -> Result<Found, Errno> {
        let (parent, name) = split(path);
        let directory = self.directory(parent)?;
        let (name, flags) = match name {
            // The root itself.
            b"" => (&b"."[..], AtFlags::empty()),
            name => (name, AtFlags::SYMLINK_NOFOLLOW),
        };
        let stat = rustix::fs::statx(&directory, name, flags, StatxFlags::BASIC_STATS)?;
        let kind = kind(&stat, &directory, name)?;
        Ok(Found {
            metadata: metadata(&stat, attributes(&directory, name)?),
            kind,
            id: FileId {
                device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                inode: stat.stx_ino,
            },
            links: stat.stx_nlink.into(),
        })
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl View for FileTree {
    type File = DiskFile;

    fn look(&self, path: &[u8]) -> io::Result<Option<Found>> {
        match self.look_at(path) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self, directory: &[u8]) -> io::Result<Vec<Box<[u8]>>> {
        let fd = match self.directory(directory) {
            // It was there a moment ago.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            fd => fd?,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    fn open(&self, path: &[u8]) -> io::Result<DiskFile> {
        let (parent, name) = split(path);
        let directory = self.directory(parent)?;
        // A pipe that took the file's place must not make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(DiskFile(File::from(file)))
    }
}

/// A regular file on disk.
#[derive(Debug)]
pub struct DiskFile(File);

impl ReadAt for DiskFile {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(offset, buffer)
    }
}

impl FileBytes for DiskFile {
    fn runs(&self, size: u64) -> io::Result<Vec<DataRun>> {
        const STAT_BLOCK_BYTES: u64 = 512;
        let blocks = u64::try_from(rustix::fs::fstat(&self.0)?.st_blocks).unwrap_or(0);
        if blocks.saturating_mul(STAT_BLOCK_BYTES) >= size {
            return Ok(whole(size));
        }
        match runs(&self.0, size) {
            Ok(runs) => Ok(runs),
            // A file system that does not tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(whole(size)),
            Err(error) => Err(error.into()),
        }
    }
}

fn runs(file: &File, size: u64) -> Result<Vec<DataRun>, Errno> {
    let mut runs: Vec<DataRun> = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(offset) if offset < size => offset,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(file, SeekFrom::Hole(offset))?.min(size);
        if end <= offset {
            // It changed meanwhile.
            return Ok(whole(size));
        }
        runs.push(DataRun {
            offset,
            length: end - offset,
        });
        at = end;
    }
    Ok(runs)
}

/// A path's parent and its last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn metadata(stat: &Statx, xattrs: Xattrs) -> Metadata {
    Metadata {
        mode: stat.stx_mode & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: Timestamp {
            seconds: stat.stx_mtime.tv_sec,
            nanoseconds: stat.stx_mtime.tv_nsec,
        },
        xattrs,
    }
}

fn kind(stat: &Statx, directory: &OwnedFd, name: &[u8]) -> Result<FileKind, Errno> {
    let device = Device {
        major: stat.stx_rdev_major,
        minor: stat.stx_rdev_minor,
    };
    Ok(match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Directory => FileKind::Directory,
        FileType::RegularFile => FileKind::File {
            size: stat.stx_size,
        },
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            FileKind::Symlink(target.into_bytes().into())
        }
        FileType::CharacterDevice => FileKind::CharDevice(device),
        FileType::BlockDevice => FileKind::BlockDevice(device),
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::Unknown => return Err(Errno::INVAL),
    })
}

/// A file's extended attributes; none where the file system has none.
fn attributes(directory: &OwnedFd, name: &[u8]) -> Result<Xattrs, Errno> {
    // There is no call for an attribute of a name beneath a descriptor (before 6.13), but this path
    // goes through nothing but the descriptor.
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    path.push(OsStr::from_bytes(name));
    let names = match xattr::list(&path) {
        Err(Errno::OPNOTSUPP) => return Ok(Xattrs::new()),
        names => names?,
    };
    let mut xattrs = Xattrs::new();
    for name in names {
        if let Some(value) = xattr::get(&path, &name)? {
            xattrs.insert(name, value.into());
        }
    }
    Ok(xattrs)
}
