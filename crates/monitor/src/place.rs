//! A monitor's directory, held open: names in it stay valid if it is moved, and paths stay short.
//!
//! The address of a Unix socket has room for 107 bytes, less than the path of a container's
//! directory may need; below `/proc/self/fd` it always fits.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

#[derive(Debug)]
pub(crate) struct Place {
    dir: OwnedFd,
}

impl Place {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(dir, flags, Mode::empty())
            .map_err(|errno| Error::io("open", dir, errno))?;
        Ok(Self { dir })
    }

    /// A short path of a name in the directory, for this process.
    pub(crate) fn here(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd()))
    }

    /// A short path of a name in the directory, for another process, as long as this one lives.
    pub(crate) fn elsewhere(&self, name: &str) -> PathBuf {
        let (process, dir) = (std::process::id(), self.dir.as_raw_fd());
        PathBuf::from(format!("/proc/{process}/fd/{dir}/{name}"))
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}
