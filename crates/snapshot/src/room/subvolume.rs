//! Rooms that are btrfs subvolumes, counted by the subvolume's quota group.
//!
//! Bytes are counted as of the last transaction (btrfs commits one every 30 s, or at a sync), but
//! writes are held to the limit at once. Inodes are not counted. Quota groups are turned on, for
//! the whole file system, when the first room with a limit is made.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use lapstrake_sys::btrfs::{self, Groups};
use rustix::io::Errno;

use super::error::io;
use super::shelf::Held;
use super::{Counted, Limit, Result, Usage};

/// Makes the room `name` in `dir`.
pub(super) fn create(dir: &Held, name: &OsStr) -> Result<()> {
    let path = dir.path().join(name);
    btrfs::create_subvolume(dir.as_fd(), name).map_err(io("create subvolume", path))
}

/// Holds the room to a limit on bytes.
pub(super) fn set_limit(room: &Held, bytes: Option<u64>) -> Result<()> {
    let fd = room.as_fd();
    let path = room.path();
    match btrfs::groups(fd).map_err(io("ask for quota groups at", path))? {
        Groups::Right => {}
        // Nothing is counted then, and nothing need be.
        Groups::Off | Groups::Wrong if bytes.is_none() => return Ok(()),
        Groups::Off => btrfs::enable_quota(fd).map_err(io("turn on quota groups at", path))?,
        Groups::Wrong => btrfs::recount(fd).map_err(io("recount quota groups at", path))?,
    }
    let subvolume = id(fd, path)?;
    btrfs::set_limit(fd, subvolume, bytes).map_err(io("limit subvolume", path))
}

/// What the room uses; `None` if that is not counted.
pub(super) fn usage(room: &Held) -> Result<Option<Usage>> {
    let fd = room.as_fd();
    let groups = btrfs::groups(fd).map_err(io("ask for quota groups at", room.path()))?;
    if groups != Groups::Right {
        return Ok(None);
    }
    let subvolume = id(fd, room.path())?;
    let quota = btrfs::quota(fd, subvolume).map_err(io("look up the quota of", room.path()))?;
    Ok(quota.map(|quota| Usage {
        bytes: quota.bytes,
        inodes: None,
        files: None,
        limit: Limit {
            bytes: quota.bytes_max,
            inodes: None,
        },
        counted: Counted::Lately,
    }))
}

/// Deletes the subvolume `name` of `dir`. `false` if there are subvolumes in it, which must go
/// first. Returns its number too, whose quota group can be removed when the kernel has freed it.
pub(super) fn delete(dir: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<Option<u64>> {
    let room = std::fs::File::open(path).map_err(io("open", path))?;
    let subvolume = id(room.as_fd(), path)?;
    drop(room);
    match btrfs::delete_subvolume(dir, name) {
        Ok(()) => Ok(Some(subvolume)),
        Err(Errno::NOTEMPTY) => Ok(None),
        Err(errno) => Err(io("delete subvolume", path)(errno)),
    }
}

/// Removes the quota group of a deleted subvolume, unless the kernel did. `false` while it frees the
/// subvolume.
pub(super) fn forget(dir: BorrowedFd<'_>, subvolume: u64, path: &Path) -> Result<bool> {
    let quota = btrfs::quota(dir, subvolume).map_err(io("look up a quota group at", path))?;
    match quota {
        None => return Ok(true),
        Some(quota) if quota.bytes > 0 => return Ok(false),
        Some(_) => {}
    }
    match btrfs::remove_group(dir, subvolume) {
        // Quotas may be off by now.
        Ok(()) | Err(Errno::NOENT | Errno::NOTCONN) => Ok(true),
        Err(Errno::BUSY) => Ok(false),
        Err(errno) => Err(io("remove a quota group at", path)(errno)),
    }
}

fn id(fd: BorrowedFd<'_>, path: &Path) -> Result<u64> {
    btrfs::subvolume_id(fd).map_err(io("ask for the subvolume of", path))
}
