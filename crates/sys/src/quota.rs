//! Project quotas: directories whose files are counted, and limited, together.
//!
//! A directory tree belongs to a *project*, a number that new files inherit. The file system counts
//! each project's bytes and inodes as it goes, so usage is one look-up. ext4, f2fs and xfs speak the
//! same calls here. Which numbers to use, and for what, is the caller's to know.
//!
//! A process with `CAP_SYS_RESOURCE` may exceed limits on ext4 and f2fs; overlay drops that
//! capability for what it writes to an upper directory, so containers are held to theirs.

use std::ffi::c_long;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::ioctl::{Getter, Opcode, Setter, ioctl};

/// The project that a directory belongs to; 0 is no project.
pub fn project(dir: BorrowedFd<'_>) -> Result<u32, Errno> {
    Ok(attributes(dir)?.project)
}

/// Makes `dir` and what is created in it from now on belong to a project.
pub fn set_project(dir: BorrowedFd<'_>, project: u32) -> Result<(), Errno> {
    let mut attributes = attributes(dir)?;
    attributes.project = project;
    if project == 0 {
        attributes.flags &= !INHERIT;
    } else {
        attributes.flags |= INHERIT;
    }
    // SAFETY: FS_IOC_FSSETXATTR reads one `struct fsxattr`, which `Attributes` mirrors.
    let request = unsafe { Setter::<FS_IOC_FSSETXATTR, Attributes>::new(attributes) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { ioctl(dir, request) }
}

/// What a file system does about projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforcement {
    /// It counts.
    pub counted: bool,
    /// It refuses what exceeds a limit.
    pub enforced: bool,
}

/// Whether the file system at `dir` counts projects, and holds them to limits.
///
/// # Errors
/// `ENOSYS` if it has no quotas at all or the kernel is older than 5.14, `ESRCH` if they are off.
pub fn enforcement(dir: BorrowedFd<'_>) -> Result<Enforcement, Errno> {
    let mut status = Status([0; 256]);
    status.0[0] = STATUS_VERSION;
    // SAFETY: Q_XGETQSTATV writes one `struct fs_quota_statv`, which is shorter than the buffer.
    unsafe { quotactl(dir, Q_XGETQSTATV, 0, (&raw mut status).cast()) }?;
    let flags = u16::from_ne_bytes([status.0[2], status.0[3]]);
    Ok(Enforcement {
        counted: flags & PROJECT_COUNTED != 0,
        enforced: flags & PROJECT_ENFORCED != 0,
    })
}

/// What a project uses and may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes in use, those promised to data not yet written included.
    pub bytes: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// Most bytes, if limited. Kept in KiB: a remainder is rounded up.
    pub bytes_max: Option<u64>,
    /// Most inodes, if limited.
    pub inodes_max: Option<u64>,
}

/// Looks up a project. One that was never heard of uses nothing.
pub fn quota(dir: BorrowedFd<'_>, project: u32) -> Result<Quota, Errno> {
    let mut block = Block::default();
    // SAFETY: Q_GETQUOTA writes one `struct if_dqblk`, which `Block` mirrors.
    match unsafe { quotactl(dir, Q_GETQUOTA, project, (&raw mut block).cast()) } {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(Quota::default()),
        Err(errno) => return Err(errno),
    }
    let limit = |value: u64| (value != 0).then_some(value);
    Ok(Quota {
        bytes: block.space,
        inodes: block.inodes,
        bytes_max: limit(block.space_hard.saturating_mul(KIB)),
        inodes_max: limit(block.inodes_hard),
    })
}

/// Sets the limits of a project; `None` is no limit.
pub fn set_limits(
    dir: BorrowedFd<'_>,
    project: u32,
    bytes: Option<u64>,
    inodes: Option<u64>,
) -> Result<(), Errno> {
    let space = bytes.map_or(0, |bytes| bytes.div_ceil(KIB).max(1));
    let inodes = inodes.map_or(0, |inodes| inodes.max(1));
    let mut block = Block {
        space_hard: space,
        space_soft: space,
        inodes_hard: inodes,
        inodes_soft: inodes,
        valid: LIMITS_VALID,
        ..Block::default()
    };
    // SAFETY: Q_SETQUOTA reads one `struct if_dqblk`, which `Block` mirrors.
    unsafe { quotactl(dir, Q_SETQUOTA, project, (&raw mut block).cast()) }
}

const KIB: u64 = 1024;
const INHERIT: u32 = 0x200;
const FS_IOC_FSGETXATTR: Opcode = 0x801C_581F;
const FS_IOC_FSSETXATTR: Opcode = 0x401C_5820;

const PROJECT_QUOTA: u32 = 2;
const Q_GETQUOTA: u32 = 0x0080_0007;
const Q_SETQUOTA: u32 = 0x0080_0008;
const Q_XGETQSTATV: u32 = 0x5808;
const STATUS_VERSION: u8 = 1;
const PROJECT_COUNTED: u16 = 1 << 4;
const PROJECT_ENFORCED: u16 = 1 << 5;
/// `QIF_BLIMITS` and `QIF_ILIMITS`.
const LIMITS_VALID: u32 = 1 | 4;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk` of linux/quota.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Block {
    space_hard: u64,
    space_soft: u64,
    space: u64,
    inodes_hard: u64,
    inodes_soft: u64,
    inodes: u64,
    space_time: u64,
    inodes_time: u64,
    valid: u32,
}

/// Room for `struct fs_quota_statv` of linux/dqblk_xfs.h, of which two bytes matter.
#[repr(C, align(8))]
struct Status([u8; 256]);

fn attributes(dir: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    // SAFETY: FS_IOC_FSGETXATTR writes one `struct fsxattr`, which `Attributes` mirrors.
    let request = unsafe { Getter::<FS_IOC_FSGETXATTR, Attributes>::new() };
    // SAFETY: the argument is the one that this opcode fills.
    unsafe { ioctl(dir, request) }
}

/// # Safety
/// `argument` must be what `command` reads and writes.
unsafe fn quotactl(
    dir: BorrowedFd<'_>,
    command: u32,
    id: u32,
    argument: *mut libc::c_void,
) -> Result<(), Errno> {
    let command = command << 8 | PROJECT_QUOTA;
    // SAFETY: quotactl_fd(fd, command, id, argument); the caller answers for the argument.
    let result: c_long = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            dir.as_raw_fd(),
            command,
            id,
            argument,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn structures_have_the_sizes_that_the_kernel_expects() {
        assert_eq!(std::mem::size_of::<Attributes>(), 28);
        assert_eq!(std::mem::size_of::<Block>(), 72);
    }

    #[test]
    fn proc_counts_nothing() {
        let dir = std::fs::File::open("/proc").unwrap();
        let refused = enforcement(dir.as_fd()).expect_err("no quotas there");
        assert!(
            matches!(refused, Errno::NOSYS | Errno::SRCH | Errno::PERM),
            "{refused:?}"
        );
    }
}
