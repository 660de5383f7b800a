//! Files and directories that are held open from their check to their use.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::error::io;
use crate::{Error, Result, StoredFile};

/// An open regular file of the recorded length: EROFS reads zeros past the end of a short one.
/// Nothing can be put in its place between check and mount.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
    length: u64,
    device: u64,
}

impl OpenFile {
    /// Opens a file for reading, and compares its length with the record.
    pub fn open(file: &StoredFile) -> Result<Self> {
        let path = &file.path;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(io("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(io("stat", path))?;
        let not_a_file = || Error::NotAFile { path: path.clone() };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_a_file());
        }
        let length = u64::try_from(stat.st_size).map_err(|_| not_a_file())?;
        if length != file.len {
            return Err(Error::WrongSize {
                path: path.clone(),
                recorded: file.len,
                found: length,
            });
        }
        Ok(Self {
            file: fd.into(),
            path: path.clone(),
            length,
            device: stat.st_dev,
        })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its length.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// `st_dev` of the file system it lies on.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// A path to the open file, for interfaces that take no descriptors.
    pub fn descriptor_path(&self) -> String {
        format!("/proc/thread-self/fd/{}", self.file.as_raw_fd())
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An open directory (`O_PATH`), and its path.
#[derive(Debug)]
pub struct OpenDir {
    fd: OwnedFd,
    path: PathBuf,
}

impl OpenDir {
    /// Opens a directory by its absolute path.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            fd: rustix::fs::open(path, flags, Mode::empty()).map_err(io("open", path))?,
            path: path.to_owned(),
        })
    }

    /// A directory that is open already.
    pub(crate) fn of(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path to the directory itself, for calls that take paths and follow no last link.
    pub fn within(&self) -> PathBuf {
        format!("/proc/thread-self/fd/{}/.", self.fd.as_raw_fd()).into()
    }

    /// The path itself where overlay takes it as it is; else one by descriptor. The path is what an
    /// administrator reads in the table of mounts.
    pub(crate) fn short_path(&self) -> Vec<u8> {
        let bytes = self.path.as_os_str().as_bytes();
        let plain = bytes.starts_with(b"/") && !bytes.iter().any(|b| b"\\,:\"".contains(b));
        if plain && bytes.len() < 256 {
            return bytes.to_vec();
        }
        format!("/proc/thread-self/fd/{}", self.fd.as_raw_fd()).into_bytes()
    }
}

impl AsFd for OpenDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
