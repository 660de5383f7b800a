//! File contents from one file to another: shared blocks where the file system can, else a copy
//! that stays in the kernel.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Makes `to` share all blocks of `from` (a reflink). `Ok(false)` where the file system cannot, or
/// the files lie on different ones.
pub fn share_all(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<bool, Errno> {
    shared(rustix::fs::ioctl_ficlone(to, from))
}

/// Makes a range of `to` share the blocks of a range of `from`. Offsets and length must be multiples
/// of the file system's block size. `Ok(false)` where that cannot be.
pub fn share_range(
    from: BorrowedFd<'_>,
    from_offset: u64,
    to: BorrowedFd<'_>,
    to_offset: u64,
    length: u64,
) -> Result<bool, Errno> {
    let range = libc::file_clone_range {
        src_fd: i64::from(from.as_raw_fd()),
        src_offset: from_offset,
        src_length: length,
        dest_offset: to_offset,
    };
    // SAFETY: both descriptors are open, and the structure is the one of this request and lives
    // through the call.
    let result = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    shared(match result {
        0 => Ok(()),
        _ => Err(last_error()),
    })
}

fn shared(result: Result<(), Errno>) -> Result<bool, Errno> {
    match result {
        Ok(()) => Ok(true),
        // Other file systems; another file system; not aligned; the same for some network ones.
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::NOTTY | Errno::NOSYS) => {
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

fn last_error() -> Errno {
    let number = io::Error::last_os_error().raw_os_error();
    number.map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Copies a range. A source that ends before the range does is an error of kind `UnexpectedEof`.
pub fn range(
    from: &File,
    from_offset: u64,
    to: &File,
    to_offset: u64,
    length: u64,
) -> io::Result<()> {
    let (mut at, end) = (from_offset, from_offset + length);
    let mut out = to_offset;
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(1 << 30);
        match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut out), step) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return through_memory(from, at, to, out, end - at);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn through_memory(
    from: &File,
    mut at: u64,
    to: &File,
    mut out: u64,
    length: u64,
) -> io::Result<()> {
    const STEP: usize = 256 << 10;
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(STEP).min(STEP)];
    let end = at + length;
    while at < end {
        let step = usize::try_from(end - at).unwrap_or(STEP).min(STEP);
        from.read_exact_at(&mut buffer[..step], at)?;
        to.write_all_at(&buffer[..step], out)?;
        at += step as u64;
        out += step as u64;
    }
    Ok(())
}

/// Copies a whole file of `size` bytes into an empty one; holes stay holes where the source tells
/// them.
pub fn whole(from: &File, to: &File, size: u64) -> io::Result<()> {
    rustix::fs::ftruncate(to, size)?;
    let mut at = 0;
    while at < size {
        let (start, end) = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => (
                start,
                rustix::fs::seek(from, SeekFrom::Hole(start))?.min(size),
            ),
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => (at, size),
            Err(errno) => return Err(errno.into()),
        };
        if start >= size {
            break;
        }
        range(from, start, to, start, end - start)?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_range_comes_to_its_place() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(b"0123456789", 4096).unwrap();
        range(&from, 4098, &to, 1, 5).unwrap();
        let mut bytes = [9; 6];
        to.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"\x0023456");
        let end = range(&from, 4100, &to, 0, 100).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn holes_stay_holes() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let open = |name: &str| {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            options.open(dir.path().join(name)).unwrap()
        };
        let (from, to) = (open("from"), open("to"));
        from.set_len(64 << 20).unwrap();
        from.write_all_at(b"middle", 32 << 20).unwrap();
        whole(&from, &to, 64 << 20).unwrap();
        let stat = to.metadata().unwrap();
        assert_eq!(stat.len(), 64 << 20);
        assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
        let mut bytes = [0; 6];
        to.read_exact_at(&mut bytes, 32 << 20).unwrap();
        assert_eq!(&bytes, b"middle");
    }

    #[test]
    fn where_nothing_is_shared_that_is_told() {
        let (from, to) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        from.write_all_at(&[7; 8192], 0).unwrap();
        use std::os::fd::AsFd as _;
        // Either answer is right here; what matters is what is in the file after a yes.
        if share_range(from.as_fd(), 4096, to.as_fd(), 0, 4096).unwrap() {
            let mut bytes = [0; 4096];
            to.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(bytes, [7; 4096]);
        }
        let proc = File::open("/proc/self/status").unwrap();
        assert_eq!(share_all(proc.as_fd(), to.as_fd()), Ok(false));
    }
}
