//! The files of a stack, open and measured.
//!
//! Invariant: a [`Survey`] exists only if every file is a regular one of the recorded length. Files
//! are mounted through the descriptors held here, so nothing can be put in their place between
//! check and mount.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use lapstrake_sys::{file, parallel};
use rustix::fs::{FileType, Mode, OFlags};

use super::error::io;
use super::{Error, LayerFiles, Result};

/// How much of an index is read ahead while the other files are opened: its superblock, and the
/// inodes and names of the root directory if they lie near.
const PREFETCH: u64 = 32 << 10;

/// One open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    fd: OwnedFd,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// `st_dev` of the file system it lies on.
    pub(super) device: u64,
}

impl OpenFile {
    /// A path to the open file, for interfaces that take no descriptors.
    pub(super) fn descriptor_path(&self) -> String {
        format!("/proc/thread-self/fd/{}", self.fd.as_raw_fd())
    }

    fn open(path: &Path, recorded: u64) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(io("open", path))?;
        let stat = rustix::fs::fstat(&fd).map_err(io("stat", path))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotAFile {
                path: path.to_owned(),
            });
        }
        let length = u64::try_from(stat.st_size).map_err(|_| Error::NotAFile {
            path: path.to_owned(),
        })?;
        if length != recorded {
            return Err(Error::WrongSize {
                path: path.to_owned(),
                recorded,
                found: length,
            });
        }
        Ok(Self {
            fd,
            path: path.to_owned(),
            length,
            device: stat.st_dev,
        })
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The open files of one layer.
#[derive(Debug)]
pub(super) struct OpenLayer {
    pub(super) index: OpenFile,
    pub(super) data: Option<OpenFile>,
}

impl OpenLayer {
    pub(super) fn files(&self) -> impl Iterator<Item = &OpenFile> {
        std::iter::once(&self.index).chain(&self.data)
    }
}

/// The open files of a stack, in its order.
#[derive(Debug)]
pub struct Survey {
    layers: Vec<OpenLayer>,
}

impl Survey {
    /// Opens every file and checks its length. The indexes are on their way into the page cache
    /// when this returns.
    pub fn of(layers: &[LayerFiles]) -> Result<Self> {
        let layers = parallel::map(layers, |layer| {
            let index = OpenFile::open(&layer.index, layer.index_len)?;
            file::prefetch(index.as_fd(), PREFETCH).map_err(io("read ahead", &layer.index))?;
            let data = match &layer.data {
                Some(path) => Some(OpenFile::open(path, layer.data_len)?),
                None => None,
            };
            Ok(OpenLayer { index, data })
        })?;
        Ok(Self { layers })
    }

    pub(super) fn layers(&self) -> &[OpenLayer] {
        &self.layers
    }
}
