//! The files of a stack, open and measured.
//!
//! Invariant: a [`Survey`] exists only if every file is a regular one of the recorded length, and
//! every index has the recorded digest. Files are mounted through the descriptors held here, so
//! nothing can be put in their place between check and mount.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use lapstrake_sys::{file, parallel};
use rustix::fs::{FileType, Mode, OFlags};

use super::error::io;
use super::{Error, LayerFiles, Result};

/// How much of an index is read ahead while the layer's data file is opened.
const PREFETCH: u64 = 1 << 20;
/// How much of an index is hashed at once.
const PIECE: usize = 256 << 10;

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
    /// Opens every file, checks its length, and reads the indexes against their digests.
    pub fn of(layers: &[LayerFiles]) -> Result<Self> {
        let layers = parallel::map(layers, |layer| {
            let index = open_index(layer)?;
            file::prefetch(index.as_fd(), PREFETCH).map_err(io("read ahead", &layer.index))?;
            let data = match &layer.data {
                Some(path) => Some(OpenFile::open(path, layer.data_len)?),
                None => None,
            };
            check_index(&index, &layer.index_blake3)?;
            Ok(OpenLayer { index, data })
        })?;
        Ok(Self { layers })
    }

    pub(super) fn layers(&self) -> &[OpenLayer] {
        &self.layers
    }
}

fn open_index(layer: &LayerFiles) -> Result<OpenFile> {
    let damaged = |why: String| Error::Index {
        path: layer.index.clone(),
        why,
    };
    OpenFile::open(&layer.index, layer.index_len).map_err(|error| match error {
        Error::WrongSize {
            recorded, found, ..
        } => damaged(format!(
            "has {found} bytes where the record says {recorded}"
        )),
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            damaged("is not there".to_owned())
        }
        other => other,
    })
}

fn check_index(index: &OpenFile, recorded: &str) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE.min(usize::try_from(index.length).unwrap_or(PIECE))];
    let mut at = 0;
    while at < index.length {
        match rustix::io::pread(index, &mut piece, at) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&piece[..read]);
                at += read as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(io("read", &index.path)(errno)),
        }
    }
    if hasher.finalize().to_hex().as_str() == recorded {
        return Ok(());
    }
    Err(Error::Index {
        path: index.path.clone(),
        why: "is not what was recorded of it".to_owned(),
    })
}
