//! btrfs: subvolumes, and the quota groups that count them.
//!
//! A subvolume is a directory with a tree of its own; it is deleted in one step and freed later by
//! the kernel. Its quota group, which has the subvolume's number, counts the bytes that it refers
//! to, as of the last transaction, and holds writes to a limit at once. Inodes are not counted.
//!
//! Numbers of calls and keys are those of linux/btrfs.h and linux/btrfs_tree.h.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use rustix::ioctl::{NoArg, Opcode, Setter, Updater, ioctl};

/// Makes an empty subvolume `name` in `dir`.
pub fn create_subvolume(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    // SAFETY: SUBVOL_CREATE reads one `struct btrfs_ioctl_vol_args`, which `Named` mirrors.
    let request = unsafe { Setter::<SUBVOL_CREATE, Named>::new(Named::new(name)?) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { ioctl(dir, request) }
}

/// Deletes the subvolume `name` of `dir`; the kernel frees it afterwards.
///
/// # Errors
/// `ENOTEMPTY` if there are subvolumes within it.
pub fn delete_subvolume(dir: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    // SAFETY: SNAP_DESTROY reads one `struct btrfs_ioctl_vol_args`, which `Named` mirrors.
    let request = unsafe { Setter::<SNAP_DESTROY, Named>::new(Named::new(name)?) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { ioctl(dir, request) }
}

/// Commits what was done to the file system, and has the kernel free deleted subvolumes now rather
/// than some seconds later.
pub fn sync(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: SYNC takes no argument.
    let request = unsafe { NoArg::<SYNC>::new() };
    // SAFETY: as above.
    unsafe { ioctl(dir, request) }
}

/// Whether `inode` is that of a subvolume's root directory.
pub fn is_subvolume_root(inode: u64) -> bool {
    inode == FIRST_FREE_OBJECT
}

/// Number of the subvolume that `dir` lies in.
pub fn subvolume_id(dir: BorrowedFd<'_>) -> Result<u64, Errno> {
    let mut lookup = Lookup {
        tree: 0,
        object: FIRST_FREE_OBJECT,
        name: [0; 4080],
    };
    // SAFETY: INO_LOOKUP reads and writes one `struct btrfs_ioctl_ino_lookup_args`.
    let request = unsafe { Updater::<INO_LOOKUP, Lookup>::new(&mut lookup) };
    // SAFETY: the argument is the one that this opcode fills.
    unsafe { ioctl(dir, request) }?;
    Ok(lookup.tree)
}

/// What the quota groups of a file system are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Groups {
    /// There are none.
    Off,
    /// They count.
    Right,
    /// The kernel stopped counting; see [`recount`].
    Wrong,
}

/// Whether quota groups are on, and right.
pub fn groups(dir: BorrowedFd<'_>) -> Result<Groups, Errno> {
    match search(dir, QUOTA_TREE, QGROUP_STATUS, 0) {
        Ok(Some(item)) => {
            // version, generation, flags
            let flags = number(&item, 2)?;
            Ok(match (flags & STATUS_ON, flags & STATUS_INCONSISTENT) {
                (0, _) => Groups::Off,
                (_, 0) => Groups::Right,
                _ => Groups::Wrong,
            })
        }
        Ok(None) | Err(Errno::NOENT) => Ok(Groups::Off),
        Err(errno) => Err(errno),
    }
}

/// Turns quota groups on for the whole file system, and waits until they are right.
pub fn enable_quota(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut control = [ENABLE, 0];
    // SAFETY: QUOTA_CTL reads and writes two u64.
    let request = unsafe { Updater::<QUOTA_CTL, [u64; 2]>::new(&mut control) };
    // SAFETY: the argument is the one that this opcode takes.
    unsafe { ioctl(dir, request) }?;
    wait_for_count(dir)
}

/// Counts everything again, and waits until that is done.
pub fn recount(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: QUOTA_RESCAN reads one `struct btrfs_ioctl_quota_rescan_args`, eight u64.
    let request = unsafe { Setter::<QUOTA_RESCAN, [u64; 8]>::new([0; 8]) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    match unsafe { ioctl(dir, request) } {
        // It is under way.
        Ok(()) | Err(Errno::INPROGRESS) => wait_for_count(dir),
        Err(errno) => Err(errno),
    }
}

fn wait_for_count(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: QUOTA_RESCAN_WAIT takes no argument.
    let request = unsafe { NoArg::<QUOTA_RESCAN_WAIT>::new() };
    // SAFETY: as above.
    unsafe { ioctl(dir, request) }
}

/// What a quota group uses and may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes it refers to, as of the last transaction.
    pub bytes: u64,
    /// Most bytes, if limited.
    pub bytes_max: Option<u64>,
}

/// Looks up the quota group of a subvolume; `None` if it is not counted.
pub fn quota(dir: BorrowedFd<'_>, subvolume: u64) -> Result<Option<Quota>, Errno> {
    let info = match search(dir, QUOTA_TREE, QGROUP_INFO, subvolume) {
        Ok(Some(info)) => info,
        Ok(None) | Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let limit = match search(dir, QUOTA_TREE, QGROUP_LIMIT_ITEM, subvolume)? {
        Some(item) if number(&item, 0)? & LIMIT_REFERRED != 0 => Some(number(&item, 1)?),
        _ => None,
    };
    Ok(Some(Quota {
        // generation, referred
        bytes: number(&info, 1)?,
        bytes_max: limit,
    }))
}

/// Limits the bytes that a subvolume refers to; `None` is no limit.
pub fn set_limit(dir: BorrowedFd<'_>, subvolume: u64, bytes: Option<u64>) -> Result<(), Errno> {
    let limit = GroupLimit {
        group: subvolume,
        flags: LIMIT_REFERRED,
        // The largest number clears the limit.
        referred: bytes.unwrap_or(u64::MAX),
        exclusive: 0,
        reserved: [0; 2],
    };
    // SAFETY: QGROUP_LIMIT reads one `struct btrfs_ioctl_qgroup_limit_args`.
    let request = unsafe { Setter::<QGROUP_LIMIT, GroupLimit>::new(limit) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { ioctl(dir, request) }
}

/// Removes the quota group of a subvolume that is gone. One that does not count zero must not be
/// removed: the kernel then stops counting for all of them.
///
/// # Errors
/// `EBUSY` while the kernel still frees the subvolume.
pub fn remove_group(dir: BorrowedFd<'_>, subvolume: u64) -> Result<(), Errno> {
    let remove = [0, subvolume];
    // SAFETY: QGROUP_CREATE reads two u64: whether to create, and which.
    let request = unsafe { Setter::<QGROUP_CREATE, [u64; 2]>::new(remove) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { ioctl(dir, request) }
}

const FIRST_FREE_OBJECT: u64 = 256;
const QUOTA_TREE: u64 = 8;
const QGROUP_STATUS: u32 = 240;
const QGROUP_INFO: u32 = 242;
const QGROUP_LIMIT_ITEM: u32 = 244;
const STATUS_ON: u64 = 1;
const STATUS_INCONSISTENT: u64 = 4;
const LIMIT_REFERRED: u64 = 1;
const ENABLE: u64 = 1;

const SYNC: Opcode = 0x9408;
const SUBVOL_CREATE: Opcode = 0x5000_940E;
const SNAP_DESTROY: Opcode = 0x5000_940F;
const TREE_SEARCH: Opcode = 0xD000_9411;
const INO_LOOKUP: Opcode = 0xD000_9412;
const QUOTA_CTL: Opcode = 0xC010_9428;
const QGROUP_CREATE: Opcode = 0x4010_942A;
const QGROUP_LIMIT: Opcode = 0x8030_942B;
const QUOTA_RESCAN: Opcode = 0x4040_942C;
const QUOTA_RESCAN_WAIT: Opcode = 0x942E;

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; 4088],
}

impl Named {
    fn new(name: &OsStr) -> Result<Self, Errno> {
        let mut named = Self {
            fd: 0,
            name: [0; 4088],
        };
        let bytes = name.as_bytes();
        if bytes.is_empty() || bytes.len() > 255 || bytes.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err(Errno::INVAL);
        }
        named.name[..bytes.len()].copy_from_slice(bytes);
        Ok(named)
    }
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct Lookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct GroupLimit {
    group: u64,
    flags: u64,
    referred: u64,
    exclusive: u64,
    reserved: [u64; 2],
}

/// `struct btrfs_ioctl_search_args`.
#[repr(C)]
struct Search {
    tree: u64,
    objects: [u64; 2],
    offsets: [u64; 2],
    transactions: [u64; 2],
    types: [u32; 2],
    items: u32,
    unused: u32,
    unused_more: [u64; 4],
    buffer: [u8; 3992],
}

const ITEM_HEADER: usize = 32;

/// The item (0, `kind`, `offset`) of a tree.
fn search(
    dir: BorrowedFd<'_>,
    tree: u64,
    kind: u32,
    offset: u64,
) -> Result<Option<Vec<u8>>, Errno> {
    let mut search = Search {
        tree,
        objects: [0, 0],
        offsets: [offset, offset],
        transactions: [0, u64::MAX],
        types: [kind, kind],
        items: 1,
        unused: 0,
        unused_more: [0; 4],
        buffer: [0; 3992],
    };
    // SAFETY: TREE_SEARCH reads and writes one `struct btrfs_ioctl_search_args`.
    let request = unsafe { Updater::<TREE_SEARCH, Search>::new(&mut search) };
    // SAFETY: the argument is the one that this opcode fills.
    unsafe { ioctl(dir, request) }?;
    if search.items == 0 {
        return Ok(None);
    }
    // transid, objectid, offset, type, length; then the item
    let length = u32::from_ne_bytes([
        search.buffer[28],
        search.buffer[29],
        search.buffer[30],
        search.buffer[31],
    ]);
    let length = usize::try_from(length).map_err(|_| Errno::OVERFLOW)?;
    let item = search.buffer[ITEM_HEADER..].get(..length);
    Ok(Some(item.ok_or(Errno::OVERFLOW)?.to_vec()))
}

/// The `index`th little-endian u64 of an item.
fn number(item: &[u8], index: usize) -> Result<u64, Errno> {
    let bytes = item.get(index * 8..index * 8 + 8).ok_or(Errno::OVERFLOW)?;
    Ok(u64::from_le_bytes(
        bytes.try_into().map_err(|_| Errno::OVERFLOW)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_that_the_kernel_expects() {
        assert_eq!(std::mem::size_of::<Named>(), 4096);
        assert_eq!(std::mem::size_of::<Lookup>(), 4096);
        assert_eq!(std::mem::size_of::<GroupLimit>(), 48);
        assert_eq!(std::mem::size_of::<Search>(), 4096);
    }

    #[test]
    fn a_name_is_one_component() {
        for name in ["", "a/b", "a\0b", &"x".repeat(256)] {
            assert!(Named::new(OsStr::new(name)).is_err(), "{name:?}");
        }
        assert!(Named::new(OsStr::new("room")).is_ok());
    }
}
