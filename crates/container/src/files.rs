//! Owner, mode, attributes and times of open files, and giving them.
//!
//! Files are named by descriptors that may be mere paths (`O_PATH`), so that whatever takes their names
//! meanwhile is not what is changed.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use lapstrake_sys::xattr;
use lapstrake_tree::model::{Metadata, Timestamp, Xattrs, steers_overlay};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// Which extended attributes are taken along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All, but for those that overlay reads, and labels, which the security module gives by itself.
    All,
    /// Those that any reader of a tar may give to its files: others make Docker's client fail.
    Portable,
}

impl Keep {
    fn includes(self, name: &[u8]) -> bool {
        match self {
            Self::All => name != b"security.selinux" && !steers_overlay(name),
            Self::Portable => {
                name == b"security.capability"
                    || name.starts_with(b"user.") && !steers_overlay(name)
            }
        }
    }
}

/// The attributes of an open file.
pub(crate) fn metadata(file: BorrowedFd<'_>, stat: &Stat, keep: Keep) -> Result<Metadata, Errno> {
    Ok(Metadata {
        mode: u16::try_from(stat.st_mode & 0o7777).expect("twelve bits"),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        xattrs: attributes(file, stat, keep)?,
    })
}

fn attributes(file: BorrowedFd<'_>, stat: &Stat, keep: Keep) -> Result<Xattrs, Errno> {
    let mut xattrs = Xattrs::new();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(xattrs);
    }
    let path = path_of(file);
    let names = match xattr::list_followed(&path) {
        Err(Errno::OPNOTSUPP) => return Ok(xattrs),
        names => names?,
    };
    for name in names.into_iter().filter(|name| keep.includes(name)) {
        if let Some(value) = xattr::get_followed(&path, &name)? {
            xattrs.insert(name, value.into());
        }
    }
    Ok(xattrs)
}

/// Gives an open file its owner, attributes, mode and times, in this order: each may change what comes before
/// it. Attributes that the file system does not have are left out.
pub(crate) fn give(file: BorrowedFd<'_>, metadata: &Metadata) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(file)?;
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(file, "", Some(uid), Some(gid), flags)?;
    if !is_link {
        let path = path_of(file);
        for (name, value) in &metadata.xattrs {
            match rustix::fs::setxattr(&path, &**name, value, XattrFlags::empty()) {
                // Linux knows `user.` attributes of files and directories only.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(Errno::PERM) if name.starts_with(b"user.") => {}
                Err(errno) => return Err(errno),
            }
        }
        rustix::fs::chmod(&path, Mode::from_raw_mode(metadata.mode.into()))?;
    }
    give_times(file, metadata.mtime)
}

/// Gives an open file its time of last change.
pub(crate) fn give_times(file: BorrowedFd<'_>, time: Timestamp) -> Result<(), Errno> {
    let time = Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(file, "", &times, AtFlags::EMPTY_PATH)
}

/// Opens a file that is open as a path, to read or write it.
pub(crate) fn reopen(file: BorrowedFd<'_>, access: OFlags) -> Result<File, Errno> {
    let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path_of(file), flags, Mode::empty()).map(File::from)
}

/// A path to an open file that leads through nothing but its descriptor.
fn path_of(file: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", file.as_fd().as_raw_fd()))
}
