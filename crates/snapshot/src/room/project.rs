//! Rooms that a project quota counts: each is a project of its own.
//!
//! A room without a limit is a project too, so that its usage is one look-up. Project numbers are
//! not recorded anywhere but on the room's directory; a number is free if the file system counts
//! nothing for it and holds it to nothing.

use std::os::fd::AsFd;

use lapstrake_sys::quota;

use super::error::io;
use super::shelf::{Held, Locked};
use super::{Counted, Limit, Result, Usage};

/// Makes `room`, an empty directory, a project with a limit. Its number is taken under the lock.
pub(super) fn set_up(room: &Held, limit: Limit, _lock: &Locked) -> Result<()> {
    let fd = room.as_fd();
    let mut project = first_number(room.inode()?);
    loop {
        let there = quota::quota(fd, project).map_err(io("look up the quota of", room.path()))?;
        if there == quota::Quota::default() {
            quota::set_project(fd, project).map_err(io("set the project of", room.path()))?;
            let ours =
                quota::quota(fd, project).map_err(io("look up the quota of", room.path()))?;
            // Another store on this file system may have taken it in this moment.
            if ours.inodes <= 1 {
                return set_limit(room, project, limit);
            }
        }
        project = if project == LAST { FIRST } else { project + 1 };
    }
}

pub(super) fn usage(room: &Held, project: u32) -> Result<Usage> {
    let quota =
        quota::quota(room.as_fd(), project).map_err(io("look up the quota of", room.path()))?;
    Ok(Usage {
        bytes: quota.bytes,
        inodes: Some(quota.inodes),
        files: None,
        limit: Limit {
            bytes: quota.bytes_max,
            inodes: quota.inodes_max,
        },
        counted: Counted::Always,
    })
}

pub(super) fn set_limit(room: &Held, project: u32, limit: Limit) -> Result<()> {
    quota::set_limits(room.as_fd(), project, limit.bytes, limit.inodes)
        .map_err(io("limit the project of", room.path()))
}

/// Ours are in a range that people who number projects by hand rarely use.
const FIRST: u32 = 0x4000_0000;
const LAST: u32 = 0x7FFF_FFFF;

/// Where to look first. No two directories of a file system share an inode number, so the first
/// is almost always free.
fn first_number(inode: u64) -> u32 {
    let low = u32::try_from(inode & u64::from(LAST - FIRST)).unwrap_or(0);
    FIRST + low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_their_range() {
        for inode in [0, 1, 0x3FFF_FFFF, 0x4000_0000, u64::MAX] {
            assert!((FIRST..=LAST).contains(&first_number(inode)), "{inode}");
        }
    }
}
