//! ext4 while it is mounted: growing it, and giving back what it does not use.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Setter, Updater, ioctl};

/// Grows the file system at `dir` to `blocks` blocks of its device, which must be there.
///
/// # Errors
/// `EPERM` without `CAP_SYS_RESOURCE`.
pub fn grow(dir: BorrowedFd<'_>, blocks: u64) -> Result<(), Errno> {
    // SAFETY: EXT4_IOC_RESIZE_FS reads one u64.
    let request = unsafe { Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks) };
    // SAFETY: the argument is the one that this opcode reads; the kernel keeps no pointer to it.
    unsafe { ioctl(dir, request) }
}

/// Tells the device below the file system at `dir` which blocks are free (any file system that
/// knows `FITRIM`). Returns the bytes that were told.
pub fn trim(dir: BorrowedFd<'_>) -> Result<u64, Errno> {
    // start, length, shortest run
    let mut range = [0, u64::MAX, 0];
    // SAFETY: FITRIM reads and writes one `struct fstrim_range`, three u64.
    let request = unsafe { Updater::<FITRIM, [u64; 3]>::new(&mut range) };
    // SAFETY: the argument is the one that this opcode fills.
    unsafe { ioctl(dir, request) }?;
    Ok(range[1])
}

const EXT4_IOC_RESIZE_FS: Opcode = 0x4008_6610;
const FITRIM: Opcode = 0xC018_5879;
