//! What the kernel tells of an open file, and what it can be told about it: direct I/O alignment,
//! cache advice, the file system it lies on.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Advice, AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

/// What direct reads of a file must be multiples of, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectAlignment {
    /// Addresses of buffers.
    pub memory: u32,
    /// Offsets and lengths.
    pub offset: u32,
}

/// The alignment for direct reads; `None` when the file system offers none, or the kernel (before
/// 6.1) does not say.
pub fn direct_alignment(file: BorrowedFd<'_>) -> Result<Option<DirectAlignment>, Errno> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN)?;
    let told = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::DIOALIGN);
    let alignment = DirectAlignment {
        memory: stat.stx_dio_mem_align,
        offset: stat.stx_dio_offset_align,
    };
    Ok((told && alignment.offset != 0).then_some(alignment))
}

/// Reads one page of the file at `path` beneath `dir` past the page cache, to see that direct
/// reads are not only promised. An empty file proves nothing and passes.
pub fn try_direct_read(dir: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    #[repr(C, align(4096))]
    struct Page([u8; 4096]);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECT;
    let file = rustix::fs::openat(dir, path, flags, Mode::empty())?;
    let mut page = Page([0; 4096]);
    rustix::io::pread(&file, &mut page.0[..], 0)?;
    Ok(())
}

/// Drops the clean pages of the file from the page cache.
pub fn drop_cache(file: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::fs::fadvise(file, 0, None, Advice::DontNeed)
}

/// Starts reading the first `length` bytes into the page cache, without waiting for them.
pub fn prefetch(file: BorrowedFd<'_>, length: u64) -> Result<(), Errno> {
    rustix::fs::fadvise(file, 0, std::num::NonZeroU64::new(length), Advice::WillNeed)
}

/// Calls `work` in a thread with a descriptor table of its own, which has room for `capacity` more
/// descriptors. Descriptors that are open now are open there too, and closing one there closes it
/// nowhere else; those opened there are gone when this returns.
///
/// For work that opens hundreds of files in several threads: a table that threads share grows by
/// doubling, and each time the kernel waits for an RCU grace period, some milliseconds.
pub fn with_descriptor_table<T: Send>(
    capacity: u32,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Errno> {
    let enter = || {
        // SAFETY: CLONE_FILES gives the calling thread a copy of the table. Every descriptor that
        // `work` holds stays valid in it under its number, and the thread ends here.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }?;
        reserve(capacity)?;
        Ok(work())
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Grows the table at once, by using a high number for a moment. The limit on open files may
/// forbid that number; then whoever needs it will be told.
fn reserve(capacity: u32) -> Result<(), Errno> {
    let any = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let highest = i32::try_from(capacity).map_err(|_| Errno::INVAL)?;
    match rustix::io::fcntl_dupfd_cloexec(&any, highest) {
        Ok(_) | Err(Errno::INVAL | Errno::MFILE) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Type of a file system, as far as mounting cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilesystemKind {
    /// EROFS.
    Erofs,
    /// Files in memory (tmpfs, ramfs).
    Memory,
    /// Another host's files.
    Nfs,
    /// Overlay.
    Overlay,
    /// Any other.
    Other,
}

/// The type of the file system that an open file lies on.
pub fn filesystem(file: impl AsFd) -> Result<FilesystemKind, Errno> {
    // The numbers are in linux/magic.h; only the low 32 bits count.
    Ok(match rustix::fs::fstatfs(file)?.f_type & 0xFFFF_FFFF {
        0xE0F5_E1E2 => FilesystemKind::Erofs,
        0x0102_1994 | 0x8584_58F6 => FilesystemKind::Memory,
        0x6969 => FilesystemKind::Nfs,
        0x794C_7630 => FilesystemKind::Overlay,
        _ => FilesystemKind::Other,
    })
}

/// What the file system that an open file lies on is called, for people.
pub fn filesystem_name(file: impl AsFd) -> Result<String, Errno> {
    // From linux/magic.h and the file systems' own headers.
    let magic = rustix::fs::fstatfs(file)?.f_type & 0xFFFF_FFFF;
    let name = match magic {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0xCA45_1A4E => "bcachefs",
        0xF2F5_2010 => "f2fs",
        0x2FC1_2FC1 => "zfs",
        0x0102_1994 => "tmpfs",
        0x8584_58F6 => "ramfs",
        0x6969 => "nfs",
        0xFF53_4D42 => "cifs",
        0x517B => "smb",
        0xFE53_4D42 => "smb2",
        0x00C3_6400 => "ceph",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x794C_7630 => "overlay",
        0x6175_6673 => "aufs",
        0xF15F => "ecryptfs",
        0x4D44 => "vfat",
        0x2011_BAB0 => "exfat",
        0x7366_746E => "ntfs3",
        0xE0F5_E1E2 => "erofs",
        0x7371_7368 => "squashfs",
        _ => return Ok(format!("a file system of type {magic:#x}")),
    };
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn advice_is_taken_and_the_bytes_stay() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&[1; 4096]).expect("a page fits");
        file.sync_all().expect("synced");
        prefetch(file.as_fd(), 4096).expect("advice");
        drop_cache(file.as_fd()).expect("advice");
        let mut page = [0; 4096];
        rustix::io::pread(&file, &mut page[..], 0).expect("read");
        assert_eq!(page, [1; 4096]);
    }

    #[test]
    fn a_table_of_its_own_sees_what_was_open_and_leaves_nothing() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"seen").expect("4 bytes fit");
        let outside = |file: &std::fs::File| {
            let mut bytes = [0; 4];
            rustix::io::pread(file, &mut bytes[..], 0).map(|_| bytes)
        };
        let (seen, number) = with_descriptor_table(300, || {
            let inside = rustix::io::dup(&file).expect("room for one");
            let number = std::os::fd::IntoRawFd::into_raw_fd(inside);
            (outside(&file), number)
        })
        .expect("a thread with its own table");
        assert_eq!(seen, Ok(*b"seen"));
        assert_eq!(outside(&file), Ok(*b"seen"));
        let path = format!("/proc/self/fd/{number}");
        let kept = std::fs::metadata(path)
            .map(|m| std::os::unix::fs::MetadataExt::ino(&m))
            .ok();
        let ours = file
            .metadata()
            .map(|m| std::os::unix::fs::MetadataExt::ino(&m))
            .ok();
        assert_ne!(kept, ours);
    }

    #[test]
    fn proc_has_no_direct_reads() {
        let file = std::fs::File::open("/proc/self/status").expect("procfs");
        assert_eq!(direct_alignment(file.as_fd()), Ok(None));
        assert_eq!(filesystem(&file), Ok(FilesystemKind::Other));
    }
}
